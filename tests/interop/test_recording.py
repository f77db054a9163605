"""The recording proxy tells a wrong answer from a right one, and lets faults through as they are."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Simulator
from tests.e2e.stack import wait_until
from tests.interop.conftest import fetch_token
from tests.recording import DIRECTORY, simulator_module
from tests.recording.answers import parts_of, to_record, to_template
from tests.recording.messages import Messages
from tests.recording.verdict import find_problems, problems_of, read

LIST = "/sites/contoso.sharepoint.com,a,b/lists/Orders"
CONTEXT = {"@odata.context": "http://127.0.0.1:1/v1.0/$metadata#x"}


def _problems(method: str, target: str, status: int, body: Any, sent: Any = None) -> list[str]:
    raw = b"" if body is None else json.dumps(body).encode()
    parts = parts_of(method, "/v1.0" + target, json.dumps(sent).encode(), status, raw)
    return [problem for part in parts for problem in problems_of(to_record(part))]


@pytest.mark.parametrize(
    ("target", "template"),
    [
        ("/sites/contoso.sharepoint.com%2Ca%2Cb/lists/Orders/items?$top=1", "/sites/{site}/lists/{list}/items"),
        ("/sites/contoso.sharepoint.com:/sites/ops", "/sites/{site}"),
        ("/sites/contoso.sharepoint.com:/sites/ops:/lists/A%2FB", "/sites/{site}/lists/{list}"),
        ("/sites/contoso.sharepoint.com%3A%2Fsites%2Fops/lists", "/sites/{site}/lists"),
        (LIST + "/items/delta", "/sites/{site}/lists/{list}/items/delta"),
        (LIST + "/items/delta(token='latest')", "/sites/{site}/lists/{list}/items/delta"),
        (LIST + "/items/7/versions/2.0/fields", "/sites/{site}/lists/{list}/items/{item}/versions/{version}/fields"),
        ("/applications(appId='a')/addPassword", "/applications/{application}/addPassword"),
        ("/subscriptions/a/reauthorize", "/subscriptions/{subscription}/reauthorize"),
    ],
)
def test_names_are_taken_out_of_paths(target: str, template: str) -> None:
    assert to_template(target) == template


@pytest.mark.parametrize(
    ("method", "target", "status", "body", "problem"),
    [
        ("GET", LIST + "/items/1", 200, {"id": "1", "nope": 1}, "'nope' does not match"),
        ("GET", LIST + "/items/1", 200, {"id": 1}, "1 is not of type 'string'"),
        ("POST", LIST + "/items", 200, {"id": "1"}, "success is 201 here, not 200"),
        ("GET", LIST + "/items", 200, {"value": []}, "'@odata.context' is a required property"),
        ("GET", LIST + "/items", 200, {**CONTEXT, "value": [{"id": 3}]}, "3 is not of type 'string'"),
        ("GET", LIST + "/items/delta", 200, {**CONTEXT, "value": []}, "is not valid under any of the given schemas"),
        ("GET", LIST + "/items/1", 404, {"error": {"code": "itemNotFound"}}, "'message' is a required property"),
        ("GET", LIST + "/items/1/fields", 200, {"F": ["a"]}, "field F has several values and no type"),
        ("DELETE", LIST + "/items/1", 204, {"id": "1"}, "there is a body where there is none in Graph"),
        ("GET", LIST + "/nothing", 200, {}, "no such endpoint"),
        ("POST", "/applications/a/addPassword", 200, {"keyId": "x"}, "'x' does not match"),
    ],
)
def test_a_wrong_answer_is_a_problem(method: str, target: str, status: int, body: Any, problem: str) -> None:
    found = _problems(method, target, status, body)
    assert len(found) == 1
    assert problem in found[0]


def test_members_of_a_batch_are_held_against_their_own_requests() -> None:
    sent = {"requests": [{"id": "a", "method": "GET", "url": LIST + "/items/1"}]}
    member = {"id": "a", "status": 200, "headers": {}, "body": {"id": "1", "nope": 1}}
    assert "'nope' does not match" in _problems("POST", "/$batch", 200, {"responses": [member]}, sent)[0]
    right = {**member, "body": {"id": "1"}}
    assert _problems("POST", "/$batch", 200, {"responses": [right]}, sent) == []
    assert "'nope' was unexpected" in _problems("POST", "/$batch", 200, {"responses": [{**right, "nope": 1}]}, sent)[0]


def test_messages_come_whole_from_any_pieces() -> None:
    raw = (
        b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        b"PATCH /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
        b"GET /c HTTP/1.1\r\n\r\n"
    )
    for size in (1, 7, len(raw)):
        messages = Messages()
        found = [m for at in range(0, len(raw), size) for m in messages.feed(raw[at : at + size])]
        assert [(m.first.split()[1], m.body) for m in found] == [("/a", b"abc"), ("/b", b"def"), ("/c", b"")]


@pytest.fixture
def recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_recorded: Callable[..., Simulator]
) -> tuple[Simulator, Path]:
    """A simulator with a recorder of its own, and where it records."""
    directory = tmp_path / "answers"
    directory.mkdir()
    monkeypatch.setenv(DIRECTORY, str(directory))
    return new_recorded("--tier", "off"), directory


@pytest.fixture
def new_recorded(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Makes simulators that end with the test."""
    made: list[Simulator] = []

    def make(*options: str) -> Simulator:
        made.append(Simulator(tmp_path, *options))
        return made[-1]

    yield make
    for simulator in made:
        simulator.close()


