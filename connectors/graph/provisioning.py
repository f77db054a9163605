"""Reads sites, lists and columns through msgraph-sdk, and makes what is missing.

In: `GraphSettings`, sites as ``host:/path``, the lists wanted. Out: `FoundSite`s; lists with their ids. Rules: one
change after another (parallel ones end in "Save Conflict"); the SDK repeats nothing, we repeat only requests that are
known not to have been carried out; a list that holds items without RowtideKey is refused.
"""

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from connectors.graph import bodies, list_columns, list_schema, list_targets, retry_after
from connectors.graph.auth import TokenSource, require_ca_file, tls_problem
from connectors.graph.list_schema import FoundColumn, FoundList, FoundSite, Step, WantedList
from connectors.graph.settings import SCOPE, GraphSettings
from rowtide.backoff import Backoff
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.keys import ROWTIDE_KEY
from rowtide.lists import HeldColumns, KnownList, ListMark, known_by_id

if TYPE_CHECKING:
    from msgraph.graph_service_client import GraphServiceClient

_T = TypeVar("_T")
_TRIES: Final = 6
_MOST_WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The lists of a site as they are now: ``list_ids`` by title as wanted, and what was done, a sentence each.

    ``columns``: by title as wanted the ids of the mapped columns, by name; of one that is left out the id it was
    applied with. ``held``: by title what is left out. ``filled``: titles of lists whose items have to be read: they
    were taken over with items in them, or their RowtideKey was mended.
    """

    site_id: str
    list_ids: dict[str, str]
    done: list[str]
    columns: dict[str, dict[str, str]]
    held: dict[str, HeldColumns]
    filled: frozenset[str] = frozenset()


def discover(settings: GraphSettings, sites: Sequence[str]) -> dict[str, FoundSite]:
    """The sites (``host:/path``) with their lists and columns. GraphRefused for one that is not there or not ours."""
    return _run(settings, lambda graph: _discover(graph, sites))


def provision(
    settings: GraphSettings,
    site: str,
    wanted: Sequence[WantedList],
    known: Sequence[KnownList] = (),
    mark: ListMark | None = None,
) -> Provisioned:
    """Makes what is missing, then returns what there is. May be repeated: it leaves existing things as they are.

    ``known``: the lists that syncs have or had.
    """
    return _run(settings, lambda graph: _provision(graph, site, wanted, known, mark))


def examine(
    settings: GraphSettings,
    site: str,
    wanted: Sequence[WantedList],
    known: Sequence[KnownList] = (),
    mark: ListMark | None = None,
) -> list[Step]:
    """What `provision` would do; GraphRefused where it would refuse. Nothing is changed."""
    return _run(settings, lambda graph: _examine(graph, site, wanted, known, mark))


def find_gone(settings: GraphSettings, lists: Mapping[str, str]) -> frozenset[str]:
    """Those of ``lists`` (list id -> site id) that SharePoint has no more; it is asked for each by its id."""
    return _run(settings, lambda graph: _find_gone(graph, lists)) if lists else frozenset()


# --- the client ---------------------------------------------------------------------------------------------------


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


def _run(settings: GraphSettings, work: "Callable[[GraphServiceClient], Awaitable[_T]]") -> _T:
    async def with_client() -> _T:
        import httpx
        from kiota_abstractions.api_error import APIError
        from kiota_authentication_azure.azure_identity_authentication_provider import (
            AzureIdentityAuthenticationProvider,
        )
        from kiota_http.middleware.options import RetryHandlerOption
        from msgraph.graph_request_adapter import GraphRequestAdapter, options
        from msgraph.graph_service_client import GraphServiceClient
        from msgraph_core import GraphClientFactory

        verify: Any = settings.ca_file if settings.ca_file and settings.base_url.startswith("https:") else True
        http = httpx.AsyncClient(
            timeout=settings.request_timeout_s,
            verify=verify,
            headers={"User-Agent": settings.user_agent},
            trust_env=settings.base_url.startswith("https:"),
        )
        # The SDK wraps these and closes only its wrappers.
        transports = [http._transport, *(one for one in http._mounts.values() if one is not None)]
        # The SDK would repeat a POST after 503 and 504, although it may have been carried out.
        once = {**options, RetryHandlerOption.get_key(): RetryHandlerOption(should_retry=False)}
        client = GraphClientFactory.create_with_default_middleware(options=once, client=http)
        tokens: Any = _AsyncCredential(TokenSource(settings))
        # The SDK would derive the scope from the host, which may be a simulator's.
        authentication = AzureIdentityAuthenticationProvider(tokens, scopes=[SCOPE])
        adapter = GraphRequestAdapter(authentication, client=client)
        adapter.base_url = settings.base_url
        try:
            return await work(GraphServiceClient(request_adapter=adapter))
        except APIError as error:
            raise _translated(error, "Graph") from error
        except httpx.HTTPError as error:
            problem = tls_problem(error)
            if problem is not None:
                raise graph_errors.GRAPH_CERTIFICATE(base_url=settings.base_url, said=problem) from error
            raise graph_errors.GRAPH_UNANSWERED(base_url=settings.base_url, error=type(error).__name__) from error
        finally:
            await client.aclose()
            for transport in transports:
                await transport.aclose()

    require_ca_file(settings)
    with warnings.catch_warnings():
        # The SDK imports its own deprecated names as it goes.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(kiota_|msgraph)")
        return asyncio.run(with_client())


def _translated(error: Any, what: str) -> GraphRefused | GraphUnavailable:
    """Our error for the SDK's, with Graph's status and code."""
    status = error.response_status_code or 0
    detail = getattr(error, "error", None)
    code, message = (getattr(detail, "code", None) or "", getattr(detail, "message", None) or "")
    if status == 429 or status >= 500:
        return graph_errors.GRAPH_UNAVAILABLE(what=what, answer=f"{status} {code}".rstrip())
    entry = graph_errors.STATUSES.get(status, graph_errors.GRAPH_STATUS)
    return entry(what=what, status=status, code=code, message=message)


async def _patiently(what: str, call: Callable[[], Awaitable[_T]]) -> _T:
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
    raise AssertionError("the last try returns or raises")


def _retry_after_s(error: Any) -> float:
    """How long the answer asks to wait, within what a command waits for; 0 where it does not say."""
    headers = {str(name).lower(): str(value) for name, value in (error.response_headers or {}).items()}
    return min(retry_after.retry_after_s(headers) or 0.0, _MOST_WAIT_S)


# --- what is there ------------------------------------------------------------------------------------------------


async def _discover(graph: "GraphServiceClient", sites: Sequence[str]) -> dict[str, FoundSite]:
    return {site: await _find_site(graph, site) for site in dict.fromkeys(sites)}


async def _find_site(graph: "GraphServiceClient", site: str) -> FoundSite:
    # The builder would write the path's slashes as %2F; Graph documents them plain (docs/facts.md section 1).
    url = f"{graph.request_adapter.base_url}/sites/{site}"
    found = await _patiently(f"site '{site}'", lambda: graph.sites.by_site_id(site).with_url(url).get())
    if found is None or found.id is None:
        raise graph_errors.SITE_MISSING(site=site)
    site_id = found.id
    lists: dict[str, FoundList] = {}
    for one in await _all_pages(f"lists of '{site}'", graph.sites.by_site_id(site_id).lists):
        lists[str(one.display_name).casefold()] = FoundList(one.id, one.display_name, {})
    return FoundSite(site_id, lists)


async def _find_columns(graph: "GraphServiceClient", site_id: str, found: FoundList) -> dict[str, FoundColumn]:
    columns = graph.sites.by_site_id(site_id).lists.by_list_id(found.id).columns
    entries = await _all_entries(graph, f"columns of '{found.title}'", columns)
    return {str(one.get("name")): list_columns.to_found(one) for one in entries}


async def _all_pages(what: str, builder: Any) -> list[Any]:
    """Everything a collection holds; links are followed as they are."""
    entries: list[Any] = []
    page = await _patiently(what, builder.get)
    while page is not None:
        entries.extend(page.value or [])
        link = page.odata_next_link
        page = await _patiently(what, builder.with_url(link).get) if link else None
    return entries


async def _all_entries(graph: "GraphServiceClient", what: str, builder: Any) -> list[dict[str, Any]]:
    """Everything a collection holds, as JSON: the SDK takes ten milliseconds to make an object of one column."""
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError

    async def fetch() -> Any:
        information = at.to_get_request_information()
        return await graph.request_adapter.send_primitive_async(information, "bytes", {"XXX": ODataError})

    entries: list[dict[str, Any]] = []
    at = builder
    while at is not None:
        try:
            page = orjson.loads(await _patiently(what, fetch))
            entries.extend(one for one in page["value"] if isinstance(one, dict))
        except (orjson.JSONDecodeError, LookupError, TypeError) as error:
            raise graph_errors.GRAPH_UNREADABLE(what=what) from error
        link = page.get("@odata.nextLink")
        at = builder.with_url(link) if link else None
    return entries


async def _find_item(graph: "GraphServiceClient", site_id: str, list_id: str, foreign: bool) -> str | None:
    """Id of an item of a list; ``foreign``: of one without RowtideKey, by an indexed query."""
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.sites.item.lists.item.items.items_request_builder import ItemsRequestBuilder

    items = graph.sites.by_site_id(site_id).lists.by_list_id(list_id).items
    parameters = ItemsRequestBuilder.ItemsRequestBuilderGetQueryParameters(
        top=1, expand=["fields"], filter=f"fields/{ROWTIDE_KEY} eq null" if foreign else None
    )
    configuration = RequestConfiguration(query_parameters=parameters)
    page = await _patiently("items", lambda: items.get(request_configuration=configuration))
    for item in (page.value if page is not None else None) or []:
        values = item.fields.additional_data if item.fields is not None else {}
        if not foreign or not values.get(ROWTIDE_KEY):
            return str(item.id)
    return None


# --- making it so -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Site:
    """A site with what its targets have there: lists with their columns, by title as wanted; steps about names.

    ``known``: what is on record of these lists, by the same title.
    """

    id: str
    lists: dict[str, FoundList]
    naming: Sequence[Step]
    filled: frozenset[str]
    known: dict[str, KnownList]

    def steps(self, wanted: Sequence[WantedList], mark: ListMark | None) -> list[Step]:
        """All that is to be done there."""
        return [*self.naming, *list_schema.steps_to(self.lists, wanted, mark, self.known)]


async def _find_lists(
    graph: "GraphServiceClient", site: str, wanted: Sequence[WantedList], known: Sequence[KnownList]
) -> _Site:
    """The wanted lists that are there; refuses to take over a list that holds somebody else's items."""
    found = await _find_site(graph, site)
    resolved = list_targets.resolve(found, wanted, known)
    ours = known_by_id(known)  # `resolve` has refused those of other syncs
    lists: dict[str, FoundList] = {}
    filled: set[str] = set()
    # Only of these the columns are asked for: those of all lists of a site would be many requests.
    for title, one in resolved.lists.items():
        there = FoundList(one.id, one.title, await _find_columns(graph, found.id, one))
        # A person who adds an item to a list that is ours already stops nobody.
        if one.id not in ours and await _take_over(graph, found.id, there, title):
            filled.add(title)
        lists[title] = there
    records = {title: ours[one.id] for title, one in lists.items() if one.id in ours}
    return _Site(found.id, lists, resolved.naming, frozenset(filled), records)


