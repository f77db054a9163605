"""The lists and columns that a definition wants in a tenant, compared with what is there.

In: a definition, its compiled syncs, the name of a graph. Out: what is missing, a sentence each; the lists with their
ids; the findings of `doctor`. Rule: msgraph, which is slow to import, is imported only when Graph is asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from connectors.graph import list_schema, provisioning
from connectors.graph.auth import TokenSource
from connectors.graph.list_schema import HoldColumn, MakeList, WantedList
from connectors.graph.settings import GraphSettings
from control.operations.compile import CompiledDefinition
from rowtide.definition.model import Definition, FieldDefinition
from rowtide.error_catalogue import definition_errors, doctor_findings
from rowtide.error_catalogue.entries import Check
from rowtide.errors import DefinitionError, RowtideError
from rowtide.lists import HeldColumns, KnownList, ListMark, ListState
from rowtide.mapping.columns import Kind, ListColumn
from rowtide.mapping.compiled_sync import CompiledSync


def wanted_lists(graph: str, compiled: CompiledDefinition) -> dict[str, list[WantedList]]:
    """Per site the lists that syncs of this graph write to; DefinitionError when two syncs want one list."""
    sites: dict[str, dict[str, WantedList]] = {}
    for sync in compiled.syncs.values():
        if sync.graph != graph:
            continue
        here = sites.setdefault(sync.site, {})
        for title, targets in sync.sharding.targets().items():
            taken = here.get(title.casefold())
            if taken is not None:
                raise _shared(title, taken.sync, sync)
            here[title.casefold()] = WantedList(title, sync.list_columns(), sync.sync, targets, bool(sync.match))
    return {site: list(titles.values()) for site, titles in sites.items()}


def _shared(title: str, first: str, second: CompiledSync) -> DefinitionError:
    return definition_errors.LIST_SHARED(sync=second.name, title=title, other=first)


@dataclass(frozen=True, slots=True)
class MissingWork:
    """What `apply` would do in a tenant, a sentence each; ``made_in``: the sites in which it would make lists."""

    sentences: Sequence[str]
    made_in: Sequence[str]


def missing_work(
    definition: Definition, graph: str, compiled: CompiledDefinition, known: Sequence[KnownList], mark: ListMark
) -> MissingWork:
    """What `apply` would do in the tenant; ``known``: the lists that syncs have or had."""
    settings = GraphSettings.from_section(graph, definition.graph[graph], provisioning=True)
    sites = {
        site: provisioning.examine(settings, site, wanted, known, mark)
        for site, wanted in wanted_lists(graph, compiled).items()
    }
    made_in = [site for site, steps in sites.items() if any(isinstance(step, MakeList) for step in steps)]
    return MissingWork([step.sentence for steps in sites.values() for step in steps], made_in)


@dataclass(frozen=True, slots=True)
class MadeLists:
    """The lists of every sync of a tenant, what was done to have them (a sentence each), and which are gone.

    ``gone``: ids of lists that a sync had and SharePoint has no more. ``filled``: ids of syncs whose lists have to be
    read: one was taken over with items in it, or its RowtideKey was mended. ``held``: by list id what is left out.
    """

    lists: Sequence[KnownList]
    done: Sequence[str]
    gone: frozenset[str]
    filled: frozenset[str]
    held: Mapping[str, HeldColumns]


def make_lists(
    definition: Definition, graph: str, compiled: CompiledDefinition, known: Sequence[KnownList], mark: ListMark
) -> MadeLists:
    """Make what is missing in the tenant; nothing is ever deleted there."""
    settings = GraphSettings.from_section(graph, definition.graph[graph], provisioning=True)
    done: list[str] = []
    lists: list[KnownList] = []
    filled: set[str] = set()
    held: dict[str, HeldColumns] = {}
    for site, wanted in wanted_lists(graph, compiled).items():
        made = provisioning.provision(settings, site, wanted, known, mark)
        done += made.done
        for one in wanted:
            list_id, columns = made.list_ids[one.title], made.columns[one.title]
            filled |= {one.sync} if one.title in made.filled else set()
            kinds = {column.name: column.kind_shown for column in one.columns}
            place = (list_id, made.site_id, one.sync, one.targets, one.title)
            lists.append(KnownList(*place, ListState.APPLIED, columns, kinds))
            held[list_id] = made.held[one.title]
    named, syncs = {one.id for one in lists}, {one.sync for one in lists}
    unnamed = {one.id: one.site_id for one in known if one.sync in syncs and one.id not in named}
    return MadeLists(lists, done, provisioning.find_gone(settings, unnamed), frozenset(filled), held)


# --- doctor -------------------------------------------------------------------------------------------------------


def check_graph(
    definition: Definition, graph: str, known: Sequence[KnownList] = (), mark: ListMark | None = None
) -> Iterator[Check]:
    """Check token, sites, lists and columns in this order; each only when those before it are well.

    ``known``: the lists that syncs have or had, as far as the state database can be asked. ``mark``: this
    installation's (None: unknown; then no mark is looked at).
    """
    try:
        settings = GraphSettings.from_section(graph, definition.graph[graph])
        TokenSource(settings).fetch_token()
    except RowtideError as error:
        yield Check.of_error("token", error)
        return
    yield doctor_findings.TOKEN_OK(client_id=settings.client_id)
    for site, wanted in _lists_of_file(definition, graph).items():
        try:
            steps = provisioning.examine(settings, site, wanted, known, mark)
        except RowtideError as error:
            yield Check.of_error("lists", error)
            continue
        held = [step for step in steps if isinstance(step, HoldColumn)]
        for step in held:
            yield doctor_findings.COLUMN_LEFT_OUT(site=site, step=step.sentence)
        for sentence in list_schema.summaries([step for step in steps if step not in held]):
            yield doctor_findings.LISTS_MISSING(site=site, step=sentence)
        if not steps:
            yield doctor_findings.LISTS_OK(site=site)


def _lists_of_file(definition: Definition, graph: str) -> dict[str, list[WantedList]]:
    """Lists per site as the file alone describes them: `doctor` checks Graph even while the source does not answer."""
    sites: dict[str, list[WantedList]] = {}
    for name, sync in definition.syncs.items():
        if sync.target.graph == graph:
            columns = tuple(_list_column(one) for one in sync.fields.values() if one.kind != "choice" or one.choices)
            places = sync.sharding().targets().items()
            wanted = [
                WantedList(title, columns, definition.id_of(name), targets, bool(sync.match))
                for title, targets in places
            ]
            sites.setdefault(sync.target.site, []).extend(wanted)
    return sites


def _list_column(field: FieldDefinition) -> ListColumn:
    # Kinds still to come were refused when the definition was read.
    return ListColumn(field.field, cast(Kind, field.kind), field.format, field.choices or ())
