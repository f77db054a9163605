"""Claims that wait, list by list."""

from dataclasses import dataclass

from connectors.graph.list_queues import ListQueues


@dataclass(frozen=True)
class Waiting:
    """A claim of a list."""

    list_id: str
    number: int


def queues(**counts: int) -> ListQueues[Waiting]:
    made = ListQueues[Waiting]()
    for list_id, count in counts.items():
        for number in range(count):
            made.append(Waiting(list_id, number))
    return made


def test_within_a_list_the_order_is_kept() -> None:
    found = queues(a=5)
    assert [one.number for one in found.take(["a"], 3)] == [0, 1, 2]
    assert [one.number for one in found.take(["a"], 3)] == [3, 4]
    assert len(found) == 0
    assert found.lists == []


def test_lists_take_turns() -> None:
    found = queues(a=50, b=50, c=50)
    assert [{one.list_id for one in found.take(found.lists[:1], 20)} for _ in range(4)] == [{"a"}, {"b"}, {"c"}, {"a"}]


def test_a_shared_batch_takes_of_each_as_much_as_there_is_room_for() -> None:
    found = queues(a=50, b=3, c=50)
    taken = [one.list_id for one in found.take(["a", "b", "c"], 20)]
    assert len(taken) == 20
    assert taken.count("b") == 3
    assert abs(taken.count("a") - taken.count("c")) <= 1
    assert len(found) == 83


def test_everything_of_a_list_or_of_all_is_taken_at_once() -> None:
    found = queues(a=2, b=3)
    assert len(found.take_all("a")) == 2
    assert [one.list_id for one in found] == ["b"] * 3
    assert len(found.take_all()) == 3
    assert list(found) == []
