"""Of a process that beats the oldest tick is believed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from state.processes import ProcessBeat

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def beat(age_s: float, silent_s: float, waits_for: str = "") -> ProcessBeat:
    """A beat so long ago, by a process of which a loop had been silent for so long."""
    health: dict[str, Any] = {"oldest_tick": {"loop": "rowtide-due", "silent_s": silent_s, "waits_for": waits_for}}
    return ProcessBeat(0, ["capture"], 7, "here", NOW, NOW, age_s, 1, health)


@pytest.mark.parametrize(
    ("process", "stuck", "moved_s"),
    [
        (beat(0.5, 1.0), False, 0.5),
        (beat(0.5, 61.0), True, 61.5),
        (beat(0.5, 61.0, "PostgreSQL"), False, 0.5),
        (beat(0.5, 601.0, "PostgreSQL"), True, 601.5),
        (beat(20.0, 1.0), False, 20.0),
        (beat(61.0, 30.0), True, 91.0),  # it died, as far as anybody knows
    ],
)
def test_the_oldest_tick_is_believed(process: ProcessBeat, stuck: bool, moved_s: float) -> None:
    assert (process.silence is not None) is stuck
    assert process.moved_s == moved_s


def test_a_process_of_another_release_says_nothing_of_its_loops() -> None:
    process = ProcessBeat(0, ["capture"], 7, "here", NOW, NOW, 0.5, 1, {})
    assert (process.silence, process.moved_s, process.is_alive) == (None, 0.5, True)