async def _take_over(graph: "GraphServiceClient", site_id: str, one: FoundList, title: str) -> bool:
    """Whether a list that is not ours yet holds items; refuses one with somebody else's.

    In a list without RowtideKey every item is somebody else's.
    """
    some = await _find_item(graph, site_id, one.id, foreign=False)
    foreign = some if some is None or not one.has_key else await _find_item(graph, site_id, one.id, foreign=True)
    if foreign is not None:
        raise graph_errors.LIST_HAS_FOREIGN_ITEMS(title=title, item_id=foreign)
    return some is not None


async def _examine(
    graph: "GraphServiceClient",
    site: str,
    wanted: Sequence[WantedList],
    known: Sequence[KnownList],
    mark: ListMark | None,
) -> list[Step]:
    return (await _find_lists(graph, site, wanted, known)).steps(wanted, mark)


async def _provision(
    graph: "GraphServiceClient",
    site: str,
    wanted: Sequence[WantedList],
    known: Sequence[KnownList],
    mark: ListMark | None,
) -> Provisioned:
    found = await _find_lists(graph, site, wanted, known)
    done = []
    ids = {title: there.id for title, there in found.lists.items()}
    made = dict(found.lists)
    steps = found.steps(wanted, mark)
    for step in steps:
        await _take(graph, found.id, ids, step, mark)
        done.append(step.sentence)
        if isinstance(step, list_schema.MakeColumn):
            made.pop(step.title, None)
    keyed = {step.title for step in steps if isinstance(step, list_schema.MakeKey | list_schema.MendKey)}
    held = {one.title: list_schema.held_by(steps, one.title) for one in wanted}
    columns: dict[str, dict[str, str]] = {}
    for one in wanted:
        there = made.get(one.title)
        if there is None:  # some columns are new
            there = FoundList(ids[one.title], one.title, {})
            there = FoundList(there.id, there.title, await _find_columns(graph, found.id, there))
        mapped = {column.name for column in one.columns}
        columns[one.title] = {name: column.id for name, column in there.columns.items() if name in mapped}
        if held[one.title]:
            applied = found.known[one.title].columns
            columns[one.title] |= {name: applied[name] for name in held[one.title].fields if name in applied}
    return Provisioned(found.id, ids, done, columns, held, found.filled | (keyed & found.lists.keys()))


