"""Reads sites, lists and columns through msgraph-sdk, and makes what is missing.

In: `GraphSettings`, sites as ``host:/path``, the lists wanted. Out: `FoundSite`s; lists with their ids. Rules: one
change after another (parallel ones end in "Save Conflict"); the SDK repeats nothing, we repeat only requests that are
known not to have been carried out; a list that holds items without RowtideKey is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.graph import bodies, list_columns, list_schema, list_targets
from connectors.graph.list_schema import FoundColumn, FoundList, FoundSite, Step, WantedList
from connectors.graph.sdk_client import patiently, read_all, run
from connectors.graph.settings import GraphSettings
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused
from rowtide.keys import ROWTIDE_KEY
from rowtide.lists import HeldColumns, KnownList, ListMark, known_by_id

if TYPE_CHECKING:
    from msgraph.graph_service_client import GraphServiceClient


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
    return run(settings, lambda graph: _discover(graph, sites))


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
    return run(settings, lambda graph: _provision(graph, site, wanted, known, mark))


def examine(
    settings: GraphSettings,
    site: str,
    wanted: Sequence[WantedList],
    known: Sequence[KnownList] = (),
    mark: ListMark | None = None,
) -> list[Step]:
    """What `provision` would do; GraphRefused where it would refuse. Nothing is changed."""
    return run(settings, lambda graph: _examine(graph, site, wanted, known, mark))


def find_gone(settings: GraphSettings, lists: Mapping[str, str]) -> frozenset[str]:
    """Those of ``lists`` (list id -> site id) that SharePoint has no more; it is asked for each by its id."""
    return run(settings, lambda graph: _find_gone(graph, lists)) if lists else frozenset()


# --- what is there ------------------------------------------------------------------------------------------------


async def _discover(graph: "GraphServiceClient", sites: Sequence[str]) -> dict[str, FoundSite]:
    return {site: await _find_site(graph, site) for site in dict.fromkeys(sites)}


async def _find_site(graph: "GraphServiceClient", site: str) -> FoundSite:
    # The builder would write the path's slashes as %2F; Graph documents them plain (docs/facts.md section 1).
    url = f"{graph.request_adapter.base_url}/sites/{site}"
    found = await patiently(f"site '{site}'", lambda: graph.sites.by_site_id(site).with_url(url).get())
    if found is None or found.id is None:
        raise graph_errors.SITE_MISSING(site=site)
    site_id = found.id
    lists: dict[str, FoundList] = {}
    for one in await read_all(graph, f"lists of '{site}'", graph.sites.by_site_id(site_id).lists):
        title = str(one.get("displayName"))
        lists[title.casefold()] = FoundList(str(one.get("id")), title, {})
    return FoundSite(site_id, lists)


async def _find_columns(graph: "GraphServiceClient", site_id: str, found: FoundList) -> dict[str, FoundColumn]:
    columns = graph.sites.by_site_id(site_id).lists.by_list_id(found.id).columns
    entries = await read_all(graph, f"columns of '{found.title}'", columns)
    return {str(one.get("name")): list_columns.to_found(one) for one in entries}


async def _find_item(graph: "GraphServiceClient", site_id: str, list_id: str, foreign: bool) -> str | None:
    """Id of an item of a list; ``foreign``: of one without RowtideKey, by an indexed query."""
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.sites.item.lists.item.items.items_request_builder import ItemsRequestBuilder

    items = graph.sites.by_site_id(site_id).lists.by_list_id(list_id).items
    parameters = ItemsRequestBuilder.ItemsRequestBuilderGetQueryParameters(
        top=1, expand=["fields"], filter=f"fields/{ROWTIDE_KEY} eq null" if foreign else None
    )
    configuration = RequestConfiguration(query_parameters=parameters)
    page = await patiently("items", lambda: items.get(request_configuration=configuration))
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
    """The wanted lists that are there; refuses to take over a list that holds somebody else's items, if it is not to
    be matched with them.
    """
    matched = {one.title for one in wanted if one.matched}
    found = await _find_site(graph, site)
    resolved = list_targets.resolve(found, wanted, known)
    ours = known_by_id(known)  # `resolve` has refused those of other syncs
    lists: dict[str, FoundList] = {}
    filled: set[str] = set()
    # Only of these the columns are asked for: those of all lists of a site would be many requests.
    for title, one in resolved.lists.items():
        there = FoundList(one.id, one.title, await _find_columns(graph, found.id, one))
        # A person who adds an item to a list that is ours already stops nobody.
        if one.id not in ours and await _take_over(graph, found.id, there, title, title in matched):
            filled.add(title)
        lists[title] = there
    records = {title: ours[one.id] for title, one in lists.items() if one.id in ours}
    return _Site(found.id, lists, resolved.naming, frozenset(filled), records)


async def _take_over(graph: "GraphServiceClient", site_id: str, one: FoundList, title: str, matched: bool) -> bool:
    """Whether a list that is not ours yet holds items; refuses one with somebody else's, if it is not ``matched``.

    In a list without RowtideKey every item is somebody else's.
    """
    some = await _find_item(graph, site_id, one.id, foreign=False)
    if matched:
        return some is not None
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
            await patiently("a list", builder.get)
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
        made = await patiently(step.sentence, lambda: lists.post(bodies.of_list(step.title)))
        if made is None or made.id is None:
            raise graph_errors.GRAPH_UNREADABLE(what=step.sentence)
        ids[step.title] = made.id
        return
    there = lists.by_list_id(ids[step.title])
    columns = there.columns
    match step:
        case list_schema.RenameList(title):
            await patiently(step.sentence, lambda: there.patch(bodies.of_title(title)))
        case list_schema.KeepName() | list_schema.HoldColumn():
            pass
        case list_schema.MakeKey():
            await patiently(step.sentence, lambda: columns.post(bodies.of_key(mark)))
        case list_schema.MakeColumn(_, column):
            await patiently(step.sentence, lambda: columns.post(bodies.of_column(column)))
        case list_schema.MarkKey(_, column_id, description, _):
            await patiently(
                step.sentence,
                lambda: columns.by_column_definition_id(column_id).patch(bodies.of_description(description)),
            )
        case list_schema.MendKey(title, column_id, sync):
            try:
                await patiently(
                    step.sentence,
                    lambda: columns.by_column_definition_id(column_id).patch(bodies.of_mended_key()),
                )
            except GraphRefused as error:
                raise graph_errors.KEYS_NOT_UNIQUE(title=title, sync=sync, said=error.sentence) from error
        case list_schema.AddChoices(_, column_id, _, choices):
            await patiently(
                step.sentence,
                lambda: columns.by_column_definition_id(column_id).patch(bodies.of_choices(choices)),
            )
