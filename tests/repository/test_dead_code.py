"""The check for code that nobody uses finds some where it is planted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.rules import PACKAGES, ROOT


def test_a_planted_function_that_nobody_calls_is_found(tmp_path: Path) -> None:
    pytest.importorskip("vulture", reason="vulture is not in this environment: make deps, then make check")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = "def planted_and_never_called() -> None:\n    pass\n"
    (tmp_path / "flows" / "planted.py").write_text(planted)
    found = subprocess.run([sys.executable, "-m", "vulture"], cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout.splitlines() == [
        "flows/planted.py:1: unused function 'planted_and_never_called' (60% confidence)"
    ], found.stdout + found.stderr
