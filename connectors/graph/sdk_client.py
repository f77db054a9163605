"""Graph's SDK, held to one origin: makes a client, translates its errors, waits while Graph is busy, reads collections.

In: `GraphSettings`, work to do with a client. Out: what the work returns; GraphRefused or GraphUnavailable. Called by
`connectors.graph.provisioning`. Rules: our token goes to the configured endpoint only
(`connectors.graph.sdk_transport`); nothing is repeated but what is known not to have been carried out; pages are
bounded in number and size.
"""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import orjson

from connectors.graph import retry_after
from connectors.graph.auth import TokenSource, require_ca_file, tls_problem
from connectors.graph.batch import MOST_CODE, MOST_SAID
from connectors.graph.links import Paging
from connectors.graph.settings import SCOPE, GraphSettings
from rowtide.backoff import Backoff
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable

if TYPE_CHECKING:
    from msgraph.graph_service_client import GraphServiceClient

_T = TypeVar("_T")
_TRIES: Final = 6
_MOST_WAIT_S: Final = 60.0
MOST_PAGES: Final = 200
"""Pages of the lists of a site, or of the columns of a list: SharePoint allows 2,000 lists and some hundred columns."""
MOST_BYTES: Final = 64 << 20
"""Bytes of all pages of such a collection."""


class _AsyncCredential:
    """Our tokens in the shape the SDK's authentication wants."""

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    async def get_token(self, *_scopes: str, **_options: Any) -> Any:
        from azure.core.credentials import AccessToken

        token = await asyncio.to_thread(self._tokens.fetch_token)
        return AccessToken(token, 1 << 40)

    async def close(self) -> None:
        pass


def run(settings: GraphSettings, work: "Callable[[GraphServiceClient], Awaitable[_T]]") -> _T:
    """What ``work`` returns, given a client."""
    require_ca_file(settings)
    with warnings.catch_warnings():
        # The SDK imports its own deprecated names as it goes.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(kiota_|msgraph)")
        return asyncio.run(_with_client(settings, work))


async def _with_client(settings: GraphSettings, work: "Callable[[GraphServiceClient], Awaitable[_T]]") -> _T:
    import httpx
    from kiota_abstractions.api_error import APIError
    from msgraph.graph_service_client import GraphServiceClient

    http = _http(settings)
    try:
        return await work(GraphServiceClient(request_adapter=_adapter(settings, http)))
    except APIError as error:
        raise _translated(error, "Graph") from error
    except httpx.HTTPError as error:
        problem = tls_problem(error)
        if problem is not None:
            raise graph_errors.GRAPH_CERTIFICATE(base_url=settings.base_url, said=problem) from error
        raise graph_errors.GRAPH_UNANSWERED(base_url=settings.base_url, error=type(error).__name__) from error
    finally:
        await http.close()


class _Http:
    """The SDK's HTTP client and the transports below it, which it does not close."""

    def __init__(self, client: Any, transports: list[Any]) -> None:
        self.client = client
        self._transports = transports

    async def close(self) -> None:
        await self.client.aclose()
        for transport in self._transports:
            await transport.aclose()


def _http(settings: GraphSettings) -> _Http:
    import httpx
    from kiota_http.middleware.options import RedirectHandlerOption, RetryHandlerOption
    from msgraph.graph_request_adapter import options
    from msgraph_core import GraphClientFactory

    from connectors.graph.sdk_transport import ENCODINGS, OneOrigin

    verify: Any = settings.ca_file if settings.ca_file and settings.base_url.startswith("https:") else True
    http = httpx.AsyncClient(
        timeout=settings.request_timeout_s,
        verify=verify,
        headers={"User-Agent": settings.user_agent, "Accept-Encoding": ENCODINGS},
        trust_env=settings.base_url.startswith("https:"),
    )
    http._transport = OneOrigin(http._transport, settings)
    http._mounts = {pattern: None if one is None else OneOrigin(one, settings) for pattern, one in http._mounts.items()}
    transports = [http._transport, *(one for one in http._mounts.values() if one is not None)]
    # The SDK would repeat a POST after 503 and 504, although it may have been carried out.
    once = {
        **options,
        RetryHandlerOption.get_key(): RetryHandlerOption(should_retry=False),
        RedirectHandlerOption.get_key(): RedirectHandlerOption(should_redirect=False),
    }
    return _Http(GraphClientFactory.create_with_default_middleware(options=once, client=http), transports)


