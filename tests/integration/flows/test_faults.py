"""What is on record of lists, tables and tenants that fail, from one process to the next and from one to another."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.faults import READ_S, FaultRecord
from rowtide.holds import FAULT, FaultHold, FaultScope, covering
from state import database, faults, holds
from state.database import Connection, Link

LISTS = {"orders": "list-a", "lines": "list-b"}


class Keeper:
    """What a part of a process knows, set by hand."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], FaultHold] = {}

    @property
    def faults(self) -> Sequence[FaultHold]:
        return list(self.known.values())

    def heed(self, fault: FaultHold) -> None:
        self.known[fault.place] = fault

    def hasten(self, fault: FaultHold) -> None:
        if self.known[fault.place].failures == fault.failures:
            self.known[fault.place] = fault

    def forget(self, fault: FaultHold) -> None:
        del self.known[fault.place]

    def fails(self, scope: FaultScope, object_: str, failures: int = 1, wait_s: float = 60.0) -> None:
        one = FaultHold(scope, object_, "graph_403", f"no, {failures}", "mend it", failures, wait_s)
        self.known[one.place] = one


class Process:
    """One with one tenant, two syncs and their lists; its clock is set by hand."""

    def __init__(self, link: Link, name: str = "p0") -> None:
        catalog = SimpleNamespace(
            syncs={sync: SimpleNamespace(sync=sync, graph="contoso") for sync in LISTS},
            lists_of=lambda sync: [SimpleNamespace(id=LISTS[sync])],
            definition=SimpleNamespace(graph={"contoso": None}),
        )
        catalog.everything = catalog.syncs
        self._link = link
        self.writer, self.tables = Keeper(), Keeper()
        self._now = 0.0
        self._writers = {"contoso": self.writer}
        self._faults = FaultRecord(name, self._view, self._writers, self.tables, lambda: self._now)
        self._catalog = catalog

    def _view(self) -> Any:
        return SimpleNamespace(catalog=self._catalog, holds=self._link.run(holds.read))

    def look(self, after_s: float = READ_S) -> None:
        self._now += after_s
        self._faults.look(self._link)

    def give(self, writer: Keeper) -> Keeper:
        """Put another writer in the place of the first one."""
        self._writers["contoso"] = writer
        return writer

    def counts(self) -> dict[str, int]:
        return self._faults.counts()


@pytest.fixture
def link(state_dsn: str) -> Iterator[Link]:
    link = Link(state_dsn, "test")
    yield link
    link.close()


@pytest.fixture
def connection(state_dsn: str) -> Iterator[Connection]:
    with database.connect(state_dsn) as connection:
        yield connection


@pytest.mark.parametrize(("scope", "object_"), [("list", "list-a"), ("table", "orders"), ("tenant", "contoso")])
def test_the_next_process_finds_the_wait_and_the_end_of_the_trouble_lifts_it(
    link: Link, connection: Connection, scope: FaultScope, object_: str
) -> None:
    process = Process(link)
    process.look()
    keeper = process.tables if scope == "table" else process.writer
    keeper.fails(scope, object_, failures=3)
    process.look()
    [hold] = holds.read(connection)
    assert (hold.scope, hold.object, hold.kind, hold.reason) == (scope, object_, FAULT, "no, 3")
    assert process.counts()[scope] == 1
    after = Process(link)
    after.look()
    [restored] = (after.tables if scope == "table" else after.writer).faults
    assert (restored.place, restored.failures, restored.remedy) == ((scope, object_), 3, "mend it")
    assert 50 < restored.wait_s <= 60
    after.look()
    assert len(holds.read(connection)) == 1
    (after.tables if scope == "table" else after.writer).known.clear()
    after.look()
    assert holds.read(connection) == ()


