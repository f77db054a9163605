"""What is on record of lists that fail, from one process to the next."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from flows.list_faults import ListFaults
from rowtide.holds import FAULT, ListFault
from state import database, holds, list_faults
from state.database import Link

LISTS = {"orders": "list-a", "lines": "list-b"}


class Writer:
    """What a writer knows, set by hand."""

    def __init__(self) -> None:
        self.faults: dict[str, ListFault] = {}

    @property
    def list_faults(self) -> Sequence[ListFault]:
        return list(self.faults.values())

    def restore_lists(self, faults: Sequence[ListFault]) -> None:
        self.faults = {one.list_id: one for one in faults}

    def fails(self, list_id: str, failures: int = 1, wait_s: float = 60.0) -> None:
        self.faults[list_id] = ListFault(list_id, "graph_403", f"no, {failures}", failures, wait_s)


def process(writer: Writer) -> ListFaults:
    """Of a process with one tenant and two lists."""
    catalog = SimpleNamespace(
        syncs={sync: SimpleNamespace(sync=sync, graph="contoso") for sync in LISTS},
        lists_of=lambda sync: [SimpleNamespace(id=LISTS[sync])],
    )
    return ListFaults("p0", lambda: cast(Any, SimpleNamespace(catalog=catalog)), {"contoso": writer})


def test_the_next_process_finds_the_wait_and_the_end_of_the_trouble_lifts_it(state_dsn: str) -> None:
    link, writer = Link(state_dsn, "test"), Writer()
    with database.connect(state_dsn) as connection:
        faults = process(writer)
        faults.look(link, [])
        writer.fails("list-a", failures=3)
        faults.look(link, [])
        [hold] = holds.read(connection)
        assert (hold.scope, hold.object, hold.kind, hold.reason) == ("list", "list-a", FAULT, "no, 3")
        after = Writer()
        next_faults = process(after)
        next_faults.look(link, [])
        [restored] = after.list_faults
        assert (restored.list_id, restored.failures) == ("list-a", 3)
        assert 50 < restored.wait_s <= 60
        next_faults.look(link, [])
        assert len(holds.read(connection)) == 1
        after.faults.clear()
        next_faults.look(link, [])
        assert holds.read(connection) == ()
    link.close()


def test_a_wait_is_written_down_when_it_begins_and_when_a_trial_fails(state_dsn: str) -> None:
    link, writer = Link(state_dsn, "test"), Writer()
    with database.connect(state_dsn) as connection:
        faults = process(writer)
        faults.look(link, [])
        writer.fails("list-b", failures=1, wait_s=5)
        faults.look(link, [])
        writer.fails("list-b", failures=1, wait_s=300)  # what time has done to it is no news
        faults.look(link, [])
        assert list_faults.read(connection)[0].wait_s <= 5
        writer.fails("list-b", failures=2, wait_s=300)
        faults.look(link, [])
        assert list_faults.read(connection)[0].wait_s > 250
    link.close()


def test_a_list_that_no_sync_has_any_more_is_forgotten(state_dsn: str) -> None:
    link = Link(state_dsn, "test")
    with database.connect(state_dsn) as connection:
        gone = ListFault("list-gone", "graph_404", "gone", 9, 60.0)
        list_faults.note(connection, "p0", [gone], over=[])
        process(Writer()).look(link, [])
        assert holds.read(connection) == ()
    link.close()
