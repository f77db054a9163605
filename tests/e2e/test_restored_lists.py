"""Lists that came back as they were earlier: a deep reconcile is asked for by itself, once, and mends them.

In: a stack with a state database on a server of its own, a simulator that keeps its lists in a file. Rule: what was
noticed is in the records, so each process here ends between the notice and the repair.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rowtide.keys import rowtide_key
from tests.e2e import owner
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_administration import idle, wait_quiet
from tests.e2e.test_push import settled


class Site:
    """The lists, and how they were."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lists, self.kept = directory / "lists", directory / "kept"
        self.lists.mkdir()
        self.simulator = self._start()

    def _start(self, **ports: int) -> Simulator:
        return Simulator(self.directory, "--tier", "off", "--data", str(self.lists / "data"), **ports)

    def keep(self) -> None:
        """Remember how the lists are."""
        self._turn(self.lists, self.kept)

    def restore(self) -> None:
        """Every list is as it was kept."""
        self._turn(self.kept, self.lists)

    def _turn(self, source: Path, target: Path) -> None:
        ports = [int(urlsplit(self.simulator.ready[name]).port or 0) for name in ("base_url", "authority")]
        self.simulator.close()
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        self.simulator = self._start(port=ports[0], auth_port=ports[1])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of its own for each test."""
    site = Site(tmp_path)
    yield site
    site.simulator.close()


def passes(stack: Stack) -> list[tuple[Any, ...]]:
    """Why passes began that read the lists, the oldest first."""
    return stack.state("SELECT detail ->> 'why' FROM rowtide.runs WHERE detail ->> 'deep' = 'true' ORDER BY id")


def begin(site: Site, new_stack: Callable[..., Stack], new_cluster: Callable[..., Any]) -> Stack:
    """A running stack that has written more than the kept lists show."""
    stack = new_stack(site.simulator, rows=30, state_dsn=new_cluster().create_database("state"))
    process = stack.start()
    wait_quiet(stack)
    assert stack.stop(process) == 0
    site.keep()
    stack.simulator = site.simulator
    stack.start()
    stack.sql("UPDATE parts SET name = 'written later' WHERE id <= 12")
    stack.sql("INSERT INTO parts (id, name) SELECT n, 'made later' FROM generate_series(101, 103) n")
    stack.sql("DELETE FROM parts WHERE id IN (13, 14, 15)")
    wait_quiet(stack)
    assert passes(stack) == []
    return stack


def put_back(site: Site, stack: Stack) -> None:
    """The lists are as they were kept, for a new process."""
    assert stack.stop(stack.processes[-1]) == 0
    site.restore()
    stack.simulator = site.simulator
    stack.start()


@pytest.mark.long
def test_a_list_that_was_away_and_is_back_is_read_by_itself(
    site: Site, new_stack: Callable[..., Stack], new_cluster: Callable[..., Any]
) -> None:
    stack = begin(site, new_stack, new_cluster)
    owner.own(site.simulator, "DELETE", "Parts EU")
    stack.sql("UPDATE parts SET name = 'while it is away' WHERE id BETWEEN 20 AND 22")
    noticed = "SELECT title FROM rowtide.list WHERE missing_since IS NOT NULL"
    wait_until(lambda: stack.state(noticed) == [("Parts EU",)], "it is noticed")
    put_back(site, stack)
    stack.state("UPDATE rowtide.outbox SET due_at = now() WHERE due_at > now()")  # not only in a minute
    wait_until(lambda: passes(stack) == [("one of its lists was away and is back",)], "the lists are read")
    wait_quiet(stack)
    assert len(passes(stack)) == 1


@pytest.mark.long
def test_lists_that_went_back_are_read_by_themselves(
    site: Site, new_stack: Callable[..., Stack], new_cluster: Callable[..., Any]
) -> None:
    """A row whose item stays older than it was written, for two minutes, tells of all others."""
    stack = begin(site, new_stack, new_cluster)
    put_back(site, stack)
    stack.sql("UPDATE parts SET name = 'written again' WHERE id IN (1, 2, 3)")
    parked = "SELECT 1 FROM rowtide.outbox WHERE reason_code = 'item_older_than_known'"
    wait_until(lambda: stack.state(parked), "an item is older for long", 240)
    wait_until(lambda: passes(stack) == [("items of its lists are older than what was written",)], "they are read", 60)
    wait_quiet(stack)
    assert len(passes(stack)) <= 2  # rows that were looked at when the pass began are noticed behind it


@pytest.mark.long
def test_an_item_that_is_given_the_id_of_a_lost_one_is_kept(
    site: Site, new_stack: Callable[..., Stack], new_cluster: Callable[..., Any]
) -> None:
    """A list that went back counts its items from there: a new row's item gets an id that another row's item had."""
    stack = begin(site, new_stack, new_cluster)
    put_back(site, stack)
    stack.sql("INSERT INTO parts (id, name) SELECT n, 'made after it went back' FROM generate_series(201, 206) n")
    wait_until(lambda: passes(stack) == [("a new item has the id of another row's item",)], "the lists are read")
    wait_quiet(stack)
    assert not stack.state("SELECT 1 FROM rowtide.outbox WHERE reason_code = 'refused_by_state'")


@pytest.mark.long
def test_a_persons_item_with_the_number_of_a_lost_one_is_kept(
    site: Site, new_stack: Callable[..., Stack], new_cluster: Callable[..., Any]
) -> None:
    """Their items get the numbers of rows' items that the restore took away, and those rows change and go."""
    stack = begin(site, new_stack, new_cluster)
    assert stack.stop(stack.processes[-1]) == 0
    site.restore()
    stack.simulator = site.simulator
    for number in range(6):
        site.simulator.edit(list="Parts Other", fields={"Title": f"theirs {number}"}, user="Ada Editor")
    stack.sql("UPDATE parts SET name = 'written again' WHERE id BETWEEN 101 AND 103")
    stack.sql("DELETE FROM parts WHERE id = 103")
    stack.start()
    wait_until(lambda: settled(stack) and idle(stack), "everything settled", 120)
    stack.command("reconcile", "--deep", "parts")
    wait_until(lambda: [why for (why,) in passes(stack) if why == "asked for"], "the lists are read", 60)
    wait_until(lambda: settled(stack) and idle(stack), "everything settled", 120)
    there = [one["fields"] for one in site.simulator.items() if not one["deleted"]]
    assert {one["Title"] for one in there} >= {f"theirs {number}" for number in range(6)}
    rows = {(rowtide_key("parts", str(key)), name) for key, name in stack.sql("SELECT id, name FROM parts")}
    ours = [(one["RowtideKey"], one["Title"]) for one in there if "RowtideKey" in one]
    assert set(ours) == rows
    assert len(ours) == len(rows)
