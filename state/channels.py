"""Every channel that the records notify and the threads of a process listen on.

In: a connection. Out: `notify` inside the transaction that made the news, `listen` for the thread that waits for it.
Rule: each name stands here once. A notification only saves a wait: every listener also looks by itself now and then.
"""

from collections.abc import Collection
from typing import Final

from state.database import Connection

DUE: Final = "rowtide_due"
"""Rows of the outbox may have become due: of the syncs that the payload names (`to_payload`), of any if it is empty."""

CONTROL: Final = "rowtide_control"
"""The applied definition or the state of a sync may have changed."""

PULL: Final = "rowtide_pull"
"""Entries of the inbox may have become due: of the sync that the payload names, of any if it is empty."""

RECONCILE: Final = "rowtide_reconcile"
"""A reconcile is asked for."""

ENUMERATION: Final = "rowtide_enumeration"
"""The items of a list are to be read."""

INBOX: Final = "rowtide_inbox"
"""Entries of the inbox may have become due, of the sync that the payload names."""

_MOST_BYTES: Final = 7_000  # PostgreSQL takes a payload of 7,999 bytes


def to_payload(syncs: Collection[str]) -> str:
    """The payload that names these syncs; empty, for any, when they are too many."""
    payload = ",".join(sorted(syncs))
    return payload if len(payload.encode()) <= _MOST_BYTES else ""


def from_payload(payload: str) -> frozenset[str] | None:
    """The syncs that a payload names; None: any."""
    return frozenset(payload.split(",")) if payload else None


def notify(conn: Connection, channel: str, payload: str = "") -> None:
    """Notify the listeners once the transaction is committed."""
    conn.execute("SELECT pg_notify(%s, %s)", [channel, payload])


def listen(conn: Connection, channel: str) -> None:
    """Receive the channel's notifications on this connection from now on."""
    conn.execute(f"LISTEN {channel}")
