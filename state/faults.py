"""What fails by itself: holds of kind fault in table ``hold``, each with the time at which it is tried again.

In: what a process knows of lists, tables and tenants that fail. Out: the same, for the process that comes after it and
for those beside it. Rules: times are the database's; whoever starts finds a wait as it was, so that a process which is
killed again and again asks what fails no more often than one that lives.
"""

from collections.abc import Collection, Sequence

from psycopg.rows import class_row

from rowtide.holds import FAULT, FaultHold
from state import channels
from state.database import Connection

Places = Collection[tuple[str, str]]
"""Scopes and objects."""


def read(conn: Connection) -> list[FaultHold]:
    """Everything that fails."""
    query = """
        SELECT scope, object, code, reason AS sentence, remedy, step AS failures,
               greatest(0, extract(epoch FROM until - clock_timestamp()))::float8 AS wait_s
          FROM rowtide.hold WHERE kind = %s ORDER BY scope, object
    """
    with conn.cursor(row_factory=class_row(FaultHold)) as cursor:
        return cursor.execute(query, [FAULT]).fetchall()


def forget_idle(conn: Connection) -> None:
    """Take away tables of which no row waits to be read: nothing would try them."""
    conn.execute(_FORGET_IDLE, [FAULT])


def note(conn: Connection, actor: str, faults: Sequence[FaultHold], over: Places) -> None:
    """Put these faults on record in the place of earlier ones, and take away those that are ``over``."""
    with conn.transaction():
        for scope, object_ in sorted(over):
            gone = "DELETE FROM rowtide.hold WHERE (scope, object, kind) = (%s, %s, %s)"
            conn.execute(gone, [scope, object_, FAULT])
        for one in sorted(faults, key=lambda fault: fault.place):
            values = [one.scope, one.object, FAULT, one.code, one.sentence, one.remedy, actor, one.wait_s, one.failures]
            conn.execute(_PLACE, values)
        channels.notify(conn, channels.CONTROL)


def end_waits(conn: Connection, places: Places) -> int:
    """Have what fails there tried at once, by whichever process knows of it; how much that is."""
    statement = "UPDATE rowtide.hold SET until = now() WHERE (scope, object, kind) = (%s, %s, %s)"
    count = sum(conn.execute(statement, [*place, FAULT]).rowcount for place in sorted(places))
    channels.notify(conn, channels.CONTROL)
    return count


_FORGET_IDLE = """
DELETE FROM rowtide.hold AS h
 WHERE (h.scope, h.kind) = ('table', %s) AND h.until < clock_timestamp()
   AND NOT EXISTS (SELECT FROM rowtide.outbox WHERE sync = h.object AND waits_for = 'read' AND state = 'waiting')
"""

_PLACE = """
INSERT INTO rowtide.hold (scope, object, kind, code, reason, remedy, actor, until, step)
VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp() + %s * interval '1 second', %s)
    ON CONFLICT (scope, object, kind) DO UPDATE
   SET code = excluded.code, reason = excluded.reason, remedy = excluded.remedy, actor = excluded.actor,
       until = excluded.until, step = excluded.step
"""
