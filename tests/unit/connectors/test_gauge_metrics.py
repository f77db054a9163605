"""Where syncs stand as Prometheus reads it: only from who has the duty, and never a 0 that is not known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry

from connectors.gauge_metrics import GaugeMetrics
from rowtide.gauge import Counted, Gauge

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ONE = Gauge(Counted(3, 1, push_since=NOW - timedelta(seconds=8), by_priority=(2, 0, 0, 1)), 8.0, None, None, None, NOW)
BOTH = Gauge(Counted(), 0.0, 0.0, None, None, NOW, read_until=NOW - timedelta(seconds=4))


def shown(gauges: dict[str, Gauge]) -> dict[str, float]:
    """Name and labels -> figure, of every series."""
    registry = CollectorRegistry()
    GaugeMetrics(registry).show(gauges)
    return {
        one.name.removeprefix("rowtide_") + "".join(f" {value}" for value in one.labels.values()): one.value
        for family in registry.collect()
        for one in family.samples
    }


def test_nothing_is_exported_without_the_duty() -> None:
    assert shown({}) == {}


def test_what_is_known_is_exported_and_a_sync_of_one_way_has_no_pull() -> None:
    assert shown({"orders": ONE}) == {
        "rows_out_of_sync orders": 4.0,
        "rows_out_of_sync_by_part orders waiting": 3.0,
        "rows_out_of_sync_by_part orders parked": 1.0,
        "rows_out_of_sync_by_part orders held": 0.0,
        "rows_out_of_sync_by_part orders pulling": 0.0,
        "rows_out_of_sync_by_part orders found": 0.0,
        "outbox_rows orders interactive": 2.0,
        "outbox_rows orders move": 0.0,
        "outbox_rows orders bulk": 0.0,
        "outbox_rows orders backfill": 1.0,
        "oldest_out_of_sync_seconds orders": 8.0,
        "push_lag_seconds orders": 8.0,
        "push_known orders": 1.0,
        "gauge_timestamp_seconds orders": NOW.timestamp(),
    }
    both = shown({"both": replace(BOTH, counted=Counted(conflicts=7), held_by=("deletes", "person"))})
    assert (both["held both deletes"], both["held both person"]) == (1.0, 1.0)
    assert (both["pull_lag_seconds both"], both["pull_known both"]) == (0.0, 1.0)
    assert (both["list_read_age_seconds both"], both["conflicts_open both"]) == (4.0, 7.0)


def test_what_is_not_known_is_exported_as_the_least_there_is_or_not_at_all() -> None:
    at_rest = shown({"both": replace(BOTH, push_unknown_since=NOW)})
    assert at_rest == {
        "push_known both": 0.0,
        "pull_lag_seconds both": 0.0,
        "pull_known both": 1.0,
        "list_read_age_seconds both": 4.0,
        "conflicts_open both": 0.0,
        "gauge_timestamp_seconds both": NOW.timestamp(),
    }
    silent = shown({"orders": replace(ONE, push_unknown_since=NOW)})
    assert (silent["rows_out_of_sync orders"], silent["push_lag_seconds orders"]) == (4.0, 8.0)
    unread = shown({"both": replace(BOTH, pull_unknown_since=NOW)})
    assert unread["push_lag_seconds both"] == 0.0
    assert not {"rows_out_of_sync both", "pull_lag_seconds both"} & unread.keys()
