"""What `status` says of rows out of sync, of lags and of minutes, from the row that the duty `gauge` wrote last.

In: the row (none before the first look), what is known at this moment without it. Out: a `StandingNow`, documents.
Rules (docs/design.md section 24): the figures are the row's; whether they are all there is, is asked of the row and of
this moment; a row that nobody renews is not known since it was written; what is not known never reads 0.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict

from rowtide.gauge import Minutes
from state.gauges import GaugeRow

RENEWED: Final = timedelta(seconds=90)
"""A row is renewed well within this time: a pause, and the time until another process has the duty."""
WITHIN: Final = timedelta(hours=24)
"""The minutes that are shown."""


class OutOfSyncDocument(TypedDict):
    """Rows known to differ from their items. ``unknown_since`` None: these are all; else there may be more."""

    rows: int
    unknown_since: datetime | None


class GaugeDocument(TypedDict):
    """Where the sync stood at ``as_of``: rows out of sync by where they wait, lags of both ways, what is not known.

    A lag is None where it is not known and would read 0; ``pull_lag_s`` also of a sync of one way.
    """

    as_of: datetime
    waiting: int
    parked: int
    held: int
    pulling: int
    found: int
    oldest: datetime | None
    push_lag_s: float | None
    pull_lag_s: float | None
    push_unknown_since: datetime | None
    pull_unknown_since: datetime | None


class GoodMinutesDocument(TypedDict):
    """The minutes of the last day. ``good_share``: of those that are known and no person held; None: there are none."""

    total: int
    good: int
    late: int
    held: int
    unknown: int
    good_share: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known now without the row: rows that wait or are parked, how long the oldest has, since when not all."""

    now: datetime
    rows: int
    oldest_s: float
    unknown_since: datetime | None
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class StandingNow:
    """Where a sync stands. Lags None: not known, and for all that is known 0; ``pull_lag_s`` also of one way."""

    rows: int
    unknown_since: datetime | None
    push_lag_s: float | None
    pull_lag_s: float | None


def standing_of(row: GaugeRow | None, moment: Moment) -> StandingNow:
    """The row's figures; before the first look, what waits at this moment, of which nobody says that it is all."""
    if row is None:
        since = moment.unknown_since or moment.applied_at
        return StandingNow(moment.rows, since, moment.oldest_s if moment.rows else None, None)
    old = row.as_of if moment.now - row.as_of > RENEWED else None
    push = _first(moment.unknown_since, row.push_unknown_since, old)
    pull = _first(row.pull_unknown_since, old)
    return StandingNow(
        row.rows,
        _first(push, pull),
        _at_least(row.push_lag_s, push),
        None if row.pull_lag_s is None else _at_least(row.pull_lag_s, pull),
    )


def _first(*times: datetime | None) -> datetime | None:
    return min((one for one in times if one is not None), default=None)


def _at_least(lag_s: float, unknown_since: datetime | None) -> float | None:
    return None if unknown_since is not None and lag_s == 0.0 else round(lag_s, 1)


def gauge_document(row: GaugeRow | None, standing: StandingNow) -> GaugeDocument | None:
    """The row as JSON; None before the first look."""
    if row is None:
        return None
    return {
        "as_of": row.as_of,
        "waiting": row.waiting,
        "parked": row.parked,
        "held": row.held,
        "pulling": row.pulling,
        "found": row.found,
        "oldest": row.oldest,
        "push_lag_s": standing.push_lag_s,
        "pull_lag_s": standing.pull_lag_s,
        "push_unknown_since": row.push_unknown_since,
        "pull_unknown_since": row.pull_unknown_since,
    }


def minutes_document(minutes: Minutes | None) -> GoodMinutesDocument | None:
    """The minutes as JSON; None before the first look."""
    if minutes is None:
        return None
    return {
        "total": minutes.total,
        "good": minutes.good,
        "late": minutes.late,
        "held": minutes.held,
        "unknown": minutes.not_known,
        "good_share": None if minutes.share is None else round(minutes.share, 6),
    }
