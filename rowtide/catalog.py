"""The applied definition, ready to run: every sync is compiled, every list has its id.

In: the JSON that `apply` stored (document, identities of tenants, columns of each table, lists found or made). Out: a
`Catalog`. Rule: a running flow needs none of the catalogs of PostgreSQL and Graph to know what to do; how to reach them
is not in here (`rowtide.connections`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, TypedDict, cast
from zlib import crc32

from pydantic import TypeAdapter

from rowtide import connections
from rowtide.connections import Strayed, TenantIdentity
from rowtide.deciding.records import ListId
from rowtide.definition import model as definitions
from rowtide.definition.model import Document
from rowtide.errors import DefinitionError
from rowtide.lists import LeftList
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, buckets_for, compile_sync

FORMAT = 1
"""The format that `to_compiled` writes; it grows with whatever an older release would not understand."""

UNREADABLE: Final = (DefinitionError, LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What reading a stored definition raises that this release does not understand, or that nobody of ours has stored."""


def why_unreadable(error: BaseException) -> str:
    """Why a stored definition cannot be read, of one of `UNREADABLE`."""
    return error.sentence if isinstance(error, DefinitionError) else f"it has another form ({type(error).__name__})"


@dataclass(frozen=True, slots=True)
class ListRef:
    """A list in a tenant; ``graph`` is the tenant's name in the definition, ``columns``: name -> id of those mapped."""

    id: str
    site_id: str
    graph: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sync that cannot be compiled: what is known of it (as in `CompiledSync`), and why."""

    name: str
    sync: str
    postgres: str
    graph: str
    mode: str
    error: DefinitionError


class _Applied(TypedDict):
    """What is stored: the document, the identities of tenants and of sources' servers, per sync its table's columns,
    its lists by title, the lists its rows leave.
    """

    definition: dict[str, object]
    tenants: dict[str, dict[str, object]]
    servers: dict[str, str]
    columns: dict[str, list[dict[str, object]]]
    lists: dict[str, dict[str, dict[str, object]]]
    left: dict[str, list[dict[str, object]]]


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """A definition in force: ``version`` is the applied one's; ``lists``: sync -> title -> list.

    ``syncs`` and all that is per sync go by the id of the sync (`Definition.id_of`).
    ``left_out``: the syncs that this release cannot compile, which are not among ``syncs``.
    ``left``: the lists no target of their sync names any more, while items of ours may be in them.
    ``tenants``: which tenants the lists are in. ``strayed``: what is stored and must not be. ``servers``: by source the
    system id of the server that `apply` has met.
    """

    version: int
    definition: Document
    syncs: Mapping[str, CompiledSync]
    lists: Mapping[str, Mapping[str, ListRef]]
    left: Mapping[str, Sequence[LeftList]] = field(default_factory=dict)
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    tenants: Mapping[str, TenantIdentity] = field(default_factory=dict)
    strayed: Strayed = field(default_factory=dict)
    servers: Mapping[str, str] = field(default_factory=dict)
    _by_relation: dict[tuple[str, str], tuple[CompiledSync, ...]] = field(init=False, repr=False)
    _sites: dict[str, str | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        relations: dict[tuple[str, str], tuple[CompiledSync, ...]] = {}
        for sync in self.syncs.values():
            relation = (sync.schema, sync.table)
            relations[relation] = (*relations.get(relation, ()), sync)
        object.__setattr__(self, "_by_relation", relations)
        sites: dict[str, str | None] = {one.id: _site(one) for lists in self.left.values() for one in lists}
        sites |= {ref.id: ref.site_id for titles in self.lists.values() for ref in titles.values()}
        object.__setattr__(self, "_sites", sites)

    @classmethod
    def from_applied(cls, version: int, compiled: Mapping[str, object], leave_out: bool = False) -> "Catalog":
        """The catalog that `to_compiled` wrote down; DefinitionError when this release cannot read it.

        With ``leave_out`` a sync that alone cannot be compiled is left out, so that its neighbours go on.
        """
        applied = cast(_Applied, compiled)
        document, strayed = connections.split_off(applied["definition"])
        definition = definitions.parse_document(document)
        buckets = buckets_for(len(definition.syncs))
        lists = {
            name: {title: _LIST.validate_python(ref) for title, ref in titles.items()}
            for name, titles in applied["lists"].items()
        }
        syncs, left_out = {}, {}
        for name, sync in definition.syncs.items():
            try:
                compiled_sync = compile_sync(name, sync, [_column(one) for one in applied["columns"][name]], buckets)
            except DefinitionError as error:
                if not leave_out:
                    raise
                place = (definition.id_of(name), sync.source.postgres, sync.target.graph, sync.mode)
                left_out[place[0]] = LeftOut(name, *place, error)
                continue
            syncs[compiled_sync.sync] = _into_lists(compiled_sync, lists.get(compiled_sync.sync, {}))
        left = {name: [_LEFT.validate_python(one) for one in of_sync] for name, of_sync in applied["left"].items()}
        tenants = {name: TenantIdentity.from_stored(one) for name, one in applied.get("tenants", {}).items()}
        servers = {name: str(one) for name, one in applied.get("servers", {}).items()}
        return cls(version, definition, syncs, lists, left, left_out, tenants, strayed, servers)

    @property
    def everything(self) -> Mapping[str, CompiledSync | LeftOut]:
        """Every sync of the definition by its id, whether it could be compiled or not."""
        return {**self.syncs, **self.left_out}

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

    def site_of(self, list_id: str) -> str | None:
        """The id of the site a list is in, None when SharePoint has that list no more.

        KeyError for a list that is not of this catalog.
        """
        return self._sites[list_id]


def _site(left: LeftList) -> str | None:
    return None if left.gone else left.site_id


def _into_lists(sync: CompiledSync, lists: Mapping[str, ListRef]) -> CompiledSync:
    """The sync with these lists: where a target has another list or column, rows are read and compared anew."""
    ids = sorted((title, ref.id, sorted(ref.columns.items())) for title, ref in lists.items())
    return replace(sync, version=crc32(f"{sync.version} {ids}".encode()) & 0x7FFFFFFF or 1)


def to_compiled(
    document: Document,
    tenants: Mapping[str, TenantIdentity],
    columns: Mapping[str, Sequence[SourceColumn]],
    lists: Mapping[str, Mapping[str, ListRef]],
    left: Mapping[str, Sequence[LeftList]] | None = None,
    servers: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """JSON of everything a running flow needs but for how sources and tenants are reached.

    ``columns`` by the name of a sync, ``lists`` and ``left`` by its id.
    """
    return {
        "definition": document.to_json(),
        "tenants": {name: asdict(one) for name, one in tenants.items()},
        "servers": dict(servers or {}),
        "columns": {
            sync: [{**asdict(column), "enum_labels": list(column.enum_labels)} for column in of_sync]
            for sync, of_sync in columns.items()
        },
        "lists": {sync: {title: asdict(ref) for title, ref in titles.items()} for sync, titles in lists.items()},
        "left": {sync: [asdict(one) for one in of_sync] for sync, of_sync in (left or {}).items()},
    }


_COLUMN = TypeAdapter(SourceColumn)
_LIST = TypeAdapter(ListRef)
_LEFT = TypeAdapter(LeftList)


def _column(stored: Mapping[str, object]) -> SourceColumn:
    return _COLUMN.validate_python(stored)
