"""What the first load of each list, or a changed mapping, costs, how long it takes and when it ends.

In: rows per list, the tenant's limits, the share of them that Rowtide may use. Out: a `Forecast` per list. Rule: pure
arithmetic over Microsoft's published limits; the lists of one tenant share one allowance, by the very turns that the
claims take (`rowtide.turns`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rowtide.change import BACKFILL
from rowtide.pacing import WRITE_RU, enumeration_ru
from rowtide.turns import LITTLE, Line, Turns

DAY = timedelta(days=1)

TURNS = 20_000
"""So many turns are played out at most: in a larger load one stands for several rows."""


@dataclass(frozen=True, slots=True)
class ListLoad:
    """Rows that go to one list; ``exact`` is False for an estimate; ``items`` of them have an item already.

    ``rewrites``: writes to items that are there: what another mapping changes, moves and removes, at most.
    """

    sync: str
    list_title: str
    rows: int
    exact: bool = True
    items: int = 0
    rewrites: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the app may spend in the tenant, and the share of it that is Rowtide's."""

    ru_per_minute: float
    ru_per_day: float
    share: float

    @property
    def minute(self) -> float:
        """Units a minute that Rowtide spends at most."""
        return self.ru_per_minute * self.share

    @property
    def day(self) -> float:
        """Units a day that Rowtide spends at most."""
        return self.ru_per_day * self.share


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one list is still to get: how many writes, and what that means in units, time and the day's quota.

    ``duration``: from now until its last row, beside the other lists of the tenant.
    """

    load: ListLoad
    writes: int
    ru: int
    duration: timedelta
    ends_at: datetime
    day_share: float

    @property
    def deep_ru(self) -> int:
        """Units that a later `rowtide reconcile --deep` or `rowtide diff` spends on the list."""
        return enumeration_ru(self.load.rows)


def forecast(
    loads: Sequence[ListLoad], allowance: Allowance, now: datetime, weights: Mapping[str, int] | None = None
) -> list[Forecast]:
    """The forecast per list, in order; ``day_share`` is of the app's whole daily limit (1.0: all of one day).

    ``weights``: by sync, 1 for one that is not named.
    """
    writes = [max(load.rows - load.items, 0) + load.rewrites for load in loads]
    answers = []
    for load, count, rows in zip(loads, writes, _rows_until_end(loads, writes, weights or {}), strict=True):
        duration, ru = time_to_spend(rows * WRITE_RU, allowance), count * WRITE_RU
        answers.append(Forecast(load, count, ru, duration, now + duration, ru / allowance.ru_per_day))
    return answers


def _rows_until_end(loads: Sequence[ListLoad], writes: Sequence[int], weights: Mapping[str, int]) -> list[int]:
    """Per list, how many rows of all lists have gone when its last one goes."""
    rows_a_turn = max(1, -(-sum(writes) // TURNS))
    lines = [Line(load.sync, load.list_title, BACKFILL) for load in loads]
    waiting = {line: -(-count // rows_a_turn) for line, count in zip(lines, writes, strict=True)}
    turns = Turns(little=max(1, LITTLE // rows_a_turn))
    ends = {line: place for place, line in enumerate(turns.order(waiting, weights), start=1)}
    last = max(ends.values(), default=1)
    return [round(ends.get(line, 0) * sum(writes) / last) for line in lines]


def time_to_spend(ru: float, allowance: Allowance) -> timedelta:
    """How long ``ru`` units take: at the minute's pace until a day's allowance is gone, then on the next day."""
    days, rest = divmod(ru, allowance.day)
    if days and not rest:
        days, rest = days - 1, allowance.day
    return days * DAY + timedelta(minutes=rest / allowance.minute)


def spoken(duration: timedelta) -> str:
    """A duration as people say it: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    seconds = round(duration.total_seconds())
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