def _adapter(settings: GraphSettings, http: _Http) -> Any:
    from kiota_authentication_azure.azure_identity_authentication_provider import (
        AzureIdentityAuthenticationProvider,
    )
    from msgraph.graph_request_adapter import GraphRequestAdapter

    tokens: Any = _AsyncCredential(TokenSource(settings))
    # The SDK would derive the scope from the host, which may be a simulator's. Hosts are without ports here, so the
    # transport looks at the whole origin once more.
    authentication = AzureIdentityAuthenticationProvider(
        tokens, scopes=[SCOPE], allowed_hosts=[urlsplit(settings.base_url).hostname or ""]
    )
    adapter = GraphRequestAdapter(authentication, client=http.client)
    adapter.base_url = settings.base_url
    return adapter


def _translated(error: Any, what: str) -> GraphRefused | GraphUnavailable:
    """Our error for the SDK's, with Graph's status and code."""
    status = error.response_status_code or 0
    detail = getattr(error, "error", None)
    code = str(getattr(detail, "code", None) or "")[:MOST_CODE]
    message = str(getattr(detail, "message", None) or "")[:MOST_SAID]
    if status == 429 or status >= 500:
        return graph_errors.GRAPH_UNAVAILABLE(what=what, answer=f"{status} {code}".rstrip())
    entry = graph_errors.STATUSES.get(status, graph_errors.GRAPH_STATUS)
    return entry(what=what, status=status, code=code, message=message)


async def patiently(what: str, call: Callable[[], Awaitable[_T]]) -> _T:
    """The call's result. Repeats the call while Graph throttles or makes another schema change: then it did nothing."""
    from kiota_abstractions.api_error import APIError

    backoff = Backoff()
    for attempt in range(_TRIES):
        try:
            return await call()
        except APIError as error:
            status = error.response_status_code
            code = getattr(getattr(error, "error", None), "code", None)
            if attempt == _TRIES - 1 or not (status == 429 or (status == 409 and code == "resourceModified")):
                raise _translated(error, what) from error
            busy = graph_errors.GRAPH_UNAVAILABLE(what=what, answer=f"{status} {code}")
            await asyncio.sleep(max(backoff.failed(busy), _retry_after_s(error)))
        except RecursionError as error:  # the SDK reads nested objects by recursion
            raise graph_errors.GRAPH_UNREADABLE(what=what) from error
    raise AssertionError("the last try returns or raises")


def _retry_after_s(error: Any) -> float:
    """How long the answer asks to wait, within what a command waits for; 0 where it does not say."""
    headers = {str(name).lower(): str(value) for name, value in (error.response_headers or {}).items()}
    return min(retry_after.retry_after_s(headers) or 0.0, _MOST_WAIT_S)


async def read_all(graph: "GraphServiceClient", what: str, builder: Any) -> list[dict[str, Any]]:
    """Everything a collection holds, as JSON: the SDK takes ten milliseconds to make an object of one column."""
    paging = Paging(str(graph.request_adapter.base_url), MOST_PAGES)
    entries: list[dict[str, Any]] = []
    size = 0
    at = builder
    while True:
        content = await patiently(what, partial(_fetch, graph, at))
        size += len(content)
        if size > MOST_BYTES:
            raise graph_errors.GRAPH_ANSWER_TOO_LARGE(megabytes=MOST_BYTES >> 20)
        try:
            page = orjson.loads(content)
            entries.extend(one for one in page["value"] if isinstance(one, dict))
        except (orjson.JSONDecodeError, LookupError, TypeError) as error:
            raise graph_errors.GRAPH_UNREADABLE(what=what) from error
        link = page.get("@odata.nextLink")
        if link is None:
            return entries
        problem = paging.problem_of(link)
        if problem is not None:
            raise problem
        at = builder.with_url(link)


async def _fetch(graph: "GraphServiceClient", builder: Any) -> bytes:
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError

    information = builder.to_get_request_information()
    content: Any = await graph.request_adapter.send_primitive_async(information, "bytes", {"XXX": ODataError})
    return content or b""
