"""What a process reads of itself as Prometheus reads it: each family, and nothing of what is gone or not known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry

from connectors.metric_families import READINGS
from connectors.readings import GraphReading, ProcessReading, Readings, SlotReading, SourceReading, WebhookReading

BEGAN = datetime(1970, 1, 1, tzinfo=UTC)
GRAPH = GraphReading(
    ru_used=120.0,
    requests=60,
    throttled=2,
    unanswered=1,
    minute_ru=-4.0,
    day_ru=900.0,
    gate_s=7.5,
    quota_wait_s=8.5,
    credential_ends=BEGAN + timedelta(days=1),
)
SOURCE = SourceReading(connected=True, incarnation=2, heartbeat_age_s=3.0, slot=SlotReading(10, 20, 30))
ALL = ProcessReading(
    in_flight=5,
    graphs={"contoso": GRAPH},
    sources={"shop": SOURCE},
    loop_failures={"rowtide-due": 2},
    faults={"list": 1},
    errors={"graph_503": 9},
    epoch_age_s=0.5,
    webhooks=WebhookReading({"contoso": BEGAN + timedelta(hours=1)}, 12.0),
)


def shown(*readings: ProcessReading) -> dict[str, float]:
    """Name and labels -> figure, of every series after these readings."""
    registry = CollectorRegistry()
    collector = Readings(registry)
    for one in readings:
        collector.show(one)
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_everything_that_is_read_is_shown() -> None:
    found = shown(ALL)
    assert found == {
        "rowtide_rows_in_flight": 5,
        "rowtide_graph_ru_total contoso": 120,
        "rowtide_graph_requests_total contoso": 60,
        "rowtide_graph_throttled_total contoso": 2,
        "rowtide_graph_unanswered_total contoso": 1,
        "rowtide_graph_ru_available contoso minute": -4,
        "rowtide_graph_ru_available contoso day": 900,
        "rowtide_graph_gate_seconds contoso": 7.5,
        "rowtide_graph_quota_wait_seconds contoso": 8.5,
        "rowtide_credential_expiry_timestamp_seconds contoso": 86_400,
        "rowtide_webhook_expiry_timestamp_seconds contoso": 3_600,
        "rowtide_webhook_age_seconds": 12,
        "rowtide_epoch_age_seconds": 0.5,
        "rowtide_source_connected shop": 1,
        "rowtide_heartbeat_age_seconds shop": 3,
        "rowtide_slot_incarnation shop": 2,
        "rowtide_slot_lag_bytes shop": 10,
        "rowtide_slot_retained_bytes shop": 20,
        "rowtide_slot_safe_wal_bytes shop": 30,
        "rowtide_loop_failures_total rowtide-due": 2,
        "rowtide_faults list": 1,
        "rowtide_errors_total graph_503": 9,
    }
    assert {name.split()[0] for name in found} == {family.name for family in READINGS}


def test_what_is_not_known_has_no_series() -> None:
    away = SourceReading(connected=False, incarnation=0, heartbeat_age_s=None, slot=None)
    found = shown(replace(ALL, sources={"shop": away}))
    assert found["rowtide_source_connected shop"] == 0
    assert not [name for name in found if "slot" in name or "heartbeat" in name]
    endless = replace(SOURCE, slot=SlotReading(10, 20, None))
    found = shown(replace(ALL, sources={"shop": endless}))
    assert found["rowtide_slot_retained_bytes shop"] == 20
    assert "rowtide_slot_safe_wal_bytes shop" not in found
    unsaid = replace(GRAPH, credential_ends=None)
    found = shown(replace(ALL, graphs={"contoso": unsaid}, epoch_age_s=None, webhooks=WebhookReading({}, None)))
    assert not [name for name in found if "expiry" in name or "webhook" in name or "epoch" in name]


def test_a_graph_that_is_gone_leaves_nothing() -> None:
    assert shown(ALL, ProcessReading()) == {"rowtide_rows_in_flight": 0}
