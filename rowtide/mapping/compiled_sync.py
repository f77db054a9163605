"""A sync's definition compiled against its table: rows in, changes out; items in, canonical fields out.

In: a `SyncDefinition` and the table's `SourceColumn`s. Out: a `CompiledSync`, everything the flow, reconcile and
provisioning need of a sync; its `Binding`s turn rows into changes. Rules: the stream and a read give the same fields
for the same row; one `DefinitionError` names everything that the definition asks of the table and the table lacks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from zlib import crc32

from rowtide import table_name
from rowtide.change import Fields, JsonValue
from rowtide.deciding.conflicts import DeletesBack, DeletesForward
from rowtide.definition import diagnostics
from rowtide.definition.both_ways import EVERY, ConflictsDefinition, OnRefused, Poll
from rowtide.definition.diagnostics import Problem, did_you_mean
from rowtide.definition.model import BreakerDefinition, SyncDefinition
from rowtide.error_catalogue import definition_errors, sync_errors
from rowtide.errors import DefinitionError, SyncError
from rowtide.expressions import predicates, syntax
from rowtide.expressions.syntax import Expression
from rowtide.mapping import deletions, two_ways
from rowtide.mapping.binding import Binding
from rowtide.mapping.binding import Mapped as Mapped
from rowtide.mapping.columns import Kind, ListColumn, MappedColumn, SourceColumn, doubt, family_of_oid, misfit
from rowtide.mapping.sharding import Sharding
from rowtide.mapping.two_ways import Findings
from rowtide.transaction import Relation

BUCKETS, FEW_BUCKETS, MANY_SYNCS = 64, 16, 16
"""Buckets of a sync; fewer where there are more than `MANY_SYNCS` syncs (docs/design.md section 5)."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledSync:
    """One sync, ready to run. ``version`` tells mappings apart: under another version, waiting rows are read anew.

    ``sync`` is its id, which records and items carry; ``name`` is what the definition calls it.
    """

    sync: str
    name: str
    version: int
    postgres: str
    graph: str
    site: str
    schema: str
    table: str
    key_columns: tuple[str, ...]
    key_deferrable: bool
    select_columns: tuple[str, ...]
    """Every column a read needs, key columns first."""
    buckets: int
    titles: tuple[str, ...]
    deletes: DeletesForward
    """What the deletion of a row does to its item."""
    deletes_back: DeletesBack
    """What the deletion of an item does to its row."""
    on_refused: OnRefused
    """What becomes of an item whose edit the table does not take."""
    status_field: str | None
    """The field in which people read what became of their edits."""
    two_ways: bool
    """Whether people's edits of items reach the table."""
    conflicts: ConflictsDefinition
    poll: Poll
    breaker: BreakerDefinition
    weight: int
    mode: str  # deliver | observe
    doubts: tuple[str, ...]
    """What may go wrong with some values, for ``validate`` and ``plan`` to say."""
    mapped: tuple[MappedColumn, ...]
    match: tuple[MappedColumn, ...]
    """By what rows and items are paired that had no key yet, in this order; empty: by nothing."""
    where: Expression | None
    sharding: Sharding
    columns: Mapping[str, SourceColumn]
    _by_field: dict[str, MappedColumn] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_field", {one.field: one for one in self.mapped})

    @property
    def table_text(self) -> str:
        """The table as a definition writes it."""
        return table_name.to_text(self.schema, self.table)

    @property
    def carries_deletions(self) -> bool:
        """Whether the deletion of a row is something to do for its item."""
        return self.deletes != "ignore"

    def list_columns(self) -> tuple[ListColumn, ...]:
        """The columns each of its lists must have, beside RowtideKey."""
        of_status = () if self.status_field is None else (ListColumn(self.status_field, "text"),)
        return (*(ListColumn(one.field, one.kind, one.format, one.choices) for one in self.mapped), *of_status)

    def bind(self, columns: Sequence[str]) -> Binding:
        """The sync over rows with these columns in this order; SyncError ``relation_mismatch`` when one is missing."""
        index = {name: place for place, name in enumerate(columns)}
        missing = [name for name in self.select_columns if name not in index]
        if missing:
            raise self._mismatch(f"has no column {', '.join(missing)} any more")
        where = None if self.where is None else predicates.compile_condition(self.where, self.columns, index)
        deciding = dict.fromkeys((*self._where_columns(), *self.sharding.columns()))
        return Binding(
            [index[name] for name in self.key_columns],
            [(one.field, index[one.column], one.plain_below, one.canonical()) for one in self.mapped],
            [index[name] for name in deciding],
            where,
            self.sharding.only_title or self.sharding.compile(self.columns, index),
            self.key_deferrable,
        )

    def bind_relation(self, relation: Relation) -> Binding:
        """`bind` for a relation of the stream, with its types and its replica identity."""
        binding = self.bind(relation.columns)
        if not set(self.key_columns) <= set(relation.key_columns):
            raise self._mismatch("does not publish the sync's key with every change: see its replica identity")
        for name, oid in zip(relation.columns, relation.type_oids, strict=True):
            column = self.columns.get(name)
            if column is None or name not in self.select_columns or oid == column.type_oid:
                continue
            if family_of_oid(oid) != column.family:
                raise self._mismatch(f"has another type in column {name}")
        return binding

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        """Canonical values of every mapped field of an item's ``fields``; None for those it lacks."""
        return {name: one.from_wire(wire.get(name)) for name, one in self._by_field.items()}

    def wire_fields(self, fields: Fields) -> dict[str, JsonValue]:
        """The ``fields`` object of a POST or PATCH."""
        by_field = self._by_field
        return {name: by_field[name].to_wire(value) for name, value in fields.items() if name in by_field}

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        """Fields of ``desired`` that differ from the base's value and from the kept one.

        A field that the base lacks differs; a field that is not mapped any more does not.
        """
        if desired == base:
            return {}
        differing: Fields = {}
        for name, value in desired.items():
            one = self._by_field.get(name)
            if one is None or (name in base and one.same(value, base[name])):
                continue
            if not (name in kept and one.same(value, kept[name])):
                differing[name] = value
        return differing

    def _where_columns(self) -> tuple[str, ...]:
        return () if self.where is None else syntax.columns_of(self.where)

    def _mismatch(self, what: str) -> SyncError:
        return sync_errors.RELATION_MISMATCH(table=self.table_text, problem=what)


