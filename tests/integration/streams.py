"""A slot and the eras of its syncs, as capture has them once it streams: without them nothing may be staged."""

from collections.abc import Iterable
from typing import Any

import psycopg

from state import cursors


def open_era(connection: psycopg.Connection[Any], syncs: Iterable[str], era: int = 1, slot: str = "slot") -> None:
    """The syncs are read from the slot, which is in its incarnation of that number, in this era."""
    cursors.open_slot(connection, cursors.SlotCursor(slot, era, 50, "7", 1, 0, 16400))
    connection.execute(
        """
        INSERT INTO rowtide.sync AS s (sync, changed_by, era, since_slot, since_incarnation, since_lsn)
        SELECT unnest(%(syncs)s::text[]), 'test', %(era)s, %(slot)s, %(era)s, 0
            ON CONFLICT (sync) DO UPDATE SET era = excluded.era, since_slot = excluded.since_slot,
               since_incarnation = excluded.since_incarnation, since_lsn = excluded.since_lsn
        """,
        {"syncs": sorted(syncs), "era": era, "slot": slot},
    )
