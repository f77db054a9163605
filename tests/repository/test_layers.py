"""The import contracts hold, and each of them is able to fail: a planted violation is found."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ["rowtide", "state", "connectors", "flows", "control", "demo", "graphsim"]

PLANTED = {
    "Imports go down only": ("state/planted.py", "import connectors.settings\n"),
    "control sees only flows.run and flows.reconcile": ("control/planted.py", "import flows.sync\n"),
    "Operations never parse a command line or draw on a terminal": (
        "control/operations/planted.py",
        "import typer\n",
    ),
    "PostgreSQL and Graph connectors never see each other": (
        "connectors/graph/planted.py",
        "import connectors.postgres.slots\n",
    ),
    "Bytewax only in flows and in the connectors' inputs and outputs": ("state/planted.py", "import bytewax\n"),
    "The pure core does no IO": ("rowtide/planted.py", "import asyncio\n"),
    "A running flow never imports msgraph": ("flows/planted.py", "import msgraph\n"),
    "The simulator is a stranger": ("control/planted.py", "import graphsim\n"),
    "The simulator imports nothing of ours": ("graphsim/planted.py", "import rowtide.keys\n"),
}


def contracts() -> list[str]:
    """Names of the contracts of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        return [contract["name"] for contract in tomllib.load(stream)["tool"]["importlinter"]["contracts"]]


def test_every_contract_has_a_planted_violation() -> None:
    assert sorted(PLANTED) == sorted(contracts())


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_violation_is_found(name: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file, line = PLANTED[name]
    (tmp_path / file).write_text(line)
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    assert f"{name} BROKEN" in done.stdout, done.stdout + done.stderr
