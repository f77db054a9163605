"""JavaScript clients of Graph, used as their documentation shows and unmodified, agree with the simulator over TLS.

Only what names Microsoft's cloud is given otherwise: the authority, the address of the API and the host that may have
the token. Node learns the simulator's certificate authority by `NODE_EXTRA_CA_CERTS`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import CLIENT, Simulator
from tests.e2e.stack import SECRET

FOLDER = Path(__file__).with_name("javascript")


@pytest.fixture(scope="module")
def tls_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulator whose API is reached over TLS only."""
    options = ("--tls", "--tier", "off", "--switch", "secret-delay-s=0", "--switch", "schema-ms=0")
    simulator = Simulator(tmp_path_factory.mktemp("javascript"), *options)
    yield simulator
    simulator.close()


@pytest.fixture(scope="module")
def run(tls_simulator: Simulator) -> Callable[[str], dict[str, Any]]:
    """Runs one script of the folder; what it found."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        pytest.skip("Node.js 20 and the packages of tests/interop/javascript are missing: make deps")
    environment = {
        **os.environ,
        "READY": json.dumps(tls_simulator.ready),
        "CLIENT_ID": CLIENT,
        "CLIENT_SECRET": SECRET,
        "NODE_EXTRA_CA_CERTS": tls_simulator.ready["ca_file"],
    }

    def run(script: str) -> dict[str, Any]:
        command = [node, str(FOLDER / script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def test_microsoft_graph_client(run: Callable[[str], dict[str, Any]]) -> None:
    assert run("graph_client.mjs") == {
        "site": "https://contoso.sharepoint.com/sites/ops",
        "keys": [f"k{n}" for n in range(7)],
        "filtered": [3],
        "changed": 33,
        "stale": [412, "resourceModified"],
        "duplicate": [400, "invalidRequest"],
        "skip": [400, "invalidRequest"],
        "count": [400, "BadRequest"],
        "misspelt": [400, "BadRequest"],
        "method": [405, "notAllowed"],
        "batch": [200, 404],
        "changes": [str(n) for n in range(1, 8)],
        "links": True,
    }


def test_pnpjs(run: Callable[[str], dict[str, Any]]) -> None:
    assert run("pnp.mjs") == {
        "site": "https://contoso.sharepoint.com/sites/ops",
        "titles": ["t0", "t1"],
        "all": [f"t{n}" for n in range(5)],
        "changed": "changed",
        "versions": ["2.0", "1.0"],
        "columns": ["Amount"],
        "missing": 404,
        "misspelt": 400,
        "batch": ["1", "3"],
    }