def buckets_for(syncs: int) -> int:
    """Buckets of each sync, by how many syncs there are."""
    return FEW_BUCKETS if syncs > MANY_SYNCS else BUCKETS


def compile_sync(
    sync: str, definition: SyncDefinition, columns: Sequence[SourceColumn], buckets: int = BUCKETS
) -> CompiledSync:
    """The sync over a table with these columns; DefinitionError with everything the table does not carry."""
    by_name = {column.name: column for column in columns}
    found = [Problem(("syncs", sync, *path), f"syncs.{sync}: {why}") for path, why in _misfits(definition, by_name)]
    key, key_problem = _key(definition, by_name)
    if key_problem is not None:
        found.append(Problem(("syncs", sync, "source"), f"syncs.{sync}: {key_problem}"))
    if found:
        raise diagnostics.as_error(found)
    where = None if definition.where is None else syntax.parse(definition.where)
    sharding = definition.sharding()
    mapped = tuple(_mapped(name, definition, by_name[name]) for name in definition.fields)
    back = two_ways.findings(definition, by_name, key, mapped) if definition.direction == "both" else Findings()
    if problems := [*back.problems, *deletions.problems(definition, by_name, key, mapped)]:
        raise diagnostics.as_error([Problem(("syncs", sync, *path), f"syncs.{sync}: {why}") for path, why in problems])
    deciding = () if where is None else syntax.columns_of(where)
    select = tuple(dict.fromkeys((*key, *(one.column for one in mapped), *deciding, *sharding.columns())))
    schema, table = definition.source.schema_and_table
    return CompiledSync(
        sync=definition.id or sync,
        name=sync,
        version=_version(definition, [by_name[name] for name in select], key),
        postgres=definition.source.postgres,
        graph=definition.target.graph,
        site=definition.target.site,
        schema=schema,
        table=table,
        key_columns=key,
        key_deferrable=any(by_name[name].key_deferrable for name in key),
        select_columns=select,
        buckets=buckets,
        titles=sharding.titles(),
        deletes=deletions.forward(definition, mapped),
        deletes_back=deletions.back(definition),
        on_refused=definition.on_refused,
        status_field=definition.status_field,
        two_ways=definition.direction == "both",
        conflicts=definition.conflicts,
        poll=definition.poll or EVERY,
        breaker=definition.breaker,
        weight=definition.weight,
        mode=definition.mode,
        doubts=tuple(f"syncs.{sync}: {said}" for said in [*_doubts(mapped, by_name), *back.notes]),
        mapped=mapped,
        match=tuple(one for name in definition.match or () for one in mapped if one.column == name),
        where=where,
        sharding=sharding,
        columns=by_name,
    )


