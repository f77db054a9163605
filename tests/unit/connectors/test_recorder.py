"""Every metric that is declared moves when what it tells of happens."""

from prometheus_client import CollectorRegistry

from connectors.metric_families import PROCESS_COUNTS, SYNC_COUNTS
from connectors.metrics import PrometheusRecorder
from connectors.recorder import (
    ProcessCount,
    SyncCount,
    record_lost_minutes,
    record_pulled,
    record_settle,
    record_stage,
)
from state.outbox import SettleCounts, StageCounts
from state.progress import Counts


def totals(registry: CollectorRegistry) -> dict[str, float]:
    """Family -> the sum of its samples, times of creation left out."""
    return {
        family.name: sum(sample.value for sample in family.samples if not sample.name.endswith("_created"))
        for family in registry.collect()
    }


def test_each_figure_of_the_port_has_a_metric() -> None:
    assert set(SYNC_COUNTS) == set(SyncCount)
    assert set(PROCESS_COUNTS) == set(ProcessCount)


def test_each_declared_metric_moves() -> None:
    registry = CollectorRegistry()
    recorder = PrometheusRecorder(registry)
    assert set(totals(registry).values()) == {0.0}
    did = Counts(
        delivered=1,
        writes=2,
        suppressed=3,
        foreign_edits=4,
        released=5,
        parked=6,
        latencies_s=[0.5],
        bulk_latencies_s=[0.5],
    )
    record_stage(recorder, StageCounts(merged=1, dropped=2, new={"parts": 3}))
    record_settle(recorder, SettleCounts({"parts": did}, stale=1))
    did_of_entries = {"applied": 1, "echoes": 2, "parked": 3, "conflicts": 4, "lost": 5, "reverted": 6}
    record_pulled(recorder, "parts", did_of_entries, [1.5])
    record_lost_minutes(recorder, 12)
    still = sorted(name for name, total in totals(registry).items() if not total)
    assert still == []
