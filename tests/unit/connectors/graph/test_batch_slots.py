"""Which lists the next batch is for, by what is under way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from connectors.graph.batch_slots import IN_FLIGHT, OPEN, SLOW_S, BatchSlots
from connectors.graph.list_queues import ListQueues

MOST = 20


@dataclass(frozen=True)
class Waiting:
    """A claim of a list."""

    list_id: str


class Bench:
    """Slots, and claims of lists that wait."""

    def __init__(self, **counts: int) -> None:
        self.slots = BatchSlots()
        self.queue: Any = ListQueues[Waiting]()
        self.now = 100.0
        for list_id, count in counts.items():
            for _ in range(count):
                self.queue.append(Waiting(list_id))

    def send(self) -> set[str]:
        """The lists of the next batch, which is sent; empty when there is none."""
        claims: Sequence[Any] = self.slots.take(self.queue, MOST, self.now)
        if claims:
            task = cast(Any, object())
            self.slots.begin(task, claims)
            self.slots.under_way[task].sent_at = self.now
        return {claim.list_id for claim in claims}

    def send_all(self) -> list[set[str]]:
        """The lists of each batch until no slot is free."""
        sent = []
        while lists := self.send():
            sent.append(lists)
        return sent


def test_the_only_list_of_a_tenant_has_all_slots() -> None:
    assert Bench(a=500).send_all() == [{"a"}] * IN_FLIGHT


def test_a_list_beside_others_has_half_of_them() -> None:
    assert Bench(a=500, b=5).send_all() == [{"a"}, {"b"}, {"a"}]
    assert Bench(a=500, b=500).send_all() == [{"a"}, {"b"}, {"a"}, {"b"}]


def test_lists_share_a_batch_when_there_are_more_of_them_than_free_slots() -> None:
    sent = Bench(**{f"list {number}": 1 for number in range(10)}).send_all()
    assert set.union(*sent) == {f"list {number}" for number in range(10)}
    assert len(sent) <= IN_FLIGHT


def test_a_list_that_hangs_takes_up_no_slot_and_gets_no_other() -> None:
    bench = Bench(a=500, b=5)
    assert bench.send_all() == [{"a"}, {"b"}, {"a"}]
    bench.now += SLOW_S
    for _ in range(500):
        bench.queue.append(Waiting("c"))
    assert bench.send_all() == [{"c"}, {"c"}]
    assert "a" in bench.queue.lists


def test_so_many_batches_are_open_at_most() -> None:
    bench = Bench()
    for number in range(100):
        bench.queue.append(Waiting(f"list {number}"))
        bench.send_all()
        bench.now += SLOW_S
    assert len(bench.slots.under_way) == OPEN


def test_a_batch_that_waits_for_its_window_is_not_slow() -> None:
    bench = Bench(a=500)
    bench.send_all()
    for batch in bench.slots.under_way.values():
        batch.sent_at = None
    bench.now += 10 * SLOW_S
    assert bench.send() == set()
