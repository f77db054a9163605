"""The shape of what each sync reads, as last looked at in its era: column ``shape`` of table ``sync``.

In: a look at the source's catalogs. Out: the shape on record, and a reconcile where it is another. Rule: shape and
request are one transaction; with the shape alone, a process that dies in between would leave a gap that nothing fills.
"""

from psycopg.types.json import Jsonb

from rowtide.shape import Prints, changed
from state import channels
from state.database import Connection
from state.reconcile import record


def note(conn: Connection, sync: str, now: Prints) -> str:
    """Keep the shape of a sync that has an era, and ask for a reconcile where it was another; what has changed.

    The first look of an era asks for nothing: no pass of the era begins before it.
    """
    with conn.transaction():
        query = "SELECT shape FROM rowtide.sync WHERE sync = %s AND since_slot IS NOT NULL FOR UPDATE"
        found = conn.execute(query, [sync]).fetchone()
        if found is None or found[0] == now.to_json():
            return ""
        conn.execute("UPDATE rowtide.sync SET shape = %s WHERE sync = %s", [Jsonb(now.to_json()), sync])
        if found[0] is None:
            channels.notify(conn, channels.CONTROL)
        what = "" if found[0] is None else changed(found[0], now)
        if what:
            record.request(conn, sync, f"what the sync reads has changed: {what}")
    return what
