"""A server in Graph's place that means harm: where it leads us, and how much it makes us read.

In: `tests.integration.graph.hostile`; a token of the simulator's authority. Rule: our token goes nowhere but to the
configured endpoint, and no answer makes a command read, wait or follow without end.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connectors.graph import provisioning
from connectors.graph.auth import TokenSource
from connectors.graph.list_schema import WantedList
from connectors.graph.settings import ClientSecret, GraphSettings
from graphsim.identity.certificates import make_authority
from rowtide.errors import GraphUnavailable, IdentityUnavailable, RowtideError
from tests.e2e.conftest import Simulator
from tests.integration.graph.conftest import COLUMNS, SITE, settings_for
from tests.integration.graph.hostile import ORDERS, Answer, Hostile, running, served, usual

NEXT = "@odata.nextLink"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Somebody who gives tokens."""
    simulator = Simulator(Path(tmp_path_factory.mktemp("authority")), "--tier", "off")
    yield simulator
    simulator.close()


def examine(authority: Simulator, answers: dict[str, Answer], **changes: Any) -> tuple[RowtideError | None, Hostile]:
    """What `provisioning.examine` ends with when Graph answers so, and what was asked meanwhile."""

    async def ask() -> tuple[RowtideError | None, Hostile]:
        async with running(answers) as hostile:
            settings = settings_for(authority, base_url=hostile.base_url, **changes)
            try:
                async with asyncio.timeout(60):
                    await asyncio.to_thread(provisioning.examine, settings, SITE, [WantedList("Orders", COLUMNS)])
            except RowtideError as error:
                return error, hostile
            return None, hostile

    return asyncio.run(ask())


def test_the_usual_answers_are_taken(authority: Simulator) -> None:
    error, hostile = examine(authority, usual())
    assert error is None
    assert len(hostile.asked) == 4


@pytest.mark.parametrize("which", ["lists", "columns"])
def test_a_link_to_elsewhere_is_not_followed(authority: Simulator, which: str) -> None:
    away: Answer = lambda hostile, _: {"value": [ORDERS], NEXT: f"{hostile.elsewhere}/sites/s/lists?$skiptoken=1"}  # noqa: E731
    error, hostile = examine(authority, usual(**{which: away}))
    assert hostile.led_away == []
    assert isinstance(error, GraphUnavailable)
    assert "leads away" in error.sentence


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:{port}@{elsewhere}/v1.0/sites",
        "//{elsewhere}/v1.0/sites",
        "http://127.0.0.1:{port}.{elsewhere}/v1.0/sites",
        "http://[::1/v1.0",
        "file:///etc/passwd",
        7,
        {"a": "b"},
    ],
)
def test_no_spelling_of_a_link_leads_away(authority: Simulator, link: object) -> None:
    def answer(hostile: Hostile, request: web.Request) -> dict[str, Any]:
        elsewhere = hostile.elsewhere.removeprefix("http://").removesuffix("/v1.0")
        port = request.url.port
        return {"value": [ORDERS], NEXT: link.format(port=port, elsewhere=elsewhere) if isinstance(link, str) else link}

    error, hostile = examine(authority, usual(lists=answer))
    assert hostile.led_away == []
    assert isinstance(error, GraphUnavailable)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("which", ["site", "columns"])
