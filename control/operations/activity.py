"""What a sync does, how quickly, when it will be done, and since when that is not known.

In: what the processes have done in the last seconds (`connectors.pace`, in their beats), counts, places. Out:
`Activity`, `eta_s`, `unknown_since`. Rules: movement is believed only where something was done; what cannot be computed
is None, never 0; what is out of sync is known only while everything that would show it works.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from rowtide.holds import CAPTURE, Hold
from rowtide.reconcile import Coverage

Activity = Literal["moving", "comparing", "staging", "waiting", "unknown", "idle", "stopped"]
"""moving: rows are delivered · comparing: a pass reads · staging: changes arrive · waiting: rows wait, nothing was done
for them lately · unknown: nothing waits of what is known · idle: nothing is to be done · stopped: no process lives."""

LEAST_SILENCE_S = 10.0
"""Silence of a slot is noticed no sooner, however short its heartbeat."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How many a second, over the last seconds: changes staged, rows delivered, rows and items compared."""

    changes: float = 0.0
    delivered: float = 0.0
    compared: float = 0.0


def rates_of(beats: Iterable[Mapping[str, Any]], sync: str) -> Rates:
    """The rates of a sync over all living processes, from the health that each has written of itself."""
    paces = [(health.get("pace") or {}).get(sync) or {} for health in beats]
    return Rates(*(sum(pace.get(step) or 0.0 for pace in paces) for step in ("changes", "delivered", "compared")))


def activity_of(rates: Rates, lives: bool, waiting: bool, unknown: bool) -> Activity:
    """What the sync does. ``lives``: some process beats; ``waiting``: rows are to be delivered."""
    if not lives:
        return "stopped"
    if rates.delivered > 0:
        return "moving"
    if rates.compared > 0:
        return "comparing"
    if rates.changes > 0:
        return "staging"
    if waiting:
        return "waiting"
    return "unknown" if unknown else "idle"


def eta_s(rates: Rates, waiting: int, still_to_stage: float | None) -> float | None:
    """Seconds until everything is delivered at this rate; None when nobody can tell.

    ``still_to_stage``: about how many rows a pass will stage beside those that wait; None: not known yet.
    """
    if still_to_stage is None:
        return None
    rows = waiting + still_to_stage
    if rows == 0:
        return 0.0
    return round(rows / rates.delivered, 1) if rates.delivered > 0 else None


def still_to_stage(state: str | None, phase: str | None, counts: Mapping[str, int], estimate: int) -> float | None:
    """About how many rows the present pass will stage yet: as large a share of those to come as of those compared."""
    if state in (None, "done"):
        return 0.0
    compared = counts.get("rows", 0)
    if phase != "compare" or not compared or not estimate:
        return None
    staged = sum(counts.get(kind, 0) for kind in ("creates", "updates", "moves"))
    return max(0, estimate - compared) * staged / compared


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What decides whether it is known what of a sync is out of sync."""

    applied_at: datetime
    holds: tuple[Hold, ...]
    reconcile_done: bool
    covered: Coverage | None
    coverage: Coverage | None
    asked_at: datetime | None
    silent_since: datetime | None


def silent_since(staged_at: datetime | None, now: datetime, heartbeat: timedelta) -> datetime | None:
    """When something of the slot was staged last, if that is too long ago for a stream that has heartbeats."""
    if staged_at is None:
        return None
    most = max(3 * heartbeat, timedelta(seconds=LEAST_SILENCE_S))
    return staged_at if now - staged_at > most else None


def unknown_since(known: Knowledge) -> datetime | None:
    """Since when it is not known what is out of sync; None while it is.

    It is known while changes are captured, a finished pass covers the present stream and mapping, and the slot is not
    silent.
    """
    since = [hold.at for hold in known.holds if hold.kind == CAPTURE]
    if not known.reconcile_done or known.covered != known.coverage:
        since.append(known.asked_at or known.applied_at)
    if known.silent_since is not None:
        since.append(known.silent_since)
    return min(since, default=None)
