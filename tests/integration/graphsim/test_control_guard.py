"""The control side answers who types, and the simulator's own page; it has no sign-in, and any page has a browser."""

import socket
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def asked(running: Any) -> Callable[..., int]:
    """The status of an edit that is asked for with these headers."""

    def ask(**headers: str) -> int:
        body = {"headers": headers, "json": {"advance_s": 0}}
        status: int = running.control.post("/clock", **body).status_code
        return status

    return ask


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_another_page_changes_nothing(asked: Callable[..., int], origin: str) -> None:
    """A form or fetch of a stranger's page reaches 127.0.0.1, and the browser says whose it is."""
    assert asked(Origin=origin) == 403
    assert asked(Origin=origin, Host="localhost") == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"]
)
def test_a_strangers_name_that_leads_here_reads_nothing(asked: Callable[..., int], running: Any, host: str) -> None:
    """DNS rebinding: to the browser, the page and the control side are of one origin then."""
    assert asked(Host=host, Origin=f"http://{host}") == 403
    refused = running.control.get("/items", headers={"Host": host})
    assert refused.status_code == 403
    assert "--tls-name" in refused.json()["error"]


def test_its_own_page_and_who_types_are_answered(asked: Callable[..., int], running: Any) -> None:
    assert asked() == 200
    assert asked(Origin=running.ready["ui_url"].rstrip("/")) == 200
    for host in ("localhost", "localhost:99", "10.1.2.3:8443", "[::1]:9", "LOCALHOST"):
        assert asked(Host=host) == 200
        assert asked(Host=host, Origin=f"http://{host}") == 200


def test_a_name_of_the_command_line_is_known(simulators: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    named = simulators("--port", str(port), "--tls-name", "graphsim", "--public-url", "https://sim.example:8443")
    named.control.base_url = f"http://127.0.0.1:{port}/_sim"
    for host in ("graphsim:8443", "sim.example:8443"):
        assert named.control.get("/stats", headers={"Host": host}).status_code == 200
    at_home = {"Host": "sim.example:8443", "Origin": "https://sim.example:8443"}
    assert named.control.post("/clock", json={"advance_s": 0}, headers=at_home).status_code == 200
    assert named.control.get("/stats", headers={"Host": "other.example"}).status_code == 403
