"""What lies between Graph's SDK and the network: one origin, no redirects, bounded answers.

In: the SDK's requests. Out: whole answers; `GraphUnavailable` for what is not to be sent or not to be read. Called by
`connectors.graph.sdk_client`, which alone imports it, since httpx is not for a running flow. Rules: a request to any
other origin than the base URL's is never sent, whoever made it; an answer is read up to `MOST_BYTES`, decompressed,
within the request's time as a whole; what is not JSON of bounded depth is not handed to the SDK.
"""

import asyncio
import zlib
from typing import Final

import httpx
import orjson

from connectors.graph.client import MOST_BYTES
from connectors.graph.settings import GraphSettings
from rowtide.error_catalogue import graph_errors

ENCODINGS: Final = "gzip, deflate"
"""What we can decompress with a bound."""
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib, whichever the data begins with


class OneOrigin(httpx.AsyncBaseTransport):
    """A transport that serves one Graph only."""

    def __init__(self, inner: httpx.AsyncBaseTransport, settings: GraphSettings) -> None:
        self._inner = inner
        self._settings = settings

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, read whole. GraphUnavailable; httpx's own errors where the connection fails."""
        base_url = self._settings.base_url
        if _origin_of(request.url) != _origin_of(httpx.URL(base_url)):
            raise graph_errors.GRAPH_LINK_ELSEWHERE(base_url=base_url)
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                response = await self._inner.handle_async_request(request)
                try:
                    content = await _read_whole(response)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise graph_errors.GRAPH_TIMEOUT(seconds=f"{self._settings.request_timeout_s:g}") from error
        if 300 <= response.status_code < 400:
            raise graph_errors.GRAPH_REDIRECTS(base_url=base_url, status=response.status_code)
        if content:
            _require_json(content, request.url.path)
        kept = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_THE_WAY]
        return httpx.Response(response.status_code, headers=[*kept, _JSON], content=content, request=request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


def _origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


_OF_THE_WAY: Final = {"content-encoding", "content-length", "content-type", "transfer-encoding"}
_JSON: Final = ("content-type", "application/json")


async def _read_whole(response: httpx.Response) -> bytes:
    """The body, decompressed as it comes; GraphUnavailable when it is larger than any that we read."""
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise graph_errors.GRAPH_BROKEN()
    unpacker = None if encoding == "identity" else zlib.decompressobj(_ANY_HEADER)
    content = bytearray()
    async for part in response.aiter_raw():
        try:
            content += part if unpacker is None else unpacker.decompress(part, MOST_BYTES + 1 - len(content))
        except zlib.error as error:
            raise graph_errors.GRAPH_BROKEN() from error
        if len(content) > MOST_BYTES:
            raise graph_errors.GRAPH_ANSWER_TOO_LARGE(megabytes=MOST_BYTES >> 20)
    return bytes(content)


def _require_json(content: bytes, path: str) -> None:
    """The SDK's parser would give up with an error of its own: orjson bounds the depth."""
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise graph_errors.GRAPH_UNREADABLE(what=path) from error
