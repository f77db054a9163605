"""The raw HTTP client of the hot path: sends one authorised request, and says whether it can have arrived.

In: a path below the base URL and bytes, or a link that Graph gave. Out: `Reply`, `NotSent` (it cannot have reached
Graph) or `NoAnswer` (it may have). Rules: no request is ever repeated here; an answer is read up to `MOST_BYTES`.
"""

import asyncio
import io
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import aiohttp
import structlog
from yarl import URL

from connectors.graph import links
from connectors.graph.auth import TokenSource
from connectors.graph.settings import GraphSettings
from connectors.loops import Beside
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphUnavailable, RowtideError
from state import failpoints

MOST_BYTES: Final = 16 << 20
"""No answer is read further than this, decompressed."""

Method = Literal["POST", "PATCH", "DELETE"]
"""What changes something in Graph."""

_CONNECT_S = 5.0
_KEEPALIVE_S = 20.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its whole body; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray
    token: str
    client_request_id: str = ""


@dataclass(frozen=True, slots=True)
class NotSent:
    """There was no connection: Graph has not seen the request."""

    error: GraphUnavailable


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Reset, time-out or a broken answer: Graph may have carried the request out."""

    error: GraphUnavailable
    client_request_id: str = ""


class Client:
    """One session, made and closed on the event loop that uses it."""

    def __init__(self, settings: GraphSettings, tokens: TokenSource) -> None:
        self._settings = settings
        self._tokens = tokens
        self._fetching: asyncio.Future[str] | None = None
        context: ssl.SSLContext | bool = True
        if settings.ca_file and settings.base_url.startswith("https:"):
            context = ssl.create_default_context(cafile=settings.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16, keepalive_timeout=_KEEPALIVE_S, ssl=context),
            timeout=aiohttp.ClientTimeout(
                total=settings.request_timeout_s, sock_connect=min(_CONNECT_S, settings.request_timeout_s)
            ),
            headers={"User-Agent": settings.user_agent, "Accept": "application/json"},
            trace_configs=[_traced()],
            # The environment's proxies are for the Internet, not for a simulator on this machine.
            trust_env=settings.base_url.startswith("https:"),
        )

    async def post(self, path: str, body: bytes) -> Reply | NotSent | NoAnswer:
        """Sends ``body`` as JSON. IdentityRefused or IdentityUnavailable when there is no token."""
        return await self.send("POST", path, body)

    async def send(self, method: Method, path: str, body: bytes | None) -> Reply | NotSent | NoAnswer:
        """The same by another method; None: without a body."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        data = _to_data(body) if body is not None else None
        return await self._send(method, f"{self._settings.base_url}{path}", headers, data)

    async def get(self, link: str, most_bytes: int = MOST_BYTES) -> Reply | NotSent | NoAnswer:
        """Reads a path below the base URL, or a link as Graph gave it; a link to elsewhere never gets our token.

        An answer of more than ``most_bytes`` is not read further.
        """
        base_url = self._settings.base_url
        url = f"{base_url}{link}" if link.startswith("/") else link
        if not links.is_below(base_url, url):
            return NotSent(graph_errors.GRAPH_LINK_ELSEWHERE(base_url=base_url))
        return await self._send("GET", url, {}, None, most_bytes)

    async def _send(
        self,
        method: str,
        url: str,
        more: Mapping[str, str],
        data: bytes | io.BytesIO | None,
        most_bytes: int = MOST_BYTES,
    ) -> Reply | NotSent | NoAnswer:
        token = self._tokens.current
        if token is None:
            token = await self._fetch_token()
        sent_as = str(uuid.uuid4())
        headers = {"Authorization": f"Bearer {token}", "client-request-id": sent_as, **more}
        try:
            # Links are followed as they are: another spelling of their token may be another token.
            address = URL(url, encoded=True)
            async with self._session.request(
                method, address, data=data, headers=headers, allow_redirects=False
            ) as response:
                content = await _read_whole(response, most_bytes)
                if content is None:
                    return NoAnswer(graph_errors.GRAPH_ANSWER_TOO_LARGE(megabytes=most_bytes >> 20), sent_as)
                lower = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, lower, content, token, sent_as)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            return NotSent(_caused(graph_errors.GRAPH_UNREACHABLE(base_url=self._settings.base_url), error))
        except TimeoutError as error:
            late = graph_errors.GRAPH_TIMEOUT(seconds=f"{self._settings.request_timeout_s:g}")
            return NoAnswer(_caused(late, error), sent_as)
        except (aiohttp.ClientError, OSError) as error:
            return NoAnswer(_caused(graph_errors.GRAPH_BROKEN(), error), sent_as)

    async def _fetch_token(self) -> str:
        """A token, fetched once for all who wait, by a daemon thread, so that no exit waits for it."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_future()
            Beside("rowtide-token", partial(self._fetch, self._fetching))
        return await asyncio.shield(self._fetching)

    def _fetch(self, waiting: "asyncio.Future[str]") -> None:
        token, error = "", None
        try:
            token = self._tokens.fetch_token()
        except RowtideError as refusal:
            error = refusal
        except Exception as fault:  # nobody would ever wake those who wait
            _log.error("token not fetched", exc_info=fault)
            where = self._settings.authority or "https://login.microsoftonline.com"
            error = graph_errors.IDENTITY_UNAVAILABLE(where=where, error=type(fault).__name__)
        try:
            waiting.get_loop().call_soon_threadsafe(_fulfil, waiting, token, error)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()


async def _read_whole(response: aiohttp.ClientResponse, most_bytes: int) -> bytearray | None:
    """The body, decompressed as it comes; None when it is larger than any that we read. The connection then closes."""
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > most_bytes:
            return None
    return content


def _traced() -> aiohttp.TraceConfig:
    """Passes the failpoint after a request. aiohttp announces a chunk just before the write, so this waits a turn."""

    async def announced(*_: object) -> None:
        asyncio.get_running_loop().call_soon(failpoints.hit, failpoints.DELIVER_AFTER_SEND)

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(announced)
    return trace


def _to_data(body: bytes) -> bytes | io.BytesIO:
    """Large bodies as a stream: aiohttp would write bytes in one go and warns that this holds up the loop."""
    return body if len(body) < 1 << 20 else io.BytesIO(body)


def _fulfil(waiting: "asyncio.Future[str]", token: str, error: RowtideError | None) -> None:
    if error is None:
        waiting.set_result(token)
    else:
        waiting.set_exception(error)
        waiting.exception()  # perhaps nobody waits any more


def _caused(error: GraphUnavailable, cause: Exception) -> GraphUnavailable:
    error.__cause__ = cause
    return error
