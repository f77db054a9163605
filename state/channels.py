"""Every channel that the records notify and the threads of a process listen on.

In: a connection. Out: `notify` inside the transaction that made the news, `listen` for the thread that waits for it.
Rule: each name stands here once. A notification only saves a wait: every listener also looks by itself now and then.
"""

from typing import Final

from state.database import Connection

DUE: Final = "rowtide_due"
"""Rows of the outbox may have become due."""

CONTROL: Final = "rowtide_control"
"""The applied definition or the state of a sync may have changed."""

RECONCILE: Final = "rowtide_reconcile"
"""A reconcile is asked for."""

ENUMERATION: Final = "rowtide_enumeration"
"""The items of a list are to be read."""


def notify(conn: Connection, channel: str) -> None:
    """Notify the listeners once the transaction is committed."""
    conn.execute(f"NOTIFY {channel}")


def listen(conn: Connection, channel: str) -> None:
    """Receive the channel's notifications on this connection from now on."""
    conn.execute(f"LISTEN {channel}")
