"""The import contracts hold, and each of them is able to fail: every planted violation is found.

The planted modules are new ones, which no list of pyproject.toml names.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repository.rules import PACKAGES, ROOT

DOWN = "Imports go down only"
CIRCLE = "Packages never import each other in a circle"
CONTROL = "control sees only flows.run, flows.reconcile and flows.diff"
OPERATIONS = "Operations never parse a command line or draw on a terminal"
BY_OPERATIONS = "Commands and the demo reach the product by operations"
CONNECTORS = "PostgreSQL and Graph connectors never see each other"
BYTEWAX = "Bytewax only in flows and in the connectors' inputs and outputs"
SDK = "Graph's SDK only where lists are provisioned"
RUNNING = "A running flow never imports msgraph"
MIGRATIONS = "SQLAlchemy and Alembic only for migrations"
STRANGER = "Nothing of ours imports the simulator"
ALONE = "The simulator imports nothing of ours"

PLAIN = "import {}\n"
LAZY = "def planted() -> None:\n    import {}\n"
TYPES_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {}\n"

# (contract, package that gets a new module, how that imports, what it imports)
PLANTED = [
    (DOWN, "state", PLAIN, "connectors.settings"),
    (DOWN, "rowtide.mapping", TYPES_ONLY, "state.tables"),
    (DOWN, "flows", LAZY, "control.operations.session"),
    (DOWN, "flows", PLAIN, "demo.postgres"),
    (CIRCLE, "state.outbox", TYPES_ONLY, "state.another"),
    (CONTROL, "control", PLAIN, "flows"),
    (CONTROL, "control", PLAIN, "flows.sync"),
    (CONTROL, "control.cli", LAZY, "flows.another"),
    (CONTROL, "control", PLAIN, "flows.steps.another"),
    (CONTROL, "demo", TYPES_ONLY, "flows.run"),
    (OPERATIONS, "control.operations", PLAIN, "typer"),
    (BY_OPERATIONS, "control.cli", PLAIN, "state.ledger"),
    (BY_OPERATIONS, "control.cli", LAZY, "connectors.settings"),
    (BY_OPERATIONS, "demo", TYPES_ONLY, "state.database"),
    (CONNECTORS, "connectors.graph", PLAIN, "connectors.postgres.slots"),
    (BYTEWAX, "state", PLAIN, "bytewax"),
    (BYTEWAX, "connectors", PLAIN, "bytewax.inputs"),
    (BYTEWAX, "demo", LAZY, "bytewax"),
    (SDK, "demo", PLAIN, "msgraph"),
    (RUNNING, "flows", PLAIN, "msgraph"),
    (RUNNING, "flows", LAZY, "connectors.graph.provisioning"),
    (MIGRATIONS, "state", PLAIN, "sqlalchemy"),
    (MIGRATIONS, "control.operations", LAZY, "alembic"),
    (MIGRATIONS, "state.reconcile", PLAIN, "state.tables"),
    (STRANGER, "control", PLAIN, "graphsim"),
    (STRANGER, "demo", LAZY, "graphsim.server"),
    (STRANGER, "connectors.graph", TYPES_ONLY, "graphsim"),
    (ALONE, "graphsim", PLAIN, "rowtide.keys"),
    (ALONE, "graphsim.http", PLAIN, "demo.workdir"),
]


def contracts() -> list[str]:
    """Names of the contracts of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        return [contract["name"] for contract in tomllib.load(stream)["tool"]["importlinter"]["contracts"]]


def test_every_contract_has_a_planted_violation() -> None:
    assert {name for name, *_ in PLANTED} == set(contracts())


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product with some more modules, which break no contract yet."""
    root = tmp_path_factory.mktemp("planted")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for module in ("flows.another", "flows.steps.another", "state.outbox.another"):
        _plant(root, module, "")
    _plant(root, "state.another", "import state.outbox.another\n")
    return root


@pytest.fixture(scope="module")
def report(copy: Path) -> str:
    """What import-linter says with all violations planted, each in a module of its own."""
    assert "0 broken" in _lint(copy)
    for number, (_, package, how, imported) in enumerate(PLANTED):
        _plant(copy, f"{package}.planted_{number}", how.format(imported))
    return _lint(copy)


@pytest.mark.parametrize("number", range(len(PLANTED)))
def test_planted_violation_is_found(report: str, number: int) -> None:
    contract, package, _, imported = PLANTED[number]
    found = _section(report, contract)
    if contract == CIRCLE:
        assert f"No cycles are allowed in {package.partition('.')[0]}." in found, found
    else:
        seen = imported.partition(".")[0] if contract in (BYTEWAX, STRANGER) else imported
        assert re.search(rf"{package}\.planted_{number} -> {seen}\b", found), found


def _plant(root: Path, module: str, text: str) -> None:
    root.joinpath(*module.split(".")).with_suffix(".py").write_text(text)


def _lint(root: Path) -> str:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    environment = {"PYTHONPATH": str(root), "COLUMNS": "500"}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment)
    return done.stdout + done.stderr


def _section(report: str, contract: str) -> str:
    """What the report says of one broken contract: its name, a line of hyphens as long, then text."""
    _, _, rest = report.partition(f"\n{contract}\n{'-' * len(contract)}\n")
    return re.split(r"\n[^\n]+\n-{5,}\n", rest)[0]
