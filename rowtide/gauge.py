"""What is out of sync, how late each way is, whether that is known, and whether a minute kept the promise.

In: what the records of a sync say at one moment (`Counted`, `Push`, `ListRead`). Out: a `Gauge`, and the verdict on its
minute. Called by the duty `gauge`; `rowtide status` takes the same definitions. Rules (docs/design.md section 24): a
row that is known to differ counts once, wherever it waits; what is not known is a time since when, never a 0; a minute
that is not known, or that a person held, is never a good one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from rowtide.holds import CAPTURE, PERSON, Hold
from rowtide.reconcile import Coverage

GOAL_S: Final = 60.0
"""Push lag within which a minute is a good one."""
LEAST_SILENCE_S: Final = 10.0
"""Silence of a slot or of a list is noticed no sooner, however short its heartbeat or its interval."""
STAGING_S: Final = 2.0
"""What a heartbeat may take to be written, read and staged: a stream at rest has no lag."""
UNREAD_POLL_S: Final = 60.0
"""The interval of a list that has none yet."""
COSTS: Final = 100.0
"""A pause is so many times as long as the look before it: looking takes a hundredth of one connection at most."""
LEAST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 50.0
"""Under a minute, so that no minute goes without a look."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Keys of a sync that are known to differ, each counted once, and since when the oldest of them has differed.

    ``waiting``: for their item · ``parked``: set aside · ``held``: for a person · ``pulling``: read from the list and
    not applied · ``found``: a pass has found that the source no longer has them, and nothing is staged yet.
    ``push_since``: of those waiting, ``pull_since``: of those pulling, ``aside_since``: of those parked or held.
    ``by_priority``: of those waiting, how many in each class of `rowtide.change`.
    ``conflicts``: that wait for a person.
    """

    waiting: int = 0
    parked: int = 0
    held: int = 0
    pulling: int = 0
    found: int = 0
    push_since: datetime | None = None
    pull_since: datetime | None = None
    aside_since: datetime | None = None
    by_priority: tuple[int, ...] = (0, 0, 0, 0)
    conflicts: int = 0

    @property
    def rows(self) -> int:
        """Rows out of sync."""
        return self.waiting + self.parked + self.held + self.pulling + self.found

    @property
    def oldest(self) -> datetime | None:
        """Since when a row has been out of sync; None: none is, or of those that are nobody knows."""
        times = (self.push_since, self.pull_since, self.aside_since)
        return min((one for one in times if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What decides whether it is known what of a sync's rows differs from their items.

    ``silent_since``: the stream says nothing since then (`silent_since`); None: it is heard. ``asked_at``: when the
    newest pass was asked for.
    """

    applied_at: datetime
    holds: tuple[Hold, ...]
    reconcile_done: bool
    covered: Coverage | None
    coverage: Coverage | None
    asked_at: datetime | None
    silent_since: datetime | None


@dataclass(frozen=True, slots=True)
class ListRead:
    """How far the changes of a list are read.

    ``read_until``: when the last round began that has ended; None: none has. ``whole``: all its items are being read,
    or it was restored and a deep pass has not read it yet.
    """

    read_until: datetime | None
    interval_s: float | None
    whole: bool


@dataclass(frozen=True, slots=True)
class HeardStream:
    """What a sync's stream has shown: when the newest heartbeat was written that is staged, and how often one is."""

    heard_at: datetime | None
    heartbeat: timedelta


@dataclass(frozen=True, slots=True)
class Gauge:
    """Where a sync stands at ``as_of``. ``pull_lag_s`` None: it has one way.

    ``read_until``: of the list that was read longest ago; None: there is none, or one was never read. ``held_by``: the
    kinds of the holds that cover it.

    ``..._unknown_since``: rows and lag of that way are at least what is said here; None: they are this.
    """

    counted: Counted
    push_lag_s: float
    pull_lag_s: float | None
    push_unknown_since: datetime | None
    pull_unknown_since: datetime | None
    as_of: datetime
    read_until: datetime | None = None
    held_by: tuple[str, ...] = ()

    @property
    def unknown_since(self) -> datetime | None:
        """Since when rows out of sync are only known to be at least so many."""
        times = (self.push_unknown_since, self.pull_unknown_since)
        return min((one for one in times if one is not None), default=None)


# --- is it known --------------------------------------------------------------------------------------------------


def silent_since(heard_at: datetime | None, now: datetime, heartbeat: timedelta) -> datetime | None:
    """``heard_at`` where that is too long ago for a stream that has heartbeats."""
    if heard_at is None:
        return None
    most = max(3 * heartbeat, timedelta(seconds=LEAST_SILENCE_S))
    return heard_at if now - heard_at > most else None


