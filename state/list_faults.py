"""Lists that fail: holds of kind fault in table ``hold``, each with the time at which its list is tried again.

In: what the writers of a process know of lists that fail. Out: the same, for the process that comes after it. Rules:
times are the database's; whoever starts finds a wait as it was, so that a process which is killed again and again asks
a list no more often than one that lives.
"""

from collections.abc import Collection, Sequence

from psycopg.rows import class_row

from rowtide.holds import FAULT, ListFault
from state import channels
from state.database import Connection


def read(conn: Connection) -> list[ListFault]:
    """Every list that fails."""
    query = """
        SELECT object AS list_id, code, reason AS sentence, step AS failures,
               greatest(0, extract(epoch FROM until - clock_timestamp()))::float8 AS wait_s
          FROM rowtide.hold WHERE (scope, kind) = ('list', %s) ORDER BY object
    """
    with conn.cursor(row_factory=class_row(ListFault)) as cursor:
        return cursor.execute(query, [FAULT]).fetchall()


def note(conn: Connection, actor: str, faults: Sequence[ListFault], over: Collection[str]) -> None:
    """Put these faults on record in the place of earlier ones, and take away those of the lists in ``over``."""
    with conn.transaction():
        if over:
            gone = "DELETE FROM rowtide.hold WHERE (scope, kind) = ('list', %s) AND object = ANY (%s)"
            conn.execute(gone, [FAULT, sorted(over)])
        for one in sorted(faults, key=lambda fault: fault.list_id):
            conn.execute(_PLACE, [one.list_id, FAULT, one.code, one.sentence, actor, one.wait_s, one.failures])
        channels.notify(conn, channels.CONTROL)


_PLACE = """
INSERT INTO rowtide.hold (scope, object, kind, code, reason, actor, until, step)
VALUES ('list', %s, %s, %s, %s, %s, clock_timestamp() + %s * interval '1 second', %s)
    ON CONFLICT (scope, object, kind) DO UPDATE
   SET code = excluded.code, reason = excluded.reason, actor = excluded.actor, until = excluded.until,
       step = excluded.step
"""
