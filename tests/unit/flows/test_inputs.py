"""One input of the engine for all inputs of a process: what arrives finds its step, and no partition waits for another.

In: the real engine with a recovery store; partitions that count their looks. Rule: what is counted are looks and ends
of epochs, never seconds.
"""

import threading
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main

from connectors.claimer import Claimer
from connectors.postgres.replication.cursor_store import StateCursorStore
from connectors.postgres.replication.reader import Reader, ReaderSettings
from flows import sync
from flows.inputs import Epochs, Inputs, of_step
from state.database import Link
from tests.unit.flows.test_capture_steps import Process
from tests.unit.flows.test_deliver_steps import Decisions, Lanes

EPOCH = timedelta(milliseconds=10)


class Watched(StatefulSourcePartition[str, int]):
    """Hands on what it was given, then nothing; all end when one of them has been looked at ``most`` times."""

    def __init__(self, gives: list[str], most: int, end: threading.Event) -> None:
        self.looks = 0
        self.epochs = 0
        self._gives, self._most, self._end = gives, most, end

    def next_batch(self) -> list[str]:
        self.looks += 1
        if self.looks == self._most:
            self._end.set()
        if self._end.is_set():
            raise StopIteration
        given, self._gives = self._gives, []
        return given

    def snapshot(self) -> int:
        self.epochs += 1
        return self.epochs


class Breaker:
    """Nothing is claimed here."""

    def admit(self, _link: Link, syncs: Collection[str]) -> Collection[str]:
        return syncs

    def may_go(self, deletes: Mapping[str, int]) -> bool:
        return not deletes


class Waits(threading.Event):
    """A stop that counts the waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        return super().wait(timeout)


class Source(FixedPartitionedSource[str, int]):
    """An input with these partitions."""

    def __init__(self, **parts: Watched) -> None:
        self._parts = parts

    def list_parts(self) -> list[str]:
        return list(self._parts)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Watched:
        return self._parts[for_part]


class Counted(Epochs):
    """Counts the epochs that were found closed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def closed(self) -> None:
        self.count += 1
        super().closed()


def run(
    directory: Path, sources: Mapping[str, Source], end: threading.Event, epochs: Epochs | None = None
) -> dict[str, list[str]]:
    """What each step was handed, by step."""
    flow = Dataflow("inputs")
    arrived = op.input("input", flow, Inputs(sources, end, epochs or Epochs()))
    taken: dict[str, list[str]] = {step: [] for step in sources}
    for step, items in taken.items():
        op.output(f"{step}-out", op.flat_map_batch(step, arrived, of_step(step)), TestingSink(items))
    init_db_dir(directory, 1)  # type: ignore[no-untyped-call]
    config = RecoveryConfig(str(directory))  # type: ignore[no-untyped-call]
    run_main(flow, epoch_interval=EPOCH, recovery_config=config)  # type: ignore[no-untyped-call]
    return taken


def test_all_partitions_end_their_epochs_together_and_one_wait_paces_them(tmp_path: Path) -> None:
    end = Waits()
    one, other = Watched([], 100, end), Watched([], 10_000, end)
    run(tmp_path, {"first": Source(one=one), "second": Source(other=other)}, end)
    assert abs(one.looks - other.looks) <= 1
    assert abs(one.epochs - other.epochs) <= 1
    assert one.epochs > 3
    assert 90 <= end.waits <= 100


def test_an_epoch_is_noted_once_it_is_closed(tmp_path: Path) -> None:
    end, epochs = threading.Event(), Counted()
    one = Watched([], 100, end)
    run(tmp_path, {"first": Source(one=one)}, end, epochs)
    assert one.epochs - 2 <= epochs.count <= one.epochs
    assert epochs.count > 3


def test_what_no_epoch_closed_since_grows_old() -> None:
    now_s = 100.0
    epochs = Epochs(lambda: now_s)
    now_s = 107.0
    assert epochs.age_s() == 7.0
    epochs.closed()
    assert epochs.age_s() == 0.0


def test_what_arrives_goes_to_its_step_in_order(tmp_path: Path) -> None:
    end = threading.Event()
    a, b, c = Watched(["a1", "a2"], 5, end), Watched(["b1"], 5, end), Watched(["c1", "c2"], 5, end)
    taken = run(tmp_path, {"first": Source(a=a, b=b), "second": Source(a=c)}, end)
    assert sorted(taken["first"]) == ["a1", "a2", "b1"]
    assert [item for item in taken["first"] if item != "b1"] == ["a1", "a2"]
    assert taken["second"] == ["c1", "c2"]


def test_a_process_has_one_input_whatever_it_reads() -> None:
    stop = threading.Event()
    slots = {name: ReaderSettings(lambda: "", f"slot_{name}", "") for name in ("erp", "crm")}
    readers = {name: Reader(one, StateCursorStore("", one.slot, name, lambda *_: None)) for name, one in slots.items()}
    claimer = Claimer("", "", {}, dict, dict, lambda _: {}, lambda _: None, lambda *_: None, Breaker())
    process = Process()
    capture = sync.CaptureParts(readers, "run", process, process.refresh, process, lambda _: None)
    deliver = sync.DeliverParts(claimer, Decisions(), Lanes(), lambda *_: None)
    parts = sync.Parts("", stop, capture, deliver)
    steps: list[Any] = sync.build(parts).substeps
    assert [step.step_name for step in steps if type(step).__name__ == "input"] == [sync.INPUT]
    for reader in readers.values():
        reader.stop()
    lanes = [f"due/lane-{lane}" for lane in range(4)]
    assert sync.inputs(parts).list_parts() == ["wal-erp/slot_erp", "wal-crm/slot_crm", *lanes]
    assert set(sync.names(parts)) > {step.step_name for step in steps} | set(lanes)
