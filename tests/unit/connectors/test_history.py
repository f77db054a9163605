"""The recorder's figures as minutes: absolute values, by the database's clock, an hour kept while it is away."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from prometheus_client import CollectorRegistry

from connectors.history import PLACES, HistoryRecorder
from connectors.metric_families import SYNC_COUNTS
from connectors.metrics import PrometheusRecorder
from connectors.recorder import Recorders, SyncCount, record_pulled, record_settle, record_stage
from state import history
from state.history import SyncMinute
from state.outbox import SettleCounts, StageCounts
from state.progress import Counts

NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Database:
    """Stands for a connection to the state database, which holds what was written, unless it is away."""

    def __init__(self) -> None:
        self.rows: dict[tuple[datetime, str, UUID], SyncMinute] = {}
        self.writes: list[int] = []
        self.is_away = False
        self.now = NOON
        self.ids = iter(UUID(int=i) for i in range(9))
        self.meanwhile: Callable[[], None] = lambda: None

    def history(self) -> HistoryRecorder:
        return HistoryRecorder(lambda: self.now, lambda: next(self.ids))

    def write(self, of: HistoryRecorder) -> None:
        connection: Any = self
        of.write(connection)

    def execute(self, _statement: str, parameters: list[str]) -> None:
        self.meanwhile()
        if self.is_away:
            raise ConnectionError
        rows = orjson.loads(parameters[0])
        self.writes.append(len(rows))
        for row in rows:
            minute, incarnation = datetime.fromisoformat(row.pop("minute")), UUID(row.pop("incarnation"))
            one = SyncMinute(minute=minute, incarnation=incarnation, **row)
            self.rows[one.minute, one.sync, one.incarnation] = one

    def written(self, name: SyncCount, minute: datetime = NOON, incarnation: int = 0) -> int:
        return at(self.rows[minute, "parts", UUID(int=incarnation)].n, PLACES[name])

    def total(self, name: SyncCount, minute: datetime) -> int:
        return sum(at(row.n, PLACES[name]) for (of, _, _), row in self.rows.items() if of == minute)


def at(values: Sequence[int], place: int) -> int:
    """The element of an array whose last zeros are left out."""
    return values[place] if place < len(values) else 0


@pytest.fixture
def database() -> Database:
    """Hands on the stand-in."""
    return Database()


def test_each_count_has_its_place() -> None:
    assert sorted(PLACES.values()) == list(range(len(history.COUNTS)))


def test_a_minute_is_written_as_a_whole_and_only_when_it_changed(database: Database) -> None:
    minutes = database.history()
    for total in (3, 6):
        minutes.count("parts", SyncCount.CHANGES, 3)
        database.write(minutes)
        assert database.written(SyncCount.CHANGES) == total
    database.write(minutes)
    database.now += MINUTE
    minutes.count("parts", SyncCount.CHANGES, 1)
    database.write(minutes)
    assert database.writes == [1, 1, 1]
    assert [database.written(SyncCount.CHANGES, minute) for minute in (NOON, NOON + MINUTE)] == [6, 1]


def test_both_adapters_agree(database: Database) -> None:
    registry, minutes = CollectorRegistry(), database.history()
    both = Recorders(PrometheusRecorder(registry), minutes)
    did = Counts(3, 4, 1, 2, 0, 5, latencies_s=[0.05, 0.3, -1.0], bulk_latencies_s=[7.0])
    record_stage(both, StageCounts(new={"parts": 9}))
    record_settle(both, SettleCounts({"parts": did}))
    record_pulled(
        both, "parts", {"applied": 6, "echoes": 1, "parked": 2, "conflicts": 3, "lost": 4, "reverted": 8}, [61]
    )
    database.write(minutes)
    [row] = database.rows.values()
    for one, family in SYNC_COUNTS.items():
        assert registry.get_sample_value(family.name, {"sync": "parts"}) == at(row.n, PLACES[one]) > 0
    shown = [
        ("rowtide_delivery_seconds", {"rows": "live"}, row.push_ms),
        ("rowtide_delivery_seconds", {"rows": "bulk"}, row.bulk_ms),
        ("rowtide_edit_seconds", {}, row.pull_ms),
    ]
    for name, labels, buckets in shown:
        for i, bound_ms in enumerate(history.BOUNDS_MS):
            le = {"sync": "parts", "le": str(bound_ms / 1000), **labels}
            assert registry.get_sample_value(f"{name}_bucket", le) == sum(buckets[: i + 1]), (name, bound_ms)
        assert registry.get_sample_value(f"{name}_count", {"sync": "parts", **labels}) == sum(buckets) > 0


def test_an_hour_is_kept_while_the_database_is_away_and_what_is_older_is_counted(database: Database) -> None:
    minutes = database.history()
    database.is_away = True
    for _ in range(90):
        minutes.count("parts", SyncCount.CHANGES, 1)
        with pytest.raises(ConnectionError):
            database.write(minutes)
        database.now += MINUTE
    database.is_away = False
    database.write(minutes)
    assert sorted(minute for minute, _, _ in database.rows) == [NOON + i * MINUTE for i in range(30, 90)]
    assert (minutes.take_lost(), minutes.take_lost()) == (30, 0)
    database.now += 5 * MINUTE
    database.write(minutes)
    assert len(minutes._minutes) == 0


def test_what_is_counted_while_it_is_written_is_written_the_next_time(database: Database) -> None:
    minutes = database.history()
    minutes.count("parts", SyncCount.CHANGES, 1)
    database.meanwhile = lambda: minutes.count("parts", SyncCount.CHANGES, 1)
    database.write(minutes)
    assert database.written(SyncCount.CHANGES) == 1
    database.meanwhile = lambda: None
    database.write(minutes)
    assert database.written(SyncCount.CHANGES) == 2


@pytest.mark.parametrize(("back", "incarnation"), [(2 * MINUTE, 0), (10 * MINUTE, 1)])
def test_a_clock_that_is_set_back_overwrites_nothing(database: Database, back: timedelta, incarnation: int) -> None:
    minutes = database.history()
    for _ in range(20):
        minutes.count("parts", SyncCount.CHANGES, 5)
        database.write(minutes)
        database.now += MINUTE
    database.now -= back
    minutes.count("parts", SyncCount.CHANGES, 1)
    database.write(minutes)
    assert database.total(SyncCount.CHANGES, database.now) == 6
    assert minutes.incarnation == UUID(int=incarnation)
