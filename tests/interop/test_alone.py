"""The simulator by itself, as `docs/graphsim-ci.md` tells strangers to install and use it."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.wheels import UV, build_wheel

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "graphsim-ci.md").read_text(encoding="utf-8")
JAVASCRIPT = Path(__file__).with_name("javascript")
# Not the recorder: what is tried here is the installed distribution.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "ROWTIDE_TEST_ANSWERS"}}


def _example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def _run(*command: str | Path, cwd: Path, timeout_s: float = 300) -> str:
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the simulator's own distribution and pytest, and nothing of Rowtide."""
    place = tmp_path_factory.mktemp("alone")
    wheel = build_wheel(ROOT / "graphsim", place)
    _run(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place)
    python = place / "venv" / "bin" / "python"
    requirements = ROOT / "requirements" / "sim.txt"
    _run(UV, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", requirements, cwd=place)
    _run(UV, "pip", "install", "-q", "--python", python, "--no-deps", wheel, cwd=place)
    _run(UV, "pip", "install", "-q", "--python", python, "-c", ROOT / "requirements" / "dev.txt", "pytest", cwd=place)
    return place / "venv" / "bin"


def test_it_brings_nothing_of_the_product(alone: Path, tmp_path: Path) -> None:
    names = {
        line["name"]
        for line in json.loads(_run(UV, "pip", "list", "--format", "json", "--python", alone / "python", cwd=tmp_path))
    }
    assert "rowtide-graphsim" in names
    assert not names & {"rowtide", "bytewax", "msgraph-sdk", "psycopg", "sqlalchemy"}
    assert "--tls" in _run(alone / "graphsim", "--help", cwd=tmp_path)


def test_the_pytest_example_passes(alone: Path, tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(_example("python"))
    for arguments in ("", "--tls"):
        (tmp_path / "pytest.ini").write_text(f"[pytest]\ngraphsim_args = {arguments}\n")
        if arguments:
            # urllib of the example does not know the authority, so only the start is tried.
            (tmp_path / "test_example.py").write_text(
                "def test_tls(graph_simulator):\n    assert graph_simulator.token()\n"
            )
        assert "1 passed" in _run(alone / "python", "-m", "pytest", "-q", cwd=tmp_path)


def _recipe(instruction: str) -> str:
    """What the last instruction of a name in the container's recipe says."""
    text = (ROOT / "graphsim" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: list[str] = re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)
    return found[-1]


def test_the_command_of_the_container_serves_its_name_over_tls(alone: Path, tmp_path: Path) -> None:
    """What the recipe starts, with other ports and another folder for the certificate; no engine is needed."""
    assert _recipe("COPY") == "graphsim /app/graphsim"
    shutil.copytree(ROOT / "graphsim", tmp_path / "app" / "graphsim", ignore=shutil.ignore_patterns("__pycache__"))
    command = [*json.loads(_recipe("ENTRYPOINT")), *json.loads(_recipe("CMD"))]
    assert command[:3] == ["/venv/bin/python", "-m", "graphsim"]
    ports = {"8443": "0", "8444": "0", "/ca/ca.pem": str(tmp_path / "ca.pem"), command[0]: str(alone / "python")}
    command = [ports.get(part, part) for part in [*command, "--die-with-parent"]]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path / "app")}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        ready = json.loads(simulator.stdout.readline())
        port = int(ready["base_url"].removesuffix("/v1.0").rpartition(":")[2])
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with (
            socket.create_connection(("127.0.0.1", port), 30) as plain,
            context.wrap_socket(plain, server_hostname="graphsim") as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: graphsim\r\nConnection: close\r\n\r\n")
            assert secure.makefile("rb").readline().split()[1] == b"200"
        simulator.terminate()
    assert simulator.returncode == 0


@pytest.fixture
def script() -> Iterator[Path]:
    """The JavaScript example, where Node finds its packages."""
    if shutil.which("node") is None or not (JAVASCRIPT / "node_modules").is_dir():
        pytest.skip("Node.js 20 and the packages of tests/interop/javascript are missing: make deps")
    path = JAVASCRIPT / f".example-{os.getpid()}.mjs"
    path.write_text(_example("javascript"))
    yield path
    path.unlink()


def test_the_javascript_example_prints_what_it_wrote(alone: Path, tmp_path: Path, script: Path) -> None:
    command = [str(alone / "graphsim"), "--tls", "--ca-out", str(tmp_path / "ca.pem"), "--die-with-parent"]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        (tmp_path / "ready.json").write_text(simulator.stdout.readline())
        environment = {**ENVIRONMENT, "NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.pem")}
        done = subprocess.run(
            ["node", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        simulator.terminate()
    assert (done.stdout, done.returncode) == ("first\n", 0), done.stderr
