"""The shape of what a sync reads in its source: whether it fits the mapping, and whether it is still the same.

In: a `SourceShape` as the source's catalogs have it, a `CompiledSync`. Out: `why_not_carried`; `changed`, what differs
from the shape before. Rule: what the stream would refuse is refused here by the same function
(`CompiledSync.bind_relation`), so that a sync which fits here is not stopped by its next change.
"""

from dataclasses import dataclass

from rowtide.error_catalogue import sync_errors
from rowtide.errors import SyncError
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.transaction import Relation


@dataclass(frozen=True, slots=True)
class Prints:
    """A hash of each part of a shape; one that differs from before asks for a reconcile."""

    publication: str
    table: str
    partitions: str
    columns: str
    types: str

    def to_json(self) -> dict[str, str]:
        """As it is stored."""
        return {
            "publication": self.publication,
            "table": self.table,
            "partitions": self.partitions,
            "columns": self.columns,
            "types": self.types,
        }


@dataclass(frozen=True, slots=True)
class ShapeColumn:
    """A column that the sync reads. ``in_list``: the publication's column list has it, or there is none."""

    name: str
    type_oid: int
    published: bool
    in_list: bool
    identifies: bool


@dataclass(frozen=True, slots=True)
class SourceShape:
    """What the catalogs say of one sync.

    ``relation``: the columns that the sync reads, as a Relation message would name them. ``carried``: changes come
    under the table's own name. ``unpublished``: actions that the publication leaves out. ``inherited``: tables inherit
    from it. ``unlogged_leaf``: a partition whose changes are not in the WAL.
    """

    relation: Relation
    listed: tuple[ShapeColumn, ...]
    prints: Prints
    logged: bool
    inherited: bool
    unlogged_leaf: str | None
    carried: bool
    filtered: bool
    unpublished: str


def why_not_carried(sync: CompiledSync, publication: str, shape: SourceShape | None) -> SyncError | None:
    """Why the sync cannot be carried whole; None when it can."""
    table = sync.table_text
    if shape is None:
        return sync_errors.RELATION_MISMATCH(table=table, problem="is not there any more")
    if not shape.carried:
        return sync_errors.NOT_PUBLISHED(table=table, publication=publication)
    if shape.unpublished:
        return sync_errors.PUBLICATION_ACTIONS(publication=publication, actions=shape.unpublished)
    if shape.filtered:
        return sync_errors.PUBLICATION_FILTER(table=table, publication=publication)
    cut = [column.name for column in shape.listed if not column.in_list]
    if cut:
        return sync_errors.PUBLICATION_COLUMNS(table=table, publication=publication, columns=", ".join(cut))
    why = _why_unlogged(shape)
    if why is not None:
        return sync_errors.RELATION_MISMATCH(table=table, problem=why)
    try:
        sync.bind_relation(shape.relation)
    except SyncError as error:
        return error
    return None


def _why_unlogged(shape: SourceShape) -> str | None:
    if shape.inherited:
        return "has tables that inherit from it, whose changes do not come under its name"
    if not shape.logged:
        return "is UNLOGGED: its changes are not in the WAL"
    if shape.unlogged_leaf is not None:
        return f"has the partition {shape.unlogged_leaf}, whose changes are not in the WAL"
    return None


def changed(before: dict[str, str], now: Prints) -> str:
    """Which parts differ, in words for the reconcile's reason; empty when none does."""
    return ", ".join(part for part, of_part in now.to_json().items() if before.get(part) != of_part)
