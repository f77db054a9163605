"""Reads a slot into mapped row changes and throws them away; prints the seconds from the first row to the last.

In: the DSN in ``ROWTIDE_SOURCE_DSN``; number of rows, slot, definition file.
"""

import os
import sys
import time

from connectors import settings
from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.reader import Reader, ReaderSettings
from connectors.postgres.replication.slot_guard import Installation
from rowtide.catalog import Catalog
from rowtide.change import INTERACTIVE
from rowtide.errors import RowtideError
from state import database, definitions


class Forgetful:
    """A cursor that is kept nowhere: every run begins where the slot stands."""

    def read(self) -> None:
        """None yet."""

    def installation(self) -> Installation:
        """One of its own."""
        return Installation("00000000-0000-4000-8000-000000000000")

    def note_owner(self, owner: object) -> None:
        """Forgotten."""

    def stop(self, problem: RowtideError) -> None:
        """Nobody else reads the slot."""
        raise problem

    def is_ours(self, walsender_pid: int) -> bool:  # noqa: ARG002
        """No other process is known."""
        return False

    def count_heartbeat(self, incarnation: int, instance_id: str, known: int) -> int:  # noqa: ARG002
        """One more."""
        return known + 1

    def went_back(self) -> None:
        """There is nothing to doubt."""

    def open_incarnation(self, place: SlotPosition, system: object, reason: object, owner: object) -> None:
        """Forgotten."""

    def note_address(self, address: str) -> None:
        """Forgotten."""

    def advance(self, incarnation: int, lsn: int, heartbeat: int) -> None:
        """Forgotten."""

    def close(self) -> None:
        """Nothing to close."""


def main(rows: int, slot: str, config: str) -> None:
    """Read until so many rows were mapped."""
    loaded = settings.load(config)
    with database.connect(settings.resolve_secret(loaded.definition.state.dsn)) as connection:
        applied = definitions.read_applied(connection)
    assert applied is not None
    sync = Catalog.from_applied(applied.version, applied.compiled).syncs["bench"]
    reader = Reader(
        ReaderSettings(lambda: os.environ["ROWTIDE_SOURCE_DSN"], slot, loaded.definition.publication("erp")),
        Forgetful(),
    )
    reader.start()
    mapped, started, bound = 0, 0.0, None
    while mapped < rows:
        chunks = reader.drain()
        if not chunks:
            time.sleep(0.001)
            continue
        started = started or time.monotonic()
        for chunk in chunks:
            for row in chunk.rows:
                bound = bound or sync.bind_relation(row.relation)
                mapped += len(bound.changes(row, chunk.lsn, chunk.xid, chunk.committed_us, INTERACTIVE))
    print(time.monotonic() - started)
    reader.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
