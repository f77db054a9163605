"""The capturing steps, against ports of the test: what they hand on, and what they ask of the process."""

from dataclasses import dataclass, field

from flows.ports import Stream
from flows.steps.capture import Merge, Normalize
from rowtide.change import ChangeBatch
from rowtide.definition.model import SyncDefinition
from rowtide.errors import SyncError
from rowtide.keys import bucket_of
from rowtide.mapping.columns import SourceColumn
from rowtide.mapping.compiled_sync import CompiledSync, compile_sync
from rowtide.transaction import Chunk, Relation, Row

COLUMNS = [SourceColumn("id", "bigint", 20, True, 1), SourceColumn("name", "text", 25, False)]
NARROW = Relation(2, "public", "parts", "d", ("id",), ("id",), (20,))
PARTS = Relation(1, "public", "parts", "d", ("id", "name"), ("id",), (20, 25))


def sync(name: str) -> CompiledSync:
    definition = SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.parts"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "list": "Parts",
            "fields": {"name": "Title"},
        }
    )
    return compile_sync(name, definition, COLUMNS)


@dataclass
class Process:
    """The ports of capture: what is in force, and what was asked for."""

    routing: int = 1
    syncs: list[CompiledSync] = field(default_factory=lambda: [sync("parts")])
    looked: int = 0
    stopped: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    eras: dict[int, int] = field(default_factory=lambda: {1: 101, 2: 102})  # by incarnation
    refreshed: int = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def routed(self, stream: Stream, schema: str, table: str) -> list[tuple[CompiledSync, int]]:
        self.looked += 1
        if (stream.postgres, stream.slot, schema, table) != ("erp", "slot", "public", "parts"):
            return []
        return [(sync, self.eras[stream.incarnation]) for sync in self.syncs]

    def compiled(self, sync: str) -> CompiledSync:
        return next(one for one in self.syncs if one.sync == sync)

    def stop_capture_of(self, sync: str, error: SyncError) -> None:
        self.stopped.append(sync)

    def request_reconcile(self, sync: str, why: str) -> None:
        self.asked.append(sync)


def insert(ordinal: int, key: int, name: str = "bolt", relation: Relation = PARTS) -> Row:
    return Row(ordinal, relation, "I", (str(key), name)[: len(relation.columns)], None, None)


def chunk(*rows: Row, lsn: int = 100, incarnation: int = 1) -> Chunk:
    return Chunk(incarnation, lsn, 7, 0, False, list(rows), lsn + 1, 100)


def normalized(process: Process, *chunks: Chunk) -> list[tuple[str, ChangeBatch]]:
    return list(normalize(process)(chunks))


def normalize(process: Process) -> Normalize:
    return Normalize("erp", "slot", process, process.refresh, process)


def keys(batches: list[ChangeBatch]) -> list[str]:
    return [change.key for batch in batches for change in batch.changes]


def test_rows_go_to_the_bucket_of_their_key_for_each_sync() -> None:
    process = Process(syncs=[sync("parts"), sync("copies")])
    found = normalized(process, chunk(insert(0, 1), insert(1, 2)))
    wanted = {f"{one.sync}:{bucket_of(key, one.buckets)}" for one in process.syncs for key in ("1", "2")}
    assert {lane for lane, _ in found} == wanted
    assert sorted(keys([batch for _, batch in found])) == ["1", "1", "2", "2"]


def test_a_table_that_no_sync_names_is_passed_over() -> None:
    """A publication of all tables carries the record of applied edits too."""
    applied = Relation(9, "rowtide_pull", "applied", "d", ("sync", "key"), ("sync", "key"), (25, 25))
    found = normalized(Process(), chunk(insert(0, 1), insert(1, 5, relation=applied), insert(2, 2)))
    assert sorted(keys([batch for _, batch in found])) == ["1", "2"]


def test_a_relation_is_bound_once_until_definition_or_eras_change() -> None:
    process = Process()
    step = normalize(process)
    step([chunk(insert(0, 1))])
    step([chunk(insert(0, 2))])
    assert process.looked == 1
    process.routing = 2
    step([chunk(insert(0, 3))])
    assert process.looked == 2


def test_a_relation_that_does_not_fit_stops_its_sync_and_no_other_row() -> None:
    process = Process()
    found = normalized(process, chunk(insert(0, 1, relation=NARROW), insert(1, 2)))
    assert process.stopped == ["parts"]
    assert keys([batch for _, batch in found]) == ["2"]


def test_a_new_incarnation_is_met_with_the_eras_in_force() -> None:
    process = Process()
    step = normalize(process)
    first = [batch for _, batch in step([chunk(insert(0, 1)), chunk(insert(0, 2))])]
    assert (process.refreshed, [batch.era for batch in first]) == (1, [101, 101])
    second = [batch for _, batch in step([chunk(insert(0, 3)), chunk(insert(0, 4), incarnation=2)])]
    assert (process.refreshed, [batch.era for batch in second]) == (2, [101, 102])


def test_a_sync_that_was_stopped_is_bound_again_in_its_next_era() -> None:
    """What did not fit is not remembered: the relation may fit again when a person resumes the sync."""
    process = Process()
    step = normalize(process)
    assert list(step([chunk(insert(0, 1, relation=NARROW))])) == []
    assert process.stopped == ["parts"]
    process.routing, process.eras = 2, {1: 103}
    [(_, batch)] = step([chunk(insert(0, 1))])
    assert batch.era == 103


def test_a_truncate_asks_for_a_reconcile() -> None:
    process = Process()
    assert normalized(process, chunk(Row(0, PARTS, "T", None, None, None))) == []
    assert process.asked == ["parts"]


def batches(*chunks: Chunk) -> list[ChangeBatch]:
    return [batch for _, batch in normalized(Process(), *chunks)]


def test_changes_of_one_row_become_the_last_of_them() -> None:
    [merged], discard = Merge("run", None).on_batch(batches(chunk(insert(0, 1, "a"), insert(1, 1, "b"))))
    assert [change.fields for change in merged.changes] == [{"Title": "b"}]
    assert not discard


def test_what_this_run_has_handed_on_is_dropped_when_it_comes_again() -> None:
    merge = Merge("run", None)
    merge.on_batch(batches(chunk(insert(0, 1), lsn=100)))
    assert merge.on_batch(batches(chunk(insert(0, 1), lsn=90)))[0] == []
    later, _ = merge.on_batch(batches(chunk(insert(0, 1), lsn=110)))
    assert keys(later) == ["1"]


def test_a_new_era_is_never_taken_for_a_replay() -> None:
    merge = Merge("run", None)
    merge.on_batch(batches(chunk(insert(0, 1), lsn=100, incarnation=1)))
    assert keys(merge.on_batch(batches(chunk(insert(0, 1), lsn=50, incarnation=2)))[0]) == ["1"]


def test_the_mark_of_another_run_is_not_believed() -> None:
    before = Merge("run", None)
    before.on_batch(batches(chunk(insert(0, 1), lsn=100)))
    again = batches(chunk(insert(0, 1), lsn=90))
    assert Merge("run", before.snapshot()).on_batch(again)[0] == []
    assert keys(Merge("another run", before.snapshot()).on_batch(again)[0]) == ["1"]
