"""The applied definition, ready to run: every sync is compiled, every list has its id.

In: the JSON that `apply` stored (definition, columns of each table, lists found or made). Out: a `Catalog`. Rule: a
running flow needs neither the file nor the catalogs of PostgreSQL and Graph; the applied definition is enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypedDict, cast

from pydantic import TypeAdapter

from rowtide.deciding.records import ListId
from rowtide.definition import model as definitions
from rowtide.definition.model import Definition
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, buckets_for, compile_sync


@dataclass(frozen=True, slots=True)
class ListRef:
    """A list in a tenant; ``graph`` is the tenant's name in the definition."""

    id: str
    site_id: str
    graph: str


class _Applied(TypedDict):
    """What is stored: the definition, per sync its table's columns and its lists by title."""

    definition: dict[str, object]
    columns: dict[str, list[dict[str, object]]]
    lists: dict[str, dict[str, dict[str, str]]]


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """A definition in force: ``version`` is the applied one's; ``lists``: sync -> title -> list."""

    version: int
    definition: Definition
    syncs: Mapping[str, CompiledSync]
    lists: Mapping[str, Mapping[str, ListRef]]
    _by_relation: dict[tuple[str, str], tuple[CompiledSync, ...]] = field(init=False, repr=False)
    _sites: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        relations: dict[tuple[str, str], tuple[CompiledSync, ...]] = {}
        for sync in self.syncs.values():
            relation = (sync.schema, sync.table)
            relations[relation] = (*relations.get(relation, ()), sync)
        object.__setattr__(self, "_by_relation", relations)
        sites = {ref.id: ref.site_id for titles in self.lists.values() for ref in titles.values()}
        object.__setattr__(self, "_sites", sites)

    @classmethod
    def from_applied(cls, version: int, compiled: Mapping[str, object]) -> "Catalog":
        """The catalog that `to_compiled` wrote down."""
        applied = cast(_Applied, compiled)
        definition = definitions.parse(applied["definition"])
        buckets = buckets_for(len(definition.syncs))
        syncs = {
            name: compile_sync(name, sync, [_column(one) for one in applied["columns"][name]], buckets)
            for name, sync in definition.syncs.items()
        }
        lists = {
            name: {title: ListRef(**ref) for title, ref in titles.items()} for name, titles in applied["lists"].items()
        }
        return cls(version, definition, syncs, lists)

    def by_relation(self, schema: str, table: str) -> tuple[CompiledSync, ...]:
        """The syncs of a table (of any source: see `CompiledSync.postgres`)."""
        return self._by_relation.get((schema, table), ())

    def list_id(self, sync: str, title: str) -> ListId | None:
        """The id of a sync's list; None when there is no such list."""
        ref = self.lists.get(sync, {}).get(title)
        return None if ref is None else ListId(ref.id)

    def lists_of(self, sync: str) -> tuple[ListRef, ...]:
        """Every list of a sync."""
        return tuple(self.lists.get(sync, {}).values())

    def site_of(self, list_id: str) -> str:
        """The id of the site a list is in; KeyError for a list that is not of this catalog."""
        return self._sites[list_id]


def to_compiled(
    definition: Definition,
    columns: Mapping[str, Sequence[SourceColumn]],
    lists: Mapping[str, Mapping[str, ListRef]],
) -> dict[str, object]:
    """JSON of everything a running flow needs; ``columns`` and ``lists`` are per sync."""
    return {
        "definition": definition.to_json(),
        "columns": {
            sync: [{**asdict(column), "enum_labels": list(column.enum_labels)} for column in of_sync]
            for sync, of_sync in columns.items()
        },
        "lists": {sync: {title: asdict(ref) for title, ref in titles.items()} for sync, titles in lists.items()},
    }


_COLUMN = TypeAdapter(SourceColumn)


def _column(stored: Mapping[str, object]) -> SourceColumn:
    return _COLUMN.validate_python(stored)
