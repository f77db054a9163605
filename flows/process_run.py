"""The run of a process on record: it begins, it is seen, it ends (`state.runs`).

In: who the process is, with each beat a connection, at the end how it ended. Out: one row. Rule: a run that could not
be written down yet is written with the next beat; its end is said once, and whoever dies without a word is lost.
"""

from state import runs
from state.database import Connection
from state.runs import ProcessLife


class ProcessRun:
    """Not for two threads at a time."""

    def __init__(self, life: ProcessLife) -> None:
        self._life = life
        self._id: int | None = None

    def note(self, connection: Connection) -> None:
        """The process lives."""
        if self._id is None:
            self._id = runs.start_process(connection, self._life)
        else:
            runs.saw_process(connection, self._id, self._life.slots)

    def end(self, connection: Connection, verdict: str, code: str | None) -> None:
        """The process has ended like this; ``code``: of the error by which it did."""
        if self._id is not None:
            runs.finish_process(connection, self._id, verdict, code)
