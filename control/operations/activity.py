"""What a sync does, how quickly, and when it will be done.

In: what the processes have done in the last seconds (`connectors.pace`, in their beats), counts. Out: `Activity`,
`eta_s`. Rules: movement is believed only where something was done; what cannot be computed is None, never 0. Since when
it is not known what is out of sync is said by `rowtide.gauge`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Activity = Literal["moving", "comparing", "staging", "waiting", "unknown", "idle", "stopped"]
"""moving: rows are delivered · comparing: a pass reads · staging: changes arrive · waiting: rows wait, nothing was done
for them lately · unknown: nothing waits of what is known · idle: nothing is to be done · stopped: no process lives."""


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
