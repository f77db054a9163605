"""What the first load of each list, or a changed mapping, costs, how long it takes and when it ends.

In: rows per list, the tenant's limits, the share of them that Rowtide may use. Out: a `Forecast` per list. Rule: pure
arithmetic over Microsoft's published limits; the lists of one tenant share one allowance and are loaded one after the
other, so each list's end includes those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rowtide.pacing import WRITE_RU, enumeration_ru

DAY = timedelta(days=1)


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
    """What one list is still to get: how many writes, and what that means in units, time and the day's quota."""

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


def forecast(loads: Sequence[ListLoad], allowance: Allowance, now: datetime) -> list[Forecast]:
    """The forecast per list, in order; ``day_share`` is of the app's whole daily limit (1.0: all of one day)."""
    answers = []
    before = 0
    for load in loads:
        writes = max(load.rows - load.items, 0) + load.rewrites
        ru = writes * WRITE_RU
        begun, ended = time_to_spend(before, allowance), time_to_spend(before + ru, allowance)
        answers.append(Forecast(load, writes, ru, ended - begun, now + ended, ru / allowance.ru_per_day))
        before += ru
    return answers


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
