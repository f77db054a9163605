"""A list that goes both ways and comes back as it was earlier: nothing that a person made is written over.

In: a site that can be put back, a table whose rows are newer. Rule: what our application had written there yields to
the table; of what a person wrote nobody can tell whether it is older or newer, so a person decides.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from state import suspect
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_pull import SYNC, TABLE, Desk
from tests.e2e.test_restored_lists import Site, passes

pytestmark = pytest.mark.long

OLDER = "the item shows an older version than was written"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of its own."""
    site = Site(tmp_path)
    yield site
    site.simulator.close()


def begin(site: Site, new_stack: Callable[..., Stack], source_dsn: str) -> Stack:
    """A running stack with one edit of a person's, which the kept lists show."""
    with psycopg.connect(source_dsn, autocommit=True) as connection:
        connection.execute(TABLE)
    stack = new_stack(site.simulator, source_dsn=source_dsn, syncs=SYNC)
    process = stack.start()
    desk = Desk(stack)
    wait_until(lambda: len(desk.items()) == 22, "every row has an item")
    desk.rest()
    desk.edit(3, Title="typed early")
    desk.arrives(3, "name", "typed early")
    desk.rest()
    assert stack.stop(process) == 0
    site.keep()
    stack.simulator = site.simulator
    stack.start()
    return stack


def put_back(site: Site, stack: Stack) -> None:
    """The lists are as they were kept; our process does not know it."""
    assert stack.stop(stack.processes[-1]) == 0
    site.restore()
    stack.simulator = site.simulator


def wait_longer(stack: Stack) -> None:
    """The items have been older for a minute."""
    query = "SELECT count(*) FROM rowtide.inbox WHERE sentence = %s"
    wait_until(lambda: stack.state(query, OLDER) != [(0,)], "an item is found to be older")
    stack.state("UPDATE rowtide.inbox SET seen_at = seen_at - interval '1 minute', due_at = now()")


def test_what_a_person_wrote_is_asked_about_and_the_rest_is_the_tables(
    site: Site, new_stack: Callable[..., Stack], database: str
) -> None:
    stack = begin(site, new_stack, database)
    desk = Desk(stack)
    desk.edit(3, Title="typed later")
    desk.arrives(3, "name", "typed later")
    desk.edit(4, Title="typed on four")
    desk.arrives(4, "name", "typed on four")
    stack.sql("UPDATE tasks SET quantity = 500 WHERE id IN (5, 6)")
    wait_until(lambda: [desk.item(key)["fields"]["Quantity"] for key in (5, 6)] == [500, 500], "they are written")
    stack.simulator.edit(list="Tasks", fields={"Title": "made later"}, user="Ada Editor")
    made = "SELECT id FROM tasks WHERE name = 'made later'"
    wait_until(lambda: stack.sql(made), "a new row")
    desk.rest()

    put_back(site, stack)
    assert desk.item(4)["fields"]["Title"] == "task 4"
    desk.edit(5, Note="after the restore")
    stack.start()
    wait_longer(stack)
    wait_until(lambda: passes(stack) == [(suspect.WHY,)], "the lists are read", 90)
    wait_until(lambda: desk.item(4)["fields"]["Title"] == "typed on four", "what we had written yields to the table")
    wait_until(lambda: desk.item(6)["fields"]["Quantity"] == 500, "and so does this")
    wait_until(lambda: [state for _, state, _, _ in desk.conflicts(5)] == ["open"], "a person has to decide")
    wait_until(lambda: [state for _, state, _, _ in desk.conflicts(3)] == ["open"], "and of this")
    assert (desk.item(3)["fields"]["Title"], desk.row(3)) == ("typed early", ("typed later",))
    assert desk.row(5, "note, quantity") == ("note 5", 500)
    assert set(desk.conflicts(5)[0][3]) == {"Note", "Quantity"}
    assert stack.state("SELECT key FROM rowtide.conflict WHERE key NOT IN ('3', '5')") == []

    resolve = ("conflicts", "resolve", "--all", "--key")
    stack.command(*resolve, "3", "--take", "postgres", "--why", "it is newer", "--yes")
    stack.command(*resolve, "5", "--field", "Note=sharepoint", "--field", "Quantity=postgres", "--why", "x", "--yes")
    wait_until(lambda: desk.item(3)["fields"]["Title"] == "typed later", "the item follows")
    desk.arrives(5, "note, quantity", "after the restore", 500)
    wait_until(lambda: desk.item(5)["fields"]["Quantity"] == 500, "the item follows")
    # The source remembers an apply of a higher version than the item has by now.
    desk.edit(4, Title="typed again")
    desk.arrives(4, "name", "typed again")
    assert stack.sql(made), "the row of an item that the restore took away stays"
    wait_until(lambda: ("parked", "inferred_delete") in [one[:2] for one in desk.inbox()], "until a person decides")
    assert stack.state("SELECT count(*) FROM rowtide.list_cursor WHERE suspect_since IS NOT NULL") == [(0,)]
    assert len(passes(stack)) == 1
    assert stack.stop(stack.processes[-1]) == 0


def test_a_persons_item_with_the_number_of_a_lost_one_becomes_a_row_of_its_own(
    site: Site, new_stack: Callable[..., Stack], database: str
) -> None:
    """The restore takes away the newest items, and the next ones get their numbers; a lost one's row gets another."""
    stack = begin(site, new_stack, database)
    desk = Desk(stack)
    stack.sql("INSERT INTO tasks (id, name) VALUES (901, 'made later'), (902, 'made later, and deleted')")
    wait_until(lambda: len(desk.items()) == 24, "the rows have items")
    lost = {desk.item(901)["id"], desk.item(902)["id"]}
    desk.rest()
    put_back(site, stack)
    stack.sql("UPDATE tasks SET name = 'changed meanwhile' WHERE id = 901")
    stack.sql("DELETE FROM tasks WHERE id = 902")
    titles = ("after the restore", "and one more")
    for title in titles:
        stack.simulator.edit(list="Tasks", fields={"Title": title}, user="Ada Editor")
    assert {one["id"] for one in desk.items() if one["fields"]["Title"] in titles} == lost
    stack.start()
    wait_until(lambda: passes(stack) == [(suspect.WHY,)], "the lists are read", 90)
    made = "SELECT count(*) FROM tasks WHERE name IN ('after the restore', 'and one more')"
    wait_until(lambda: stack.sql(made) == [(2,)], "their items are new rows", 90)
    wait_until(lambda: desk.item(901)["fields"]["Title"] == "changed meanwhile", "the row has an item again", 90)
    desk.rest()
    assert {one["fields"]["Title"] for one in desk.items() if one["id"] in lost} == set(titles)
    assert stack.sql("SELECT id FROM tasks WHERE id IN (901, 902)") == [(901,)]
    assert stack.stop(stack.processes[-1]) == 0