def _doubts(mapped: Sequence[MappedColumn], columns: Mapping[str, SourceColumn]) -> list[str]:
    return [said for one in mapped if (said := doubt(columns[one.column], one.kind)) is not None]


def _mapped(name: str, definition: SyncDefinition, column: SourceColumn) -> MappedColumn:
    wanted = definition.fields[name]
    choices = wanted.choices if wanted.choices is not None else column.enum_labels if wanted.kind == "choice" else ()
    return MappedColumn(
        column=name,
        field=wanted.field,
        kind=_kind(definition, name),
        family=column.family,
        format=wanted.format,
        choices=choices,
        truncate=wanted.overflow == "truncate",
    )


def _kind(definition: SyncDefinition, name: str) -> Kind:
    # Kinds that are not built yet were refused when the definition was read.
    return cast(Kind, definition.fields[name].kind)


def _misfits(definition: SyncDefinition, columns: Mapping[str, SourceColumn]) -> list[tuple[tuple[str, ...], str]]:
    problems: list[tuple[tuple[str, ...], str]] = []
    for name in definition.fields:
        if name not in columns:
            problems.append((("fields", name), f"the table has no column '{name}'{did_you_mean(name, columns)}"))
        elif (why := misfit(columns[name], _kind(definition, name))) is not None:
            problems.append((("fields", name), why))
    for part, check in (("where", _check_where), ("lists", _check_lists)):
        try:
            check(definition, columns)
        except DefinitionError as error:
            problems.append(((part,), f"{part}: {error.sentence}"))
    return problems


def _check_where(definition: SyncDefinition, columns: Mapping[str, SourceColumn]) -> None:
    if definition.where is not None:
        _refuse_generated(syntax.columns_of(syntax.parse(definition.where)), columns)
        predicates.check(syntax.parse(definition.where), columns, condition=True)


def _check_lists(definition: SyncDefinition, columns: Mapping[str, SourceColumn]) -> None:
    _refuse_generated(definition.sharding().columns(), columns)
    definition.sharding().check(columns)


def _refuse_generated(names: Sequence[str], columns: Mapping[str, SourceColumn]) -> None:
    for name in names:
        if name in columns and columns[name].generated:
            problem = f"{name} is a generated column, which PostgreSQL does not publish"
            raise definition_errors.INVALID_EXPRESSION(problem=problem)


def _key(definition: SyncDefinition, columns: Mapping[str, SourceColumn]) -> tuple[tuple[str, ...], str | None]:
    """The key columns, or why there are none."""
    primary = tuple(column.name for column in sorted(columns.values(), key=lambda one: one.key) if column.key)
    key = definition.source.key or primary
    if not columns:
        return (), f"there is no table {definition.source.table}, or it may not be read"
    if not key:
        return (), f"table {definition.source.table} has no primary key; give it one, or name its columns in source.key"
    for name in key:
        if name not in columns:
            return (), f"source.key: the table has no column '{name}'{did_you_mean(name, columns)}"
        if columns[name].generated:
            return (), f"source.key: {name} is a generated column, which PostgreSQL does not publish"
        if not columns[name].not_null:
            return (), f"source.key: column {name} may be NULL; a key column may not"
    return key, None


def _version(definition: SyncDefinition, columns: Sequence[SourceColumn], key: Sequence[str]) -> int:
    """A number that changes with everything that decides a row's fields or list, and with nothing else."""
    dumped = definition.model_dump(mode="json", by_alias=True)
    meaning = {name: dumped[name] for name in ("source", "target", "list", "lists", "where", "fields")}
    shape = [(column.name, column.type_name, column.enum_labels) for column in columns]
    return crc32(json.dumps([meaning, shape, list(key)], sort_keys=True).encode()) & 0x7FFFFFFF or 1
