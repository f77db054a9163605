"""One row of a sync as its table has it now, and its item as its list has it now.

In: a session, the sync ready to be pulled, what is on record of the row. Out: `RowRead`, `ItemLook`, the source's own
record of the last edit. Called by control.operations.explain. Rules: one row by its key and one item by its id, nothing
is written; a side that is away is said to be, and the other one is read all the same.
"""

from contextlib import closing
from dataclasses import dataclass

from connectors.graph import item_look
from connectors.graph.batch import Address
from connectors.graph.item_look import ItemLook
from connectors.graph.settings import GraphSettings
from connectors.postgres import apply_record, table_pages
from connectors.postgres.apply_acts import AppliedEdit
from control.operations.session import Session, source_sessions_of
from rowtide.catalog import Catalog
from rowtide.deciding.apply import RowAbsent, RowThere
from rowtide.deciding.commands import LookAtItem, LookForKey
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.records import Arriving, Held, ListId, Pair, last_item
from rowtide.error_catalogue import source_errors
from rowtide.errors import RowtideError, SourceRefused
from rowtide.explaining import ItemNotThere, ItemThere, RowSide, Unread
from rowtide.keys import key_values
from rowtide.mapping.pulled_sync import PulledSync

SOURCE = "rowtide explain"
MOST_LISTS = 10
"""In so many lists the item of a row is looked for that has none on record: each is a request."""


@dataclass(frozen=True, slots=True)
class RowRead:
    """The row, and its key as the table prints it."""

    key: str
    side: RowSide


def read_row(session: Session, catalog: Catalog, sync: PulledSync, key: str) -> RowRead:
    """The row of that key; one that is found under another text of the same key has that text."""
    compiled = sync.compiled
    if len(key_values(key, len(compiled.key_columns))) != len(compiled.key_columns):
        return RowRead(key, RowAbsent())
    try:
        with closing(source_sessions_of(session, catalog, SOURCE)) as sessions:
            connection = sessions.get(compiled.postgres)
            keyset = table_pages.read_keyset(connection, compiled)
            rows = table_pages.read_rows(connection, compiled, keyset, [key]).rows
    except SourceRefused as error:
        if error.code == source_errors.SOURCE_DATA.code:  # the text is no value of the key's type
            return RowRead(key, RowAbsent())
        return RowRead(key, Unread(error.sentence))
    except RowtideError as error:
        return RowRead(key, Unread(error.sentence))
    found = key if key in rows else next(iter(rows), key)
    return RowRead(found, sync.row(rows.get(found)))


def read_applied(session: Session, sync: PulledSync, key: str) -> AppliedEdit | Unread | None:
    """What the source itself has on record of the last edit that was applied to the row."""
    try:
        with session.writer(sync.compiled.postgres) as connection:
            return apply_record.read_many(connection, sync.compiled.sync, [key]).get(key)
    except RowtideError as error:
        return Unread(error.sentence)


def look_at_item(
    session: Session, catalog: Catalog, sync: PulledSync, key: str, row: RowSide, pair: Pair | None
) -> ItemLook:
    """The item of the pair; without one whatever carries the row's key, in the list of the row, or else in any."""
    compiled = sync.compiled
    mapping: FieldMapping = sync.backwards if compiled.two_ways else compiled
    try:
        reach = session.reach(catalog)
        reach.require(compiled.postgres, compiled.graph)
        settings = GraphSettings.from_section(compiled.graph, reach.tenants[compiled.graph])
    except RowtideError as error:
        return ItemLook(Unread(error.sentence))
    look = ItemLook(ItemNotThere(was=False))
    for command in _commands(sync, row, pair):
        try:
            site_id = catalog.site_of(command.list_id)
        except KeyError:
            return ItemLook(Unread("its list is in the applied definition no more"), command.list_id)
        if site_id is None:
            return ItemLook(Unread("SharePoint has its list no more"), command.list_id)
        look = item_look.look(settings, command, Address(site_id, compiled.sync, key), mapping)
        if isinstance(look.seen, ItemThere | Unread):
            return look
    return look


def _commands(sync: PulledSync, row: RowSide, pair: Pair | None) -> list[LookAtItem | LookForKey]:
    last = last_item(pair)
    if last is not None and isinstance(pair, Held | Arriving):
        return [LookAtItem(last.list_id, last.item_id)]
    known: list[LookAtItem | LookForKey] = [] if last is None else [LookAtItem(last.list_id, last.item_id)]
    own = row.list_id if isinstance(row, RowThere) else None
    lists: list[ListId] = [own] if own is not None else list(sync.lists.values())[:MOST_LISTS]
    return known + [LookForKey(list_id) for list_id in lists]
