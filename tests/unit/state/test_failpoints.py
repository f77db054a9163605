"""Failpoints: what tests may set and what then happens; nothing of the product sets any."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rowtide.errors import StateUnavailable
from state import failpoints
from tests.failpoints import Failpoints, Trap, parse

ROOT = Path(failpoints.__file__).parents[1]


def test_parse_reads_action_argument_and_condition() -> None:
    spec = "stage.before_commit=kill@3; claim.after_lease=pause:0.5%0.25;settle.after_commit=raise"
    assert parse(spec) == {
        "stage.before_commit": Trap("kill", at=3),
        "claim.after_lease": Trap("pause", "0.5", probability=0.25),
        "settle.after_commit": Trap("raise"),
    }


@pytest.mark.parametrize(
    "spec", ["no.such.place=kill", "stage.before_commit=explode", "stage.before_commit=kill@x", "stage.before_commit"]
)
def test_a_typo_is_refused(spec: str) -> None:
    with pytest.raises(ValueError):
        parse(spec)


def test_raise_at_the_second_hit_only() -> None:
    points = Failpoints("stage.before_commit=raise@2")
    points.hit(failpoints.STAGE_BEFORE_COMMIT)
    with pytest.raises(StateUnavailable):
        points.hit(failpoints.STAGE_BEFORE_COMMIT)
    points.hit(failpoints.STAGE_BEFORE_COMMIT)
    points.hit(failpoints.STAGE_AFTER_COMMIT)


def test_a_probability_follows_the_seed() -> None:
    def hits(seed: int) -> list[bool]:
        points = Failpoints("stage.before_commit=raise%0.5", seed)
        seen = []
        for _ in range(50):
            try:
                points.hit(failpoints.STAGE_BEFORE_COMMIT)
                seen.append(False)
            except StateUnavailable:
                seen.append(True)
        return seen

    assert hits(1) == hits(1) != hits(2)
    assert 10 < sum(hits(1)) < 40


def test_pause_ends_when_the_file_is_removed(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    points = Failpoints(f"stage.before_commit=pause:{held}")
    thread = threading.Thread(target=points.hit, args=[failpoints.STAGE_BEFORE_COMMIT])
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    held.unlink()
    thread.join(10)
    assert not thread.is_alive()


def test_kill_ends_the_process_at_once() -> None:
    code = (
        "import sys; from tests import failpoints as f; f.Failpoints('claim.after_lease=kill').hit('claim.after_lease')"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}; print('still here')"], capture_output=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""


def test_no_environment_arms_the_product() -> None:
    """What tests tell their processes by is nothing to a process of the product."""
    armed = {"ROWTIDE_FAILPOINTS": ";".join(f"{name}=kill" for name in sorted(failpoints.NAMES))}
    code = "from state import failpoints as f; [f.hit(name) for name in f.NAMES]; print(f._of_process)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=armed)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


def test_nothing_delivered_sets_a_failpoint() -> None:
    folders = ("rowtide", "state", "connectors", "flows", "control", "demo", "graphsim", "migrations")
    for path in (one for folder in folders for one in (ROOT / folder).rglob("*.py")):
        text = path.read_text()
        assert "FAILPOINTS" not in text, path
        assert "_of_process" not in text or path == Path(failpoints.__file__), path


def test_where_nothing_is_set_nothing_happens() -> None:
    for name in failpoints.NAMES:
        failpoints.hit(name)


def test_every_name_is_passed_somewhere() -> None:
    files = [path for folder in ("state", "connectors", "flows") for path in (ROOT / folder).rglob("*.py")]
    text = "".join(map(Path.read_text, files))
    passed = set(re.findall(r"failpoints\.hit,? ?\(?failpoints\.([A-Z_]+)\)", text))
    passed |= set(re.findall(r"failpoints\.(LOOP_[A-Z_]+)", text))  # `connectors.loops.Loop.turn` passes these
    assert {getattr(failpoints, name) for name in passed} == failpoints.NAMES
