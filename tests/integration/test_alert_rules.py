"""The alert rules as Prometheus plays them: each fires while its condition holds, and clears after it."""

import shutil
import subprocess
from pathlib import Path

import pytest

ALERTS = Path(__file__).parents[2] / "k8s/alerts"
PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="needs Debian's prometheus: make deps")


def promtool(directory: Path, *words: str) -> tuple[int, str]:
    """How a command ends there, and what it says."""
    done = subprocess.run([PROMTOOL or "", *words], cwd=directory, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    code, said = promtool(ALERTS, "check", "rules", "rowtide.rules.yml")
    assert code == 0, said


def test_every_alert_fires_and_clears() -> None:
    code, said = promtool(ALERTS, "test", "rules", "rowtide.test.yml")
    assert code == 0, said


def test_a_rule_that_asks_for_more_is_found(tmp_path: Path) -> None:
    (tmp_path / "rowtide.rules.yml").write_text((ALERTS / "rowtide.rules.yml").read_text().replace("> 60", "> 600"))
    (tmp_path / "rowtide.test.yml").write_text((ALERTS / "rowtide.test.yml").read_text())
    code, said = promtool(tmp_path, "test", "rules", "rowtide.test.yml")
    assert code == 1, said
    assert "RowtidePushLate" in said
