"""The gate's commands, on results files of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from perf import gate, run
from perf.figures import Measurements, read

RUN: dict[str, Any] = {"at": "2026-11-30T11:00:00+00:00", "commit": "abc+", "machine": {"cpu": "one"}}


def measured(path: Path, slowed: str = "", **values: float) -> dict[str, Any]:
    """Write a result with these metrics, as a run does, and say what is in the file."""
    figures = Measurements(slowed, run={**RUN, "slowed": slowed} if slowed else RUN)
    for name, value in values.items():
        figures.add(name.replace("__", "."), [value], "ratio", "a test")
    figures.write(path, ["a"], [])
    return read(path)


def open_gate(directory: Path, *words: str) -> int:
    """The exit code of the gate on the files in ``directory``."""
    return gate.main(["--latest", f"{directory}/latest.json", "--accepted", f"{directory}/accepted.json", *words])


def later(path: Path) -> None:
    """Have every metric in the file measured a second later: two runs of a test are of one second."""
    document = read(path)
    for metric in document["metrics"].values():
        metric["at"] += " and a second"
    path.write_text(json.dumps(document))


def test_accepted_then_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latest = tmp_path / "latest.json"
    assert open_gate(tmp_path) == 2
    measured(latest, deliver__peer_ratio=0.6)
    assert open_gate(tmp_path) == 2
    assert open_gate(tmp_path, "--accept") == 0
    assert open_gate(tmp_path) == 1  # nothing was measured since
    measured(latest, deliver__peer_ratio=0.5)
    later(latest)
    assert open_gate(tmp_path) == 0
    measured(latest, deliver__peer_ratio=0.3)
    later(latest)
    capsys.readouterr()
    assert open_gate(tmp_path) == 1
    assert "deliver.peer_ratio  0.6       0.3  >= 0.400" in capsys.readouterr().out


def test_accepting_says_which_promises_are_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(tmp_path / "latest.json", gated__neighbour_ms=430, peer_death__s=3)
    capsys.readouterr()
    assert open_gate(tmp_path, "--accept") == 0
    said = capsys.readouterr().out
    assert "gated.neighbour_ms = 430" in said
    assert "peer_death" not in said


def test_one_metric_is_accepted_by_its_name(tmp_path: Path) -> None:
    measured(tmp_path / "latest.json", deliver__peer_ratio=0.6, deliver__items_per_s=2)
    assert open_gate(tmp_path, "--accept", "--only", "deliver.peer_ratio") == 0
    assert read(tmp_path / "accepted.json")["metrics"].keys() == {"deliver.peer_ratio"}


def test_one_family_is_accepted_and_the_others_stay(tmp_path: Path) -> None:
    measured(tmp_path / "latest.json", deliver__peer_ratio=0.6, deep__cpu_ratio=2)
    open_gate(tmp_path, "--accept")
    measured(tmp_path / "latest.json", deliver__peer_ratio=0.5, deep__cpu_ratio=3)
    assert open_gate(tmp_path, "--accept", "--only", "deep") == 0
    accepted = read(tmp_path / "accepted.json")["metrics"]
    assert {name: metric["value"] for name, metric in accepted.items()} == {
        "deliver.peer_ratio": 0.6,
        "deep.cpu_ratio": 3,
    }


def test_a_slowed_build_is_never_accepted(tmp_path: Path) -> None:
    measured(tmp_path / "latest.json", "deliver.before_send=pause:0.1", deliver__peer_ratio=0.1)
    assert open_gate(tmp_path, "--accept") == 2
    assert not (tmp_path / "accepted.json").exists()


def test_a_result_has_its_commit_its_machine_and_every_value() -> None:
    figures = Measurements()
    figures.begin()
    figures.add("deliver.peer_ratio", [0.6], "ratio", "a test")
    found = figures.metrics["deliver.peer_ratio"]
    assert found.keys() >= {"value", "unit", "spread", "repetitions", "against", "at", "commit", "machine"}
    assert found["machine"].keys() >= {"cpu", "cores", "memory_mib", "python", "load", "yardstick_s"}
    assert found["machine"]["yardstick_s"] > 0


def test_a_run_leaves_what_it_did_not_measure_and_is_kept_by_itself(tmp_path: Path) -> None:
    measured(tmp_path / "latest.json", deep__cpu_ratio=2)
    figures = Measurements(run=RUN)
    figures.add("deliver.peer_ratio", [0.4, 0.6, 0.5], "ratio", "a test")
    figures.write(tmp_path / "latest.json", ["deliver"], [])
    figures.keep(tmp_path / "runs")
    metrics = read(tmp_path / "latest.json")["metrics"]
    assert metrics["deep.cpu_ratio"]["value"] == 2
    assert (metrics["deliver.peer_ratio"]["value"], metrics["deliver.peer_ratio"]["spread"]) == (0.5, [0.4, 0.6])
    [kept] = (tmp_path / "runs").iterdir()
    assert read(kept)["metrics"].keys() == {"deliver.peer_ratio"}
    assert kept.name == "2026-11-30T110000-abc-changed.json"


def test_a_family_that_failed_is_named_until_it_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    Measurements().write(path, [], ["deep", "claim"])
    Measurements().write(path, ["deliver"], ["claim"])
    assert read(path)["failed"] == ["claim", "deep"]
    Measurements().write(path, ["deep", "claim"], [])
    assert read(path)["failed"] == []


@pytest.mark.parametrize("words", [["--slowed", "x=pause:1"], ["--only", "claim", "--slowed", "x=pause:1"]])
def test_only_families_whose_processes_can_be_slowed_are(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(words)
