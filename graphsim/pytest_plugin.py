"""Fixtures for tests that want a Graph to talk to: `pip install ./graphsim` makes them known to pytest.

In: the ini option `graphsim_args`, arguments of `python -m graphsim`. Out: the fixture `graph_simulator`, a simulator
that runs for the session and ends with it. Rule: only the standard library is used, so the plugin brings nothing along.
"""

import json
import shlex
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class GraphSimulator:
    """A running simulator: where it is, the app that may use it, and its control side."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.base_url: str = ready["base_url"]
        self.authority: str = ready["authority"]
        self.ca_file: str = ready["ca_file"]
        self.client_id: str = ready["client_id"]
        self.client_secret: str = ready["client_secret"]
        self.sites: list[str] = ready["sites"]
        self._control_url: str = ready["control_url"]
        self._context = ssl.create_default_context(cafile=self.ca_file)

    def token(self) -> str:
        """An access token of the app, for clients that want to be given one."""
        form = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "grant_type": "client_credentials",
            "scope": "https://graph.microsoft.com/.default",
        }
        url, data = f"{self.authority}/any-tenant/oauth2/v2.0/token", urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(url, data, 30, context=self._context) as answer:
            token: str = json.load(answer)["access_token"]
        return token

    def control_side(self, path: str, body: Any = None) -> Any:
        """What the control side answers: a GET without a body, a POST with one (`docs/graphsim.md`, Control side)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._control_url}/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30, context=self._context) as answer:
            return json.load(answer)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Makes the ini option known."""
    parser.addini("graphsim_args", "arguments of the simulator behind the fixture graph_simulator", default="")


@pytest.fixture(scope="session")
def graph_simulator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GraphSimulator]:
    """A simulator of SharePoint lists behind Microsoft Graph, for the whole session."""
    ca_file: Path = tmp_path_factory.mktemp("graphsim") / "ca.pem"
    command = [sys.executable, "-m", "graphsim", "--die-with-parent", "--ca-out", str(ca_file)]
    command += shlex.split(request.config.getini("graphsim_args"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail("the simulator did not start: its message is above")
        yield GraphSimulator(json.loads(line))
        process.terminate()
