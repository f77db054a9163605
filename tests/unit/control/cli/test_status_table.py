"""The table of `status`: it fits, hides no parked row, and shows no number for what is not known."""

from datetime import UTC, datetime
from typing import Any

import pytest

from control.cli.status_table import table_lines

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OK = {"code": "ok", "sentence": "Nothing is wrong.", "next": ""}
IDLE = {"code": "idle", "sentence": "Nothing is waiting.", "next": ""}
GONE = {
    "code": "graph_404",
    "sentence": "List 'Orders EU': Graph answered 404 itemNotFound for the list: The specified list was not found.",
    "next": "if the list is gone, `rowtide apply` makes it anew; else see that the app may write to it",
}
KNOWN = {"rows": 0, "unknown_since": None}


def sync(name: str = "orders", **more: Any) -> dict[str, Any]:
    """A sync with which all is well."""
    return {
        "sync": name,
        "wanted": "run",
        "activity": "idle",
        "health": OK,
        "reason": IDLE,
        "out_of_sync": KNOWN,
        "gauge": None,
        "minutes": None,
        "parked": 0,
        "rates": {"changes_per_s": 0.0, "delivered_per_s": 0.0, "compared_per_s": 0.0},
        "lag_s": 0.0,
        "eta_s": 0.0,
        "waiting": 0,
        "in_flight": 0,
        "changes": 10,
        "delivered": 1_234_567,
        "writes": 10,
        "lag_bytes": 110_744,
        "latency_ms": {"p50": 12_489.6, "p95": 31_815.9, "p99": None},
        "ru_used": 656,
        **more,
    }


def shown(*syncs: dict[str, Any], width: int | None = None, wide: bool = False) -> list[str]:
    """The lines of a status with these syncs."""
    processes: list[Any] = []
    found: Any = {"definition": {"version": 3}, "processes": processes, "at": NOW, "syncs": syncs}
    return table_lines(found, width, wide)


BROKEN = sync(
    "a_sync_with_quite_a_long_name_for_a_table",
    wanted="paused",
    activity="waiting",
    health=GONE,
    reason={"code": "paused", "sentence": "Paused by ann since 2026-11-22 12:00:00 UTC: stock taking", "next": "x"},
    out_of_sync={"rows": 1_234_567, "unknown_since": NOW},
    parked=12_345,
    rates={"changes_per_s": 0.0, "delivered_per_s": 1234.5, "compared_per_s": 0.0},
    lag_s=4000.0,
    eta_s=None,
)


@pytest.mark.parametrize("width", [80, 100])
def test_every_line_fits_and_nothing_that_matters_is_missing(width: int) -> None:
    lines = shown(sync(), BROKEN, width=width)
    assert max(len(line) for line in lines) <= width
    text = " ".join(" ".join(lines).split())
    for words in ("1,234,567+", "12,345", "1,234.5/s", "1h06m+", "unknown", "paused: Paused by ann", "graph_404: List"):
        assert words in text
    assert "next: if the list is gone" in text
    assert "what is out of sync is not known since 2026-11-22 12:00:00 UTC" in text


def test_a_name_is_cut_short_only_where_it_has_to_be() -> None:
    assert any(line.startswith("a_sync_with_quite_a_long_name_for_a_table ") for line in shown(BROKEN))
    assert any(line.startswith("a_sync_with_quite_a_long_name_for_a_table ") for line in shown(BROKEN, width=140))
    [cut] = [line for line in shown(BROKEN, width=80) if line.startswith("a_sync")]
    assert "…" in cut


def test_wide_shows_every_figure() -> None:
    heads = shown(sync(), width=80, wide=True)[1]
    for head in ("IN_FLIGHT", "DELIVERED", "WRITES", "LAG_BYTES", "P50_MS", "P99_MS", "RU"):
        assert head in heads
        assert head not in shown(sync(), width=80)[1]


def test_what_is_not_known_is_no_number() -> None:
    lines = shown(sync(out_of_sync={"rows": 0, "unknown_since": NOW}, lag_s=None, eta_s=None))
    assert lines[2].split() == ["orders", "run", "idle", "unknown", "0", "0.0/s", "unknown", "unknown"]


def test_a_sync_with_which_all_is_well_has_one_line() -> None:
    assert shown(sync())[2:] == ["orders  run     idle      0            0       0.0/s  0s   0s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (147.0, "2m27s"), (3900.0, "1h05m"), (90_000_000.0, "1,041d")]
)
def test_a_duration_is_short(seconds: float, text: str) -> None:
    assert text in shown(sync(lag_s=seconds))[2].split()


def looked(**more: Any) -> dict[str, Any]:
    """What the last look says of a sync."""
    parts = {"waiting": 0, "parked": 0, "held": 2, "pulling": 3, "found": 0, "oldest": NOW, "as_of": NOW}
    return {
        **parts,
        "push_lag_s": 0.0,
        "pull_lag_s": 7.0,
        "push_unknown_since": None,
        "pull_unknown_since": None,
        **more,
    }


@pytest.mark.parametrize(
    ("look", "share", "text"),
    [
        (looked(), 0.98761, ["2", "3", "7s", "98.76%"]),
        (looked(pull_lag_s=None), None, ["2", "3", "-", "unknown"]),  # it has one way
        (looked(pull_lag_s=None, pull_unknown_since=NOW), 1.0, ["2", "3", "unknown", "100.00%"]),
        (None, None, ["unknown"] * 4),
    ],
)
def test_wide_shows_the_last_look_and_the_minutes(look: Any, share: float | None, text: list[str]) -> None:
    minutes = {"total": 90, "good": 80, "late": 1, "held": 0, "unknown": 9, "good_share": share}
    line = shown(sync(gauge=look, minutes=minutes), wide=True)[2]
    assert line.split()[-4:] == text
