"""A benchmark against a Graph that is not on this machine is refused before anything is sent there."""

import os
from pathlib import Path

import pytest

from connectors import settings
from perf import run
from perf.figures import Measurements
from perf.stand import SYNC, refuse_real_hosts
from rowtide.errors import UserError
from tests.e2e.stack import Stack

SIMULATOR = {"base_url": "http://127.0.0.1:1/v1.0", "authority": "http://localhost:2", "ca_file": "/none"}
STRANGER = "https://graph.example.org/v1.0"


def definition_with(directory: Path, addresses: dict[str, str], more: str = "") -> Path:
    """A definition as a stand writes it, with these addresses."""
    stack = Stack(directory, "", "", SIMULATOR | addresses, SYNC, more)
    return stack.config


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_machine_is_measured(tmp_path: Path, host: str) -> None:
    path = definition_with(tmp_path, {"base_url": f"http://{host}:1/v1.0"})
    refuse_real_hosts(settings.load(path).definition)


@pytest.mark.parametrize(
    ("addresses", "more", "host"),
    [
        ({"base_url": "https://graph.microsoft.com/v1.0"}, "", "graph.microsoft.com"),
        ({"base_url": "https://GRAPH.microsoft.us/v1.0"}, "", "graph.microsoft.us"),
        ({"authority": "https://login.microsoftonline.com"}, "", "login.microsoftonline.com"),
        ({"base_url": STRANGER}, "simulator: true", "graph.example.org"),
    ],
)
def test_any_other_machine_is_refused(tmp_path: Path, addresses: dict[str, str], more: str, host: str) -> None:
    path = definition_with(tmp_path, addresses, more)
    with pytest.raises(UserError) as refused:
        refuse_real_hosts(settings.load(path).definition)
    assert refused.value.code == "perf_real_host"
    assert host in refused.value.sentence


def test_a_definition_that_names_no_address_is_refused_as_it_means_microsoft(tmp_path: Path) -> None:
    path = definition_with(tmp_path, {})
    lines = [line for line in path.read_text().splitlines() if "base_url" not in line and "authority" not in line]
    path.write_text(os.linesep.join(lines))
    with pytest.raises(UserError, match=r"graph\.microsoft\.com"):
        refuse_real_hosts(settings.load(path).definition)


def test_a_run_ends_with_the_code_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def family(_figures: Measurements, _repetitions: int) -> None:
        refuse_real_hosts(
            settings.load(definition_with(tmp_path, {"base_url": "https://graph.microsoft.com/v1.0"})).definition
        )

    monkeypatch.setitem(run.FAMILIES, "noop", family)
    monkeypatch.setattr(Measurements, "begin", lambda figures: None)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "latest.json")
    assert run.main(["--only", "noop"]) == 2
    assert capsys.readouterr().err.startswith("perf_real_host: ")
    assert not (tmp_path / "latest.json").exists()