def push_unknown_since(known: Knowledge) -> datetime | None:
    """Since when it is not known which rows differ from their items; None while it is.

    It is known while changes are captured, a finished pass covers the present stream and mapping, and the stream is not
    silent.
    """
    since = [hold.at for hold in known.holds if hold.kind == CAPTURE]
    if not known.reconcile_done or known.covered != known.coverage:
        since.append(known.asked_at or known.applied_at)
    if known.silent_since is not None:
        since.append(known.silent_since)
    return min(since, default=None)


def pull_unknown_since(lists: Iterable[ListRead], applied_at: datetime, now: datetime) -> datetime | None:
    """Since when it is not known which items differ from their rows; None while it is.

    It is known of a list while the last round that has ended began less than two polls ago, and none reads it whole.
    """
    since = []
    for one in lists:
        most_s = max(2 * (one.interval_s or UNREAD_POLL_S), LEAST_SILENCE_S)
        if one.read_until is None or one.whole or now - one.read_until > timedelta(seconds=most_s):
            since.append(one.read_until or applied_at)
    return min(since, default=None)


def read_until(lists: Sequence[ListRead]) -> datetime | None:
    """When the list was read that was read longest ago; None: there is none, or one was never read."""
    times = [one.read_until for one in lists if one.read_until is not None]
    return min(times) if times and len(times) == len(lists) else None


# --- how late -----------------------------------------------------------------------------------------------------


def push_lag_s(push_since: datetime | None, stream: HeardStream, now: datetime) -> float:
    """How late items are, at least: by the rows that wait, and by what the stream has not shown yet.

    A heartbeat says that everything committed before it is staged, so that a stream at rest is not late.
    """
    waits_s = _age_s(push_since, now)
    if stream.heard_at is None:
        return waits_s
    unheard_s = _age_s(stream.heard_at, now) - stream.heartbeat.total_seconds() - STAGING_S
    return max(waits_s, unheard_s)


def pull_lag_s(pull_since: datetime | None, now: datetime) -> float:
    """How late rows are: by the oldest item change that was read and is not applied."""
    return _age_s(pull_since, now)


def _age_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def to_gauge(
    counted: Counted,
    known: Knowledge,
    stream: HeardStream,
    lists: Sequence[ListRead] | None,
    now: datetime,
) -> Gauge:
    """The gauge of a sync; ``lists`` None: it has one way. ``known`` is asked for all but the stream."""
    silent = silent_since(stream.heard_at, now, stream.heartbeat)
    if stream.heard_at is None:
        silent = known.asked_at or known.applied_at
    return Gauge(
        counted,
        push_lag_s(counted.push_since, stream, now),
        None if lists is None else pull_lag_s(counted.pull_since, now),
        push_unknown_since(replace(known, silent_since=silent)),
        None if lists is None else pull_unknown_since(lists, known.applied_at, now),
        now,
        read_until(lists or ()),
        tuple(sorted({hold.kind for hold in known.holds})),
    )


def pause_s(took_s: float) -> float:
    """Seconds until the next look, after one that took so long."""
    return min(MOST_PAUSE_S, max(LEAST_PAUSE_S, COSTS * took_s))


# --- minutes ------------------------------------------------------------------------------------------------------


class Minute(IntEnum):
    """What is said of a minute of a sync. Of several looks in it the highest counts: one that was late was late."""

    GOOD = 0
    HELD = 1
    UNKNOWN = 2
    LATE = 3


def minute_of(gauge: Gauge, holds: Iterable[Hold], observing: bool = False) -> Minute:
    """The verdict of one look. ``observing``: a person has said that nothing is to be written.

    Only people hold: what a guard or a fault holds back is late.
    """
    if observing or any(hold.kind == PERSON for hold in holds):
        return Minute.HELD
    if gauge.push_unknown_since is not None:
        return Minute.UNKNOWN
    return Minute.GOOD if gauge.push_lag_s <= GOAL_S else Minute.LATE


@dataclass(frozen=True, slots=True)
class Minutes:
    """The minutes of a sync within a time: ``total`` of the clock, ``looked`` with a look, and those not good."""

    total: int
    looked: int
    late: int = 0
    unknown: int = 0
    held: int = 0

    @property
    def not_known(self) -> int:
        """Minutes of which nothing is known: nobody has looked, or a look has not shown it."""
        return self.total - self.looked + self.unknown

    @property
    def good(self) -> int:
        """Minutes that kept the goal."""
        return self.looked - self.late - self.unknown - self.held

    @property
    def share(self) -> float | None:
        """Good minutes of those that are known and were not held by a person; None: there are none."""
        judged = self.good + self.late
        return None if judged == 0 else self.good / judged