async def _find_gone(graph: "GraphServiceClient", lists: Mapping[str, str]) -> frozenset[str]:
    gone = set()
    for list_id, site_id in lists.items():
        builder = graph.sites.by_site_id(site_id).lists.by_list_id(list_id)
        try:
            await _patiently("a list", builder.get)
        except GraphRefused as error:
            if error.code != graph_errors.GRAPH_404.code:
                raise
            gone.add(list_id)
    return frozenset(gone)


async def _take(
    graph: "GraphServiceClient", site_id: str, ids: dict[str, str], step: Step, mark: ListMark | None
) -> None:
    lists = graph.sites.by_site_id(site_id).lists
    if isinstance(step, list_schema.MakeList):
        made = await _patiently(step.sentence, lambda: lists.post(bodies.of_list(step.title)))
        if made is None or made.id is None:
            raise graph_errors.GRAPH_UNREADABLE(what=step.sentence)
        ids[step.title] = made.id
        return
    there = lists.by_list_id(ids[step.title])
    columns = there.columns
    match step:
        case list_schema.RenameList(title):
            await _patiently(step.sentence, lambda: there.patch(bodies.of_title(title)))
        case list_schema.KeepName() | list_schema.HoldColumn():
            pass
        case list_schema.MakeKey():
            await _patiently(step.sentence, lambda: columns.post(bodies.of_key(mark)))
        case list_schema.MakeColumn(_, column):
            await _patiently(step.sentence, lambda: columns.post(bodies.of_column(column)))
        case list_schema.MarkKey(_, column_id, description, _):
            await _patiently(
                step.sentence,
                lambda: columns.by_column_definition_id(column_id).patch(bodies.of_description(description)),
            )
        case list_schema.MendKey(title, column_id, sync):
            try:
                await _patiently(
                    step.sentence,
                    lambda: columns.by_column_definition_id(column_id).patch(bodies.of_mended_key()),
                )
            except GraphRefused as error:
                raise graph_errors.KEYS_NOT_UNIQUE(title=title, sync=sync, said=error.sentence) from error
        case list_schema.AddChoices(_, column_id, _, choices):
            await _patiently(
                step.sentence,
                lambda: columns.by_column_definition_id(column_id).patch(bodies.of_choices(choices)),
            )
