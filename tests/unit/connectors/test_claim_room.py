"""How the room for rows in flight is shared among what they wait for."""

from types import SimpleNamespace
from typing import Any, cast

from connectors.claim_room import MOST, MOST_BYTES, ClaimRoom, Queue
from rowtide.deciding.records import Work
from rowtide.turns import Line

A, B, C = (Line("orders", f"to {title}", 0) for title in "ABC")


def works(line: Line, count: int, token: str) -> list[Work]:
    """A claim of so many rows of a line."""
    target = line.waits_for.removeprefix("to ")
    desired = (SimpleNamespace(sync=line.sync, key=str(n), op="u", target=target, token=token) for n in range(count))
    return [cast(Any, SimpleNamespace(desired=one)) for one in desired]


def fill(room: ClaimRoom, line: Line) -> list[Work]:
    """Claim as many rows of a line as there is room for."""
    claimed = works(line, room.left_for("contoso", [line])[Queue.of(line)], f"claim of {line.waits_for}")
    room.take("contoso", claimed)
    return claimed


def test_a_list_that_does_not_move_leaves_half_of_the_room_and_the_next_half_of_the_rest() -> None:
    room = ClaimRoom()
    taken = [len(fill(room, line)) for line in (A, B, C)]
    assert taken == [MOST // 2, MOST // 4, MOST // 8]
    assert room.left_for("contoso", [A, B])[Queue.of(A)] == 0
    assert room.left("contoso") == MOST - sum(taken)
    assert room.in_flight == sum(taken)


def test_another_tenant_has_a_room_of_its_own() -> None:
    room = ClaimRoom()
    fill(room, A)
    assert room.left("fabrikam") == MOST


def test_rows_that_end_make_room_once() -> None:
    room = ClaimRoom()
    claimed = fill(room, A)
    room.give_back(claimed[:10])
    room.give_back(claimed[:10])
    assert room.in_flight == len(claimed) - 10
    room.give_back(claimed)
    assert (room.in_flight, room.left("contoso")) == (0, MOST)
    room.give_back(works(A, 3, "a claim of nobody"))
    assert room.left("contoso") == MOST


def test_wide_rows_of_one_list_leave_half_of_the_bytes() -> None:
    room = ClaimRoom()
    assert room.left_bytes("contoso") == MOST_BYTES // 2
    wide = works(A, 4, "wide")
    room.take("contoso", wide, MOST_BYTES // 2)
    assert room.left_for("contoso", [A, B]) == {Queue.of(A): 0, Queue.of(B): (MOST - 4 + 1) // 2}
    assert (room.left_bytes("contoso"), room.left_bytes("fabrikam")) == (MOST_BYTES // 4, MOST_BYTES // 2)
    room.give_back(wide[:1])
    assert room.left_for("contoso", [A])[Queue.of(A)] > 0
    room.give_back(wide)
    assert room.left_bytes("contoso") == MOST_BYTES // 2
