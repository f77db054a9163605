"""A source with a published table, and a reader over it whose cursor is kept in memory."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from connectors.postgres import slots
from connectors.postgres.connections import open_unproven
from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.continuity import NewIncarnation, System
from connectors.postgres.replication.reader import Reader, ReaderSettings
from connectors.postgres.replication.slot_guard import Installation
from rowtide.errors import RowtideError
from rowtide.slot_owner import SlotOwner
from rowtide.transaction import Chunk, CommittedTransaction, Row
from tests.integration.postgres.pulled_table import PulledTable

DEADLINE_S = 20.0


def eventually(ask: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        threading.Event().wait(0.005)
    pytest.fail(f"not within {deadline_s} s: {what}")


@dataclass(frozen=True)
class MemoryCursor:
    """A cursor as state.cursors keeps it."""

    incarnation: int
    lsn: int
    system_id: str
    timeline: int
    staged_lsn: int = 0
    publication_oid: int = 0
    staged: CommittedTransaction | None = None
    address: str = ""
    owner: str = ""
    owner_since_lsn: int = 0
    heartbeat: int = 0


HERE = Installation("11111111-0000-4000-8000-000000000001")


@dataclass
class MemoryStore:
    """The reader's seam to the state database, without one."""

    cursor: MemoryCursor | None = None
    incarnations: list[NewIncarnation] = field(default_factory=list)
    advanced: list[SlotPosition] = field(default_factory=list)
    fail_with: Exception | None = None
    here: Installation = HERE
    ours: list[int] = field(default_factory=list)
    heartbeats: int = 0
    staged_heartbeats: list[int] = field(default_factory=list)
    doubted: bool = False

    def read(self) -> MemoryCursor | None:
        return self.cursor

    def installation(self) -> Installation:
        return self.here

    def note_owner(self, owner: SlotOwner) -> None:
        assert self.cursor is not None
        self.cursor = replace(self.cursor, owner=owner.instance, owner_since_lsn=owner.since_lsn)

    def stop(self, problem: RowtideError) -> None:
        self.here = replace(self.here, stop=problem)

    def is_ours(self, walsender_pid: int) -> bool:
        return walsender_pid in self.ours

    def count_heartbeat(self, incarnation: int, instance_id: str, known: int) -> int | None:
        if self.cursor is None or (instance_id, incarnation) != (self.here.id, self.cursor.incarnation):
            return None
        self.heartbeats += 1
        number = max(self.cursor.heartbeat + 1, known + 1, time.time_ns() // 1000)
        self.cursor = replace(self.cursor, heartbeat=number)
        return self.cursor.heartbeat

    def went_back(self) -> None:
        self.doubted = True

    def open_incarnation(self, place: SlotPosition, system: System, reason: NewIncarnation, owner: SlotOwner) -> None:
        self.incarnations.append(reason)
        self.cursor = MemoryCursor(
            place.incarnation,
            place.lsn,
            system.system_id,
            system.timeline,
            publication_oid=system.publication_oid,
            address=system.address,
            owner=owner.instance,
            owner_since_lsn=owner.since_lsn,
        )

    def note_address(self, address: str) -> None:
        assert self.cursor is not None
        self.cursor = replace(self.cursor, address=address)

    def advance(self, incarnation: int, lsn: int, heartbeat: int) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        assert self.cursor is not None
        self.staged_heartbeats += [heartbeat] if heartbeat else []
        self.advanced.append(SlotPosition(incarnation, lsn))
        self.cursor = replace(self.cursor, lsn=max(lsn, self.cursor.lsn))

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class Source:
    """A database with table ``t``, a publication and a slot name of its own."""

    dsn: str
    slot: str
    publication: str
    conn: psycopg.Connection
    owner: psycopg.Connection
    """The session of whoever owns the tables; ``conn`` is one of the product's."""

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.owner.execute(statement)

    def transaction(self, *statements: str) -> None:
        with self.owner.transaction():
            self.run(*statements)

    def show(self) -> slots.Slot | None:
        return slots.show_slot(self.conn, self.slot)

    def one(self, query: str) -> Any:
        row = self.owner.execute(query).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close both sessions."""
        self.conn.close()
        self.owner.close()


class Tap:
    """A reader and what was drained from it."""

    def __init__(self, reader: Reader, store: MemoryStore) -> None:
        self.reader = reader
        self.store = store
        self.chunks: list[Chunk] = []

    def drain(self) -> None:
        self.chunks.extend(self.reader.drain())

    @property
    def rows(self) -> list[Row]:
        return [row for chunk in self.chunks for row in chunk.rows]

    def rows_until(self, count: int) -> list[Row]:
        """The rows so far, once there are ``count``."""

        def enough() -> bool:
            self.drain()
            return len(self.rows) >= count

        eventually(enough, f"{count} rows (problem: {self.reader.problem})")
        return self.rows

    def confirm_all(self) -> SlotPosition:
        """Confirm what was drained, as the flow does when it is staged."""
        place = self.reader.place
        assert place is not None
        self.reader.confirm(place)
        return place

    def problem(self, code: str) -> Any:
        """The reader's problem, once it has this code."""
        return eventually(
            lambda: (p := self.reader.problem) is not None and p.code == code and p, f"problem {code}: {self.said}"
        )

    @property
    def said(self) -> str:
        problem = self.reader.problem
        return "none" if problem is None else f"{problem.code}: {problem.sentence}"

    def streaming(self) -> None:
        eventually(lambda: self.reader.streaming, "streaming")


@pytest.fixture
def new_source() -> Iterator[Callable[[str], Source]]:
    """Prepares the database of a DSN as a source."""
    made: list[Source] = []

    def make(dsn: str) -> Source:
        conn = open_unproven(dsn, "test")
        database = conn.info.dbname
        owner = psycopg.connect(dsn, autocommit=True, options="-c TimeZone=UTC")
        source = Source(dsn, f"s_{database}", f"p_{database}", conn, owner)
        made.append(source)
        source.run("CREATE TABLE t (id int PRIMARY KEY, note text)")
        slots.ensure_publication(conn, source.publication, [("public", "t")])
        return source

    yield make
    for source in made:
        source.close()


@pytest.fixture
def source(database: str, new_source: Callable[[str], Source]) -> Source:
    """A source on the worker's server."""
    return new_source(database)


@pytest.fixture
def new_tap() -> Iterator[Callable[..., Tap]]:
    """Starts readers; all are stopped at the end."""
    made: list[Reader] = []

    def make(source: Source, store: MemoryStore | None = None, **settings: Any) -> Tap:
        given = {"read_dsn": lambda: source.dsn, "heartbeat_s": 0.2, **settings}
        store = store or MemoryStore()
        reader = Reader(ReaderSettings(slot=source.slot, publication=source.publication, **given), store)
        made.append(reader)
        reader.start()
        return Tap(reader, store)

    yield make
    for reader in made:
        reader.stop(5.0)


@pytest.fixture
def tap(source: Source, new_tap: Callable[..., Tap]) -> Tap:
    """A reader that streams the source."""
    tap = new_tap(source)
    tap.streaming()
    return tap


@pytest.fixture
def until() -> Callable[..., Any]:
    """`eventually`, for tests: a folder's conftest cannot be imported."""
    return eventually


@pytest.fixture
def pulled(database: str) -> Iterator[PulledTable]:
    """A source in which a least-privileged role may apply edits."""
    made = PulledTable.make(database)
    yield made
    made.close()