def test_what_passed_is_recorded_and_agrees(recorded: tuple[Simulator, Path], sign_in: Callable[..., Any]) -> None:
    simulator, directory = recorded
    client = sign_in(simulator)
    site = client.get("/sites/contoso.sharepoint.com:/sites/ops").json()["id"]
    orders = client.post(f"/sites/{site}/lists", json={"displayName": "Orders"}).json()["id"]
    address = f"/sites/{site}/lists/{orders}/items"
    members = [
        {"id": str(n), "method": "POST", "url": address, "body": {"fields": {"Title": str(n)}}, "headers": _JSON}
        for n in range(20)
    ]
    assert client.post("/$batch", json={"requests": members}).status_code == 200
    page = client.get(address + "?$top=5&$expand=fields").json()
    assert page["@odata.nextLink"].startswith(simulator.ready["base_url"])
    assert client.get(page["@odata.nextLink"]).status_code == 200
    wait_until(lambda: any(one["kind"] == "element" for one in read(directory)), "the record of the page")
    seen = [(one["kind"], one["method"], one["template"], one["status"]) for one in read(directory)]
    items = "/sites/{site}/lists/{list}/items"
    assert seen.count(("answer", "POST", items, 201)) == 1
    assert seen.count(("answer", "POST", "/$batch", 200)) == 1
    assert seen.count(("element", "GET", items, 200)) == 1
    assert next(read(directory))["test"].endswith("test_what_passed_is_recorded_and_agrees")
    assert find_problems(directory) == []


_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"action": "reset"}, (httpx.ReadError, httpx.RemoteProtocolError)),
        ({"action": "truncate"}, httpx.RemoteProtocolError),
        ({"action": "garbage"}, json.JSONDecodeError),
    ],
)
def test_faults_pass_as_they_are(
    recorded: tuple[Simulator, Path], sign_in: Callable[..., Any], fault: dict[str, Any], error: Any
) -> None:
    simulator, directory = recorded
    client = sign_in(simulator)
    simulator.set_faults([{**fault, "path": "^/sites", "after_commit": True}])
    with pytest.raises(error if isinstance(error, tuple) else (error, UnicodeDecodeError)):
        client.get("/sites/root").json()
    simulator.clear_faults()
    assert client.get("/sites/root").status_code == 200
    # An answer goes on before it is noted.
    wait_until(lambda: list(read(directory)), "the record of the answer after the fault")
    assert [one["status"] for one in read(directory)] == [200]


@pytest.fixture
def sign_in() -> Iterator[Callable[[Simulator], httpx.Client]]:
    """Clients with a token."""
    made: list[httpx.Client] = []

    def sign(simulator: Simulator) -> httpx.Client:
        headers = {"Authorization": "Bearer " + fetch_token(simulator.ready)}
        made.append(httpx.Client(base_url=simulator.ready["base_url"], headers=headers, timeout=30))
        return made[-1]

    yield sign
    for client in made:
        client.close()


def test_a_run_with_a_wrong_answer_fails(tmp_path: Path) -> None:
    """A suite whose tests all pass ends with exit code 1 when what was recorded is wrong, and says what."""
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "conftest.py").write_text(
        "from tests.recording import session as s\n"
        "def pytest_configure(config): s.begin(config)\n"
        "def pytest_sessionfinish(session): s.judge(session)\n"
        "def pytest_terminal_summary(terminalreporter, config): s.report(terminalreporter, config)\n"
    )
    (folder / "test_passes.py").write_text(
        "import json, os, pathlib\n"
        "def test_passes():\n"
        "    answer = {'test': 'it', 'kind': 'answer', 'method': 'GET', 'template': '/sites/{site}', 'status': 200,\n"
        "              'target': '/sites/root', 'body': {'nope': 1}}\n"
        f"    pathlib.Path(os.environ['{DIRECTORY}'], 'a.jsonl').write_text(json.dumps(answer))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != DIRECTORY}
    environment["TMPDIR"] = str(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "GET /sites/{site} -> 200: $: 'nope' does not match" in done.stdout


def test_no_proxy_outside_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulator_module() == "tests.recording"
    monkeypatch.delenv(DIRECTORY)
    assert simulator_module() == "graphsim"