def test_a_wait_is_written_down_when_it_begins_and_when_a_trial_fails(link: Link, connection: Connection) -> None:
    process = Process(link)
    process.look()
    process.writer.fails("list", "list-b", failures=1, wait_s=5)
    process.look(0)
    process.writer.fails("list", "list-b", failures=1, wait_s=300)  # what time has done to it is no news
    process.look(0)
    assert faults.read(connection)[0].wait_s <= 5
    process.writer.fails("list", "list-b", failures=2, wait_s=300)
    process.look(0)
    assert faults.read(connection)[0].wait_s > 250


def test_another_fault_of_the_same_thing_is_news(link: Link, connection: Connection) -> None:
    """A tenant that throttled does not answer any more, each for the first time."""
    process = Process(link)
    process.look()
    process.writer.fails("tenant", "contoso", failures=1)
    process.look(0)
    [known] = process.writer.faults
    process.writer.known[known.place] = replace(known, code="throttled", wait_s=300.0)
    process.look(0)
    [found] = faults.read(connection)
    assert (found.code, found.wait_s > 250) == ("throttled", True)


def test_a_process_beside_obeys_what_another_one_writes_and_forgets_what_it_takes_away(
    link: Link, connection: Connection
) -> None:
    beside = Process(link, "p1")
    beside.look()
    one = FaultHold("tenant", "contoso", "graph_unavailable", "silence", "", 2, 30.0)
    faults.note(connection, "p0", [one], over=[])
    beside.look()
    assert beside.writer.faults[0].sentence == "silence"
    assert faults.end_waits(connection, {("tenant", "contoso"), ("table", "orders")}) == 1
    beside.look()
    assert beside.writer.faults[0].wait_s == 0
    faults.note(connection, "p0", [], over=[one.place])
    beside.look()
    assert beside.writer.faults == []


def test_two_processes_that_meet_the_same_fault_write_it_down_once_each(link: Link, connection: Connection) -> None:
    both = [Process(link, "p0"), Process(link, "p1")]
    for number, process in enumerate(both, start=1):
        process.look()
        process.writer.fails("list", "list-a", failures=number)
        process.look(0)
    for process in (*both, *both):
        process.look()
    [hold] = holds.read(connection)
    assert (hold.actor, hold.reason) == ("p1", "no, 2")


def test_a_fault_that_ended_a_moment_ago_does_not_begin_anew(link: Link, connection: Connection) -> None:
    """Its end is not written down yet when the record is read."""

    class Ending(Keeper):
        @property
        def faults(self) -> Sequence[FaultHold]:
            found = list(self.known.values())
            self.known.clear()
            return found

        def hasten(self, fault: FaultHold) -> None:
            """Nothing waits any more."""

    process = Process(link)
    process.look()
    process.writer.fails("list", "list-a")
    process.look(0)
    process.writer = process.give(Ending())
    process.writer.fails("list", "list-a")
    process.look()
    assert process.writer.faults == []
    process.look()
    assert holds.read(connection) == ()


def test_a_table_of_which_nothing_waits_to_be_read_is_forgotten(link: Link, connection: Connection) -> None:
    process = Process(link)
    process.look()
    process.tables.fails("table", "orders", wait_s=0.0)
    process.look()
    assert process.tables.faults == []
    process.look()
    assert holds.read(connection) == ()


def test_what_no_sync_has_any_more_is_forgotten(link: Link, connection: Connection) -> None:
    gone = FaultHold("list", "list-gone", "graph_404", "gone", "", 9, 60.0)
    others = [replace(gone, scope="table"), replace(gone, scope="tenant")]
    faults.note(connection, "p0", [gone, *others], over=[])
    Process(link).look()
    assert holds.read(connection) == ()


def test_a_fault_covers_no_sync(connection: Connection) -> None:
    """Else the tenant would never be tried."""
    place = SimpleNamespace(sync="orders", postgres="erp", graph="contoso")
    faults.note(connection, "p0", [FaultHold("tenant", "contoso", "x", "y", "", 1, 60.0)], over=[])
    assert covering(holds.read(connection), place) == ()
