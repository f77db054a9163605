"""The API over TLS, and links that begin with the address the client used."""

import socket
import ssl
from typing import Any

import httpx
import pytest

LINK = "@odata.deltaLink"


def _link(simulator: Any, orders: str, **headers: str) -> str:
    """The address that a link of an answer begins with."""
    answer = simulator.client.get(orders + "/items/delta?token=latest", headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[LINK]).partition("/v1.0/")[0]


@pytest.fixture
def tls(simulators: Any) -> Any:
    """A simulator over TLS, and a client that trusts its authority."""
    simulator = simulators("--tls", "--tier", "off")
    context = ssl.create_default_context(cafile=simulator.ready["ca_file"])
    for name, url in (("client", "base_url"), ("control", "control_url")):
        getattr(simulator, name).close()
        setattr(simulator, name, httpx.Client(base_url=simulator.ready[url], verify=context, timeout=30))
    return simulator.sign_in()


def test_the_api_is_served_over_tls(tls: Any) -> None:
    assert tls.ready["base_url"].startswith("https://127.0.0.1:")
    orders = tls.make_list()
    assert tls.client.post(orders + "/items", json={"fields": {"Amount": 1}}).status_code == 201
    assert _link(tls, orders) == tls.ready["base_url"].removesuffix("/v1.0")
    assert tls.client.get(tls.ready["ui_url"]).status_code == 200
    assert tls.stats()["creates"]["total"] == 1


def test_a_client_that_does_not_trust_the_authority_is_kept_out(tls: Any) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(tls.ready["base_url"] + "/sites/root", verify=ssl.create_default_context())


def test_plain_http_is_not_answered_on_the_tls_port(tls: Any) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(tls.ready["base_url"].replace("https:", "http:") + "/sites/root")


def test_the_certificate_has_the_names_that_the_command_line_adds(simulators: Any) -> None:
    simulator = simulators("--tls", "--tls-name", "graph.test", "--public-url", "https://sim.example:8443")
    context = ssl.create_default_context(cafile=simulator.ready["ca_file"])
    port = int(simulator.ready["authority"].rpartition(":")[2])
    for name in ("graph.test", "sim.example", "localhost", "127.0.0.1"):
        with (
            socket.create_connection(("127.0.0.1", port), 30) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            assert secure.version()
    assert simulator.ready["base_url"] == "https://sim.example:8443/v1.0"


def test_links_begin_with_the_host_that_the_client_used(running: Any) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("Hosts")
    assert _link(simulator, orders, Host="graph.test:123") == "http://graph.test:123"
    ignored = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    assert _link(simulator, orders, **ignored) == simulator.ready["base_url"].removesuffix("/v1.0")
    assert "<" not in _link(simulator, orders, Host="<script>")


def test_a_public_url_is_the_beginning_of_links(simulators: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    simulator = simulators("--tier", "off", "--port", str(port), "--public-url", "https://sim.example/")
    assert simulator.ready["base_url"] == "https://sim.example/v1.0"
    simulator.client.base_url = f"http://127.0.0.1:{port}/v1.0"
    simulator.sign_in()
    assert _link(simulator, simulator.make_list()) == "https://sim.example"


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "sim.example"}, "https://sim.example"),
        ({"Forwarded": "for=10.0.0.1;proto=https;host=sim.example:8443"}, "https://sim.example:8443"),
        ({"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "a, sim.example"}, "http://sim.example"),
    ],
)
def test_forwarded_headers_count_when_the_command_line_says_so(
    simulators: Any, headers: dict[str, str], base: str
) -> None:
    simulator = simulators("--tier", "off", "--trust-forwarded").sign_in()
    orders = simulator.make_list()
    assert _link(simulator, orders, **headers) == base
    assert _link(simulator, orders) == simulator.ready["base_url"].removesuffix("/v1.0")


@pytest.mark.parametrize("url", ["sim.example", "ftp://sim.example", "https://sim.example/v1.0", "https://"])
def test_a_public_url_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    from graphsim.cli import main

    assert main(["--public-url", url]) == 2
    assert "--public-url is written https://HOST[:PORT]" in capsys.readouterr().err
