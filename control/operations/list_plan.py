"""Lists and columns of a definition, as `plan`, `apply` and `doctor` need them.

In: a definition, its syncs compiled, the name of a graph. Out: what is missing, in sentences; the lists with their ids;
findings for `doctor`. Rule: msgraph, which is slow to import, is only imported once Graph is asked.
"""

from collections.abc import Iterator
from typing import cast

from connectors.graph import configured, provisioning
from connectors.graph.auth import TokenSource
from connectors.graph.list_schema import WantedList
from control.operations.compile import Compiled
from rowtide.catalog import ListRef
from rowtide.definition.model import Definition, FieldDefinition
from rowtide.error_catalogue.entries import Check
from rowtide.errors import DefinitionError, RowtideError
from rowtide.mapping.columns import Kind, ListColumn
from rowtide.mapping.compiled_sync import CompiledSync


def wanted_lists(graph: str, found: Compiled) -> dict[str, list[WantedList]]:
    """Per site the lists that syncs of this graph write to; UserError when two syncs want one list."""
    sites: dict[str, dict[str, tuple[str, WantedList]]] = {}
    for sync in found.syncs.values():
        if sync.graph != graph:
            continue
        here = sites.setdefault(sync.site, {})
        for title in sync.titles:
            taken = here.get(title.casefold())
            if taken is not None:
                raise _shared(title, taken[0], sync)
            here[title.casefold()] = (sync.sync, WantedList(title, sync.list_columns()))
    return {site: [wanted for _, wanted in titles.values()] for site, titles in sites.items()}


def _shared(title: str, first: str, second: CompiledSync) -> DefinitionError:
    return DefinitionError(
        "list_shared", f"syncs.{second.sync}: list {title} is also sync {first}'s", "Give each sync lists of its own."
    )


def work(definition: Definition, graph: str, found: Compiled) -> list[str]:
    """What `apply` would do in the tenant, a sentence each."""
    settings = configured.settings_of(definition, graph, provisioning=True)
    steps = [
        step
        for site, wanted in wanted_lists(graph, found).items()
        for step in provisioning.examine(settings, site, wanted)
    ]
    return [step.sentence for step in steps]


def provision(definition: Definition, graph: str, found: Compiled) -> tuple[dict[str, dict[str, ListRef]], list[str]]:
    """Makes what is missing; per sync its lists by title, and what was done, a sentence each."""
    settings = configured.settings_of(definition, graph, provisioning=True)
    made: list[str] = []
    refs: dict[str, dict[str, ListRef]] = {}
    for site, wanted in wanted_lists(graph, found).items():
        done = provisioning.provision(settings, site, wanted)
        made += done.done
        for sync in found.syncs.values():
            if (sync.graph, sync.site) == (graph, site):
                refs[sync.sync] = {title: ListRef(done.list_ids[title], done.site_id, graph) for title in sync.titles}
    return refs, made


# --- doctor -------------------------------------------------------------------------------------------------------


def checks(definition: Definition, graph: str) -> Iterator[Check]:
    """Token, sites, lists and columns, in this order; the later ones only while the earlier ones are well."""
    try:
        settings = configured.settings_of(definition, graph)
        TokenSource(settings).fetch_token()
    except RowtideError as error:
        yield Check("token", "failure", error.sentence, error.remedy)
        return
    yield Check("token", "ok", f"The token endpoint gives tokens to app {settings.client_id}.")
    for site, wanted in _wanted_by_file(definition, graph).items():
        try:
            steps = provisioning.examine(settings, site, wanted)
        except RowtideError as error:
            yield Check("lists", "failure", error.sentence, error.remedy)
            continue
        for step in steps:
            yield Check("lists", "warning", f"Missing on {site}: {step.sentence}.", "Run `rowtide apply`.")
        if not steps:
            yield Check("lists", "ok", f"Every list of {site} is there with its columns.")


def _wanted_by_file(definition: Definition, graph: str) -> dict[str, list[WantedList]]:
    """Lists as the file alone describes them: `doctor` looks at Graph even while the source does not answer."""
    sites: dict[str, list[WantedList]] = {}
    for sync in definition.syncs.values():
        if sync.target.graph == graph:
            columns = tuple(_list_column(one) for one in sync.fields.values() if one.kind != "choice" or one.choices)
            wanted = [WantedList(title, columns) for title in sync.sharding().titles()]
            sites.setdefault(sync.target.site, []).extend(wanted)
    return sites


def _list_column(field: FieldDefinition) -> ListColumn:
    # Kinds still to come were refused when the definition was read.
    return ListColumn(field.field, cast(Kind, field.kind), field.format, field.choices or ())
