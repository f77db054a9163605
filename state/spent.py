"""Resource units that each app has spent, by hour: table ``spent``.

In: what a process has spent since it last said so, with each beat. Out: what all processes of the app spent in the last
day, so that neither a restart nor a second process spends a day's quota twice (docs/design.md section 6). Rule: hours
are the database's; an app is a tenant and a client id, whatever the definition calls it.
"""

from state.database import Connection

HOURS = 24
"""How far back a day's quota looks."""

_ADD = """
INSERT INTO rowtide.spent AS s (app, hour, ru) VALUES (%s, date_trunc('hour', clock_timestamp()), %s)
    ON CONFLICT (app, hour) DO UPDATE SET ru = s.ru + excluded.ru
"""

_READ = f"""
SELECT least(3600, extract(epoch FROM clock_timestamp() - h.hour))::float8, coalesce(s.ru, 0)::float8
  FROM generate_series(date_trunc('hour', clock_timestamp()) - interval '{HOURS} hours',
                       date_trunc('hour', clock_timestamp()), interval '1 hour') AS h (hour)
  LEFT JOIN rowtide.spent s ON s.app = %s AND s.hour = h.hour
 ORDER BY h.hour
"""


def add(conn: Connection, app: str, units: float) -> None:
    """Add units to the hour that it is; hours that nobody looks at any more go."""
    conn.execute(_ADD, [app, units])
    conn.execute("DELETE FROM rowtide.spent WHERE app = %s AND hour < now() - interval '2 days'", [app])


def read(conn: Connection, app: str) -> list[tuple[float, float]]:
    """Each hour of the last day, oldest first: how many seconds of it are over, and the units spent in it."""
    return conn.execute(_READ, [app]).fetchall()
