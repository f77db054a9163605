"""Whether a session talks to the server that it has to talk to.

In: a new connection, and an `ExpectedServer` server. Out: nothing, or SourceUnavailable ``source_differs``. Rules
(docs/design.md section 2): the system identifier is the same, the timeline not lower, the WAL (on a standby: what it
has replayed) not behind what was staged; the slot is there, and sent by the walsender that capture reads. A standby
need not have the slot: only from PostgreSQL 17 on it can be synced there, and it is sent by the primary all the same.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import psycopg

from connectors.postgres import slots
from connectors.postgres.connections import as_source_errors
from connectors.postgres.slots import Slot
from rowtide.error_catalogue import source_errors
from rowtide.errors import SourceUnavailable
from rowtide.position import lsn_from_text, lsn_to_text

PATIENCE_S: Final = 2.0
"""For how long a mismatch that may pass is looked at again: a beat is a second old, and a standby lags a little."""
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class ExpectedServer:
    """The server that a session has to talk to.

    ``address`` is for the sentence only. ``slot`` None: the session may come before the slot. ``walsender_pid`` None:
    nobody says that the slot is read.
    """

    address: str
    system_id: str
    timeline: int = 0
    lsn: int = 0
    slot: str | None = None
    walsender_pid: int | None = None


@dataclass(frozen=True, slots=True)
class FoundServer:
    """What a server says of itself, and the slot as it is there (None: not there, or not asked for)."""

    system_id: str
    timeline: int
    lsn: int
    standby: bool = False
    slot: Slot | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What is wrong, as the end of a sentence. ``passes``: a second look may find it well."""

    said: str
    passes: bool = False


def prove(conn: psycopg.Connection, address: str, expect: Callable[[], ExpectedServer | None]) -> None:
    """Return when ``conn``, made to ``address``, talks to the expected server; SourceUnavailable when it does not.

    ``expect`` is asked before each look; None: nothing is known of the server yet, so any will do.
    """
    deadline, expected = time.monotonic() + PATIENCE_S, expect()
    while expected is not None:
        wrong = mismatch(expected, read_server(conn, expected.slot))
        if wrong is None:
            return
        if not wrong.passes or time.monotonic() > deadline:
            raise differs(address, expected.address, wrong.said)
        time.sleep(_POLL_S)
        first, expected = expected, expect()
        if expected is not None:
            # A standby has to come to where capture was at the first look; under load it never reaches the newest.
            expected = replace(expected, lsn=min(expected.lsn, first.lsn))


def differs(here: str, there: str, problem: str) -> SourceUnavailable:
    """The error for a session that was made to ``here`` although the records speak of the server at ``there``."""
    return source_errors.SOURCE_DIFFERS(here=here, there=there or "another address", problem=problem)


def mismatch(expected: ExpectedServer, found: FoundServer) -> Mismatch | None:
    """Why ``found`` is not the expected server; None when it is."""
    if found.system_id != expected.system_id:
        return Mismatch(f"its system id is {found.system_id}, not {expected.system_id}")
    if found.timeline < expected.timeline:
        # A standby learns its timeline with its next restartpoint.
        return Mismatch(f"it is on timeline {found.timeline}, below {expected.timeline}")
    if found.lsn < expected.lsn:
        ends, staged = lsn_to_text(found.lsn), lsn_to_text(expected.lsn)
        return Mismatch(f"its WAL ends at {ends}, below {staged}", passes=found.standby)
    if expected.slot is None or (found.standby and (found.slot is None or found.slot.synced)):
        return None
    return _slot_mismatch(expected.slot, expected.walsender_pid, found.slot)


def _slot_mismatch(name: str, walsender_pid: int | None, slot: Slot | None) -> Mismatch | None:
    if slot is None:
        return Mismatch(f"it has no slot {name}")
    if walsender_pid is None or slot.active_pid == walsender_pid:
        return None
    reader = "nobody" if slot.active_pid is None else f"PID {slot.active_pid}"
    return Mismatch(f"its slot {name} is read by {reader}, not by PID {walsender_pid} as by capture", passes=True)


# The control file names the timeline of the last checkpoint: too old right after a promotion, so a primary is asked
# for the WAL file it writes. What a standby receives is shown to members of pg_read_all_stats only.
_SERVER = """
SELECT s.system_identifier::text, r.standby,
       CASE WHEN r.standby
            THEN greatest(c.timeline_id, m.min_recovery_end_timeline, (SELECT received_tli FROM pg_stat_wal_receiver))
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
       (CASE WHEN r.standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text
  FROM pg_control_system() AS s, pg_control_checkpoint() AS c, pg_control_recovery() AS m,
       (SELECT pg_is_in_recovery() AS standby) AS r
"""


def read_server(conn: psycopg.Connection, slot: str | None) -> FoundServer:
    """What the server says of itself."""
    with as_source_errors("identifying the server"):
        row = conn.execute(_SERVER).fetchone()
    if row is None:
        raise source_errors.NO_ANSWER()
    system_id, standby, timeline, wal_end = row
    there = None if slot is None else slots.show_slot(conn, slot)
    return FoundServer(system_id, int(timeline), lsn_from_text(wal_end or "0/0"), standby, there)
