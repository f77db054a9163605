"""The raw client reads an answer up to its bound, decompressed, and refuses a larger one without reading on."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

from connectors.graph.auth import TokenSource
from connectors.graph.client import MOST_BYTES, Client, NoAnswer, NotSent, Reply
from tests.e2e.conftest import Simulator
from tests.integration.graph.conftest import settings_for


async def read(simulator: Simulator, size: int) -> tuple[Reply | NotSent | NoAnswer, Reply | NotSent | NoAnswer]:
    """What the client makes of an answer of so many bytes, which compress to few, and of a small one after it."""
    asked = [size, 3]

    async def serve(_: web.Request) -> web.Response:
        response = web.Response(body=b"x" * asked.pop(0))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    app = web.Application()
    app.router.add_get("/items", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    settings = settings_for(simulator, base_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    client = Client(settings, TokenSource(settings))
    try:
        return await client.get("/items"), await client.get("/items")
    finally:
        await client.close()
        await site.stop()
        await runner.cleanup()


@pytest.mark.parametrize("beyond", [0, 1])
def test_an_answer_is_read_up_to_its_bound(sim: Callable[..., Simulator], beyond: int) -> None:
    answer, after = asyncio.run(read(sim(), MOST_BYTES + beyond))
    if beyond:
        assert isinstance(answer, NoAnswer)
        assert answer.error.code == "graph_answer_too_large"
        assert "16 MB" in answer.error.sentence
    else:
        assert isinstance(answer, Reply)
        assert len(answer.body) == MOST_BYTES
    assert isinstance(after, Reply)
    assert after.body == b"xxx"
