"""A sync of two ways as the people on both of its sides see it: somebody before the list, somebody before the table.

In: a running `Stack`, the sync, its list and table. Out: `Ways`, with an edit, a row, an item; `rest` for all syncs of
a stack. Rule: both sides are looked at directly, the records only for what waits, and for when a list was asked.
"""

import subprocess
from dataclasses import dataclass
from typing import Any

from rowtide.keys import rowtide_key
from tests.e2e.stack import Stack, wait_until

WAITING = "SELECT (SELECT count(*) FROM rowtide.outbox) + (SELECT count(*) FROM rowtide.inbox)"


@dataclass(frozen=True)
class Ways:
    """A sync, its list (the first of them) and its table."""

    stack: Stack
    sync: str
    title: str

    def items(self) -> list[dict[str, Any]]:
        """What is in any list with a key of the sync."""
        there = (one for one in self.stack.simulator.items() if not one["deleted"])
        return [one for one in there if str(one["fields"].get("RowtideKey")).startswith(f"{self.sync}:")]

    def items_of(self, key: int) -> list[dict[str, Any]]:
        """The items of a row: there should be one."""
        wanted = rowtide_key(self.sync, str(key))
        return [one for one in self.items() if one["fields"]["RowtideKey"] == wanted]

    def item(self, key: int) -> dict[str, Any]:
        """The item of a row."""
        [found] = self.items_of(key)
        return found

    def edit(self, key: int, **fields: object) -> dict[str, Any]:
        """A person's edit of the item of a row."""
        return self.hand(self.item(key), fields=fields)

    def delete(self, key: int) -> None:
        """A person deletes the item of a row."""
        self.hand(self.item(key), delete=True)

    def hand(self, item: dict[str, Any], **what: object) -> dict[str, Any]:
        """What a person does to an item."""
        done: dict[str, Any] = self.stack.simulator.edit(
            list=item["list"], item_id=item["id"], user="Ada Editor", **what
        )
        return done

    def shows(self, key: int, field: str, value: object) -> None:
        """Wait until the item of a row says so."""

        def said() -> list[Any]:
            return [one["fields"].get(field) for one in self.items_of(key)]

        wait_until(lambda: said() == [value], f"{field} of item {key} is {value}; {said()}")

    def row(self, key: int, columns: str = "name", source: str = "") -> tuple[Any, ...] | None:
        """The row of a key; ``source``: the DSN of another source than the stack's first."""
        found = self.stack.looks.ask(
            source or self.stack.source_dsn, f"SELECT {columns} FROM {self.sync} WHERE id = %s", (key,)
        )
        return found[0] if found else None

    def arrives(self, key: int, columns: str, *values: object, source: str = "", within_s: float = 60.0) -> None:
        """Wait until a row says so."""
        wait_until(lambda: self.row(key, columns, source) == values, f"row {key} says {values}", within_s)

    def inbox(self) -> list[tuple[Any, ...]]:
        """What waits to be applied, or was set aside."""
        query = "SELECT item_id, state, code FROM rowtide.inbox WHERE sync = %s ORDER BY item_id"
        return self.stack.state(query, self.sync)

    def conflicts(self, key: int) -> list[tuple[Any, ...]]:
        """What is on record of a row's conflicts."""
        query = "SELECT kind, state, winner, fields FROM rowtide.conflict WHERE (sync, key) = (%s, %s) ORDER BY id"
        return self.stack.state(query, self.sync, str(key))

    def round(self) -> int:
        """How often its list was asked for its changes; 0 while it is not asked."""
        query = "SELECT c.round FROM rowtide.list_cursor AS c JOIN rowtide.list AS l ON l.id = c.list_id"
        found = self.stack.state(f"{query} WHERE c.sync = %s AND l.title = %s", self.sync, self.title)
        return int(found[0][0]) if found else 0


def is_at_rest(stack: Stack) -> bool:
    """Whether nothing waits in either direction."""
    return stack.state(WAITING) == [(0,)]


def rounds(stack: Stack) -> dict[str, int]:
    """How often each list that is there was asked for its changes."""
    query = "SELECT c.list_id, c.round::int FROM rowtide.list_cursor AS c JOIN rowtide.list AS l ON l.id = c.list_id"
    return dict(stack.state(f"{query} WHERE l.state = 'applied'"))


def rest(stack: Stack) -> None:
    """Wait until all that was done has arrived, and every list was asked twice since."""
    wait_until(lambda: is_at_rest(stack), "nothing waits any more")
    ask_again(stack, 2)
    wait_until(lambda: is_at_rest(stack), "nothing waits any more")


def ask_again(stack: Stack, times: int) -> None:
    """Have every list asked so often, as a notification of a change does: a list at rest is asked seldom."""
    for _ in range(times):
        before = rounds(stack)
        stack.state("UPDATE rowtide.list_cursor SET hinted_at = clock_timestamp()")

        def asked(before: dict[str, int] = before) -> bool:
            now = rounds(stack)
            return all(now.get(one, 0) > seen for one, seen in before.items())

        wait_until(asked, "every list was asked again")


def end_all(stack: Stack) -> None:
    """End every process of the stack as an administrator does; one that has been killed has ended already."""
    codes = [stack.stop(one) for one in stack.processes if one.poll() is None]
    assert not any(codes), stack.logged()[-4000:]


def begin_anew(stack: Stack, *words: str, failpoints: str = "") -> subprocess.Popen[bytes]:
    """End every process and start one, perhaps with failpoints set."""
    end_all(stack)
    process = stack.start(*words, failpoints=failpoints)
    stack.wait_ready(process)
    return process
