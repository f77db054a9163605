"""The lock on a process's roles and process id, so that no two processes are the same one.

In: the state database's DSN, roles, process id. Out: the name under which the process owns leases; an error while
another holds it. Rule: the lock lives with its connection; after a break it is taken again, and a process that finds it
taken ends, because its leases are void by then.
"""

from collections.abc import Collection

import psycopg

from rowtide.error_catalogue import state_errors
from state import database, processes


class ProcessLock:
    """At most one running process holds it. Not for two threads at a time."""

    def __init__(self, dsn: str, roles: Collection[str], process_id: int) -> None:
        self.name = processes.name_of(process_id, roles)
        self._dsn = dsn
        self.process_id = process_id
        self._connection: psycopg.Connection | None = None

    def hold(self) -> None:
        """Take the lock, or see that we hold it. StateUnavailable; StateRefused while another process holds it."""
        if self._connection is not None:
            try:
                with database.translated():
                    self._connection.execute("SELECT 1")
                return
            except BaseException:
                self.close()
                raise
        connection = database.connect(self._dsn, "rowtide identity")
        with database.translated():
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            [(held,)] = connection.execute(query, [self.name]).fetchall()
        if not held:
            connection.close()
            raise state_errors.PROCESS_ID_TAKEN(process_id=self.process_id)
        self._connection = connection

    def close(self) -> None:
        """Release the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
