"""A desk for trying the simulator without sockets, and a real process where sockets are what is tried.

In: nothing. Out: fixtures `desk` (tenant, app, site, and `call`) and `simulators` (starts `python -m graphsim`).
Called by the tests of this folder. Rule: every answer is held against the JSON Schema of Graph's published CSDL.
"""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from graphsim.clock import Clock
from graphsim.http import batch, pipeline
from graphsim.http.request import ApiCall, ApiReply, split_target
from graphsim.identity.app_registrations import App
from graphsim.lists.sites import Site, make_site
from graphsim.switches import Switches, apply_switches
from graphsim.tenant import Tenant
from tests.recording import simulator_module, verdict
from tests.recording.answers import PREFIX, parts_of, to_record

BASE = "http://127.0.0.1:1/v1.0"


def check_shape(method: str, url: str, status: int, body: Any) -> None:
    """AssertionError when an answer is not such as Graph gives."""
    sent = b"" if body is None else orjson.dumps(body)
    problems = [
        problem
        for part in parts_of(method, PREFIX + url, b"", status, sent)
        for problem in verdict.problems_of(to_record(part))
    ]
    assert not problems, (method, url, problems)


def _receive(reply: ApiReply) -> None:
    """Makes the body what a client reads from the answer: pages hold their items as JSON."""
    if not isinstance(reply.body, str):
        reply.body = orjson.loads(orjson.dumps(reply.body))


class Desk:
    """A tenant with one app and one site; `call` goes the way of every request."""

    def __init__(self, tier: str = "off", window_s: float = 60.0, **switches: Any) -> None:
        self.time = 1_800_000_000.0
        made = Switches()
        apply_switches(made, switches)
        self.tenant = Tenant(clock=Clock(lambda: self.time), switches=made, tier=tier, window_s=window_s)
        self.app: App = self.tenant.add_app("app-1", "First app")
        self.site: Site = make_site("contoso.sharepoint.com:/sites/ops", int(self.time))
        self.tenant.sites.add(self.site)
        self.lists: dict[str, str] = {}

    def call(self, method: str, url: str, body: Any = None, *, app: App | None = None, **headers: str) -> ApiReply:
        path, segments, query = split_target(url.removeprefix(BASE))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        call = ApiCall(method, path, segments, query, named, body, BASE, app or self.app)
        served = asyncio.run(pipeline.serve_with_faults(self.tenant, call))
        self.tenant.schema_busy.discard(served.reply.unlock or "")
        _receive(served.reply)
        check_shape(method, url.removeprefix(BASE), served.reply.status, served.reply.body)
        return served.reply

    def get(self, url: str, *, app: App | None = None, **headers: str) -> Any:
        reply = self.call("GET", url, app=app, **headers)
        assert reply.status == 200, reply.body
        return reply.body

    def batch(self, requests: list[dict[str, Any]]) -> pipeline.Served:
        call = ApiCall("POST", "/$batch", ["$batch"], {}, {}, {"requests": requests}, BASE, self.app)
        served = asyncio.run(batch.run(self.tenant, call))
        _receive(served.reply)
        return served

    def batch_answers(self, requests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        served = self.batch(requests)
        assert served.reply.status == 200
        return {answer["id"]: answer for answer in served.reply.body["responses"]}

    def make_list(self, title: str = "Orders", columns: list[dict[str, Any]] | None = None) -> str:
        """A list with a unique key and an amount; its address."""
        default: list[dict[str, Any]] = [
            {"name": "RowtideKey", "text": {}, "indexed": True, "enforceUniqueValues": True, "hidden": True},
            {"name": "Amount", "number": {}},
        ]
        given = {"displayName": title, "columns": default + (columns or []), "list": {"template": "genericList"}}
        reply = self.call("POST", f"/sites/{self.site.id}/lists", given)
        assert reply.status == 201, reply.body
        self.lists[title] = reply.body["id"]
        return f"/sites/{self.site.id}/lists/{reply.body['id']}"

    def add(self, address: str, **fields: Any) -> dict[str, Any]:
        reply = self.call("POST", address + "/items", {"fields": fields})
        assert reply.status == 201, reply.body
        made: dict[str, Any] = reply.body
        return made

    def error(
        self, method: str, url: str, body: Any = None, *, app: App | None = None, **headers: str
    ) -> tuple[int, str, str]:
        """Status, code and message of a call that must fail."""
        reply = self.call(method, url, body, app=app, **headers)
        assert reply.status >= 400, reply.body
        return reply.status, reply.body["error"]["code"], reply.body["error"]["message"]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def make_desk() -> type[Desk]:
    return Desk


class Simulator:
    """A running process: its ready line, a client with a token, and the control side."""

    def __init__(self, folder: Path, arguments: tuple[str, ...]) -> None:
        ca = folder / f"ca-{len(list(folder.iterdir()))}.pem"
        command = [
            sys.executable,
            "-m",
            simulator_module(),
            "--ca-out",
            str(ca),
            "--client",
            "app-1=env:SIM_SECRET",
            *arguments,
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "SIM_SECRET": "s3cret"}
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1].decode()
        self.ready: dict[str, Any] = json.loads(line)
        self.client = httpx.Client(base_url=self.ready["base_url"], timeout=30)
        self.control = httpx.Client(base_url=self.ready["control_url"], timeout=30)

    def token(self, secret: str = "s3cret", client_id: str = "app-1") -> httpx.Response:
        form = {
            "client_id": client_id,
            "client_secret": secret,
            "grant_type": "client_credentials",
            "scope": "https://graph.microsoft.com/.default",
        }
        return self.authority("/any/oauth2/v2.0/token", form)

    def authority(self, path: str, form: dict[str, str]) -> httpx.Response:
        context = ssl.create_default_context(cafile=self.ready["ca_file"])
        return httpx.post(self.ready["authority"] + path, data=form, verify=context)

    def sign_in(self) -> "Simulator":
        self.client.headers["Authorization"] = "Bearer " + self.token().json()["access_token"]
        return self

    def make_list(self, title: str = "Orders") -> str:
        site = self.client.get("/sites/contoso.sharepoint.com:/sites/demo").json()["id"]
        columns = [
            {"name": "RowtideKey", "text": {}, "indexed": True, "enforceUniqueValues": True},
            {"name": "Amount", "number": {}},
        ]
        made = self.client.post(f"/sites/{site}/lists", json={"displayName": title, "columns": columns}).json()
        return f"/sites/{site}/lists/{made['id']}"

    def order(self, name: str, body: Any) -> Any:
        answer = self.control.post("/" + name, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stats(self) -> Any:
        return self.control.get("/stats").json()

    def stop(self) -> int:
        self.client.close()
        self.control.close()
        if self.process.poll() is None:
            self.process.terminate()
        _, err = self.process.communicate(timeout=20)
        self.last_words = err.decode()
        return self.process.returncode


@pytest.fixture
def simulators(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Starts simulators; all are gone after the test."""
    started: list[Simulator] = []

    def start(*arguments: str) -> Simulator:
        started.append(Simulator(tmp_path, arguments))
        return started[-1]

    yield start
    for simulator in started:
        if simulator.process.poll() is None:
            simulator.process.kill()
        simulator.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator for the tests of a module that need nothing special of it."""
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), ("--tier", "off"))
    yield simulator
    assert simulator.stop() == 0
    assert simulator.last_words == ""


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Waits for a condition, with a generous deadline; its first true value."""

    def wait(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError("it did not come true in time")

    return wait