def test_a_redirect_is_not_followed(authority: Simulator, which: str, status: int) -> None:
    def answer(hostile: Hostile, _: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{hostile.elsewhere}/sites/s"})

    error, hostile = examine(authority, usual(**{which: answer}))
    assert hostile.led_away == []
    assert isinstance(error, GraphUnavailable)
    assert "elsewhere" in error.sentence


@pytest.mark.parametrize("which", ["lists", "columns"])
@pytest.mark.parametrize("kind", ["itself", "a circle", "without end"])
def test_pages_that_do_not_end_are_read_no_further(authority: Simulator, which: str, kind: str) -> None:
    pages = count(1)

    def answer(hostile: Hostile, request: web.Request) -> dict[str, Any]:
        number = {"itself": 1, "a circle": next(pages) % 7, "without end": next(pages)}[kind]
        return {"value": [ORDERS], NEXT: f"{hostile.base_url}{request.path.removeprefix('/v1.0')}?$skiptoken={number}"}

    error, hostile = examine(authority, usual(**{which: answer}))
    assert isinstance(error, GraphUnavailable)
    assert "do not end" in error.sentence
    assert len(hostile.asked) < 210


@pytest.mark.parametrize("which", ["site", "lists", "columns"])
@pytest.mark.parametrize("compressed", [True, False])
def test_an_answer_that_fills_the_memory_is_not_read(authority: Simulator, which: str, compressed: bool) -> None:
    def answer(_: Hostile, __: web.Request) -> web.Response:
        response = web.Response(
            body=b'{"value": [], "more": "' + b"x" * (17 << 20) + b'"}', content_type="application/json"
        )
        if compressed:
            response.enable_compression(web.ContentCoding.gzip)
        return response

    error, _ = examine(authority, usual(**{which: answer}))
    assert error is not None
    assert error.code == "graph_answer_too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"value": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"id": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        b"null",
        b"[]",
        b'"text"',
        b'{"value": 5}',
        b'{"value": [5, null, "a"]}',
        b'{"id": {"a": 1}, "value": {"id": 5}}',
        b'{"value": [{"id": 7, "displayName": ["x"]}]}',
        b"\xff\xfe",
        b"",
    ],
)
@pytest.mark.parametrize("which", ["site", "lists", "columns"])
def test_an_answer_of_another_shape_is_a_sentence(authority: Simulator, which: str, body: bytes) -> None:
    answer: Answer = lambda *_: web.Response(body=body, content_type="application/json")  # noqa: E731
    error, _ = examine(authority, usual(**{which: answer}))  # whatever is no RowtideError fails the test
    assert error is None or error.sentence


@pytest.mark.parametrize("which", ["site", "lists", "columns"])
def test_what_is_said_of_a_refusal_is_bounded(authority: Simulator, which: str) -> None:
    """It is shown, logged and stored."""
    error = {"error": {"code": "c" * (1 << 20), "message": "m" * (1 << 20)}}
    refused, _ = examine(authority, usual(**{which: lambda *_: web.json_response(error, status=403)}))
    assert refused is not None
    assert len(refused.sentence) < 1000


def test_an_answer_that_comes_drop_by_drop_is_not_waited_for(authority: Simulator) -> None:
    class Drops(web.StreamResponse):
        async def prepare(self, request: Any) -> Any:
            writer = await super().prepare(request)
            for _ in range(300):
                await self.write(b" ")
                await asyncio.sleep(0.1)
            return writer

    error, _ = examine(authority, usual(lists=lambda *_: Drops()), request_timeout_s=1.0)
    assert isinstance(error, GraphUnavailable)


def test_a_login_that_answers_without_end_is_not_read(tmp_path: Path) -> None:
    """It has a certificate that is trusted, and may be asked by every process."""
    authority, sent = make_authority(["127.0.0.1"]), [0]
    (tmp_path / "ca.pem").write_bytes(authority.ca_pem)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"token_type": "Bearer", "more": "')
        with contextlib.suppress(ConnectionError):
            while sent[0] < 64 << 20 and request.transport is not None and not request.transport.is_closing():
                await response.write(b"x" * (1 << 16))
                sent[0] += 1 << 16
                await asyncio.sleep(0)
        return response

    async def ask() -> RowtideError | None:
        async with served(answer, authority.context) as port:
            settings = GraphSettings(
                "contoso",
                "tenant",
                "client",
                ClientSecret("secret"),
                authority=f"https://127.0.0.1:{port}",
                ca_file=str(tmp_path / "ca.pem"),
            )
            try:
                await asyncio.to_thread(TokenSource(settings).fetch_token)
            except RowtideError as error:
                return error
            return None

    error = asyncio.run(ask())
    assert isinstance(error, IdentityUnavailable)
    assert sent[0] < 16 << 20
