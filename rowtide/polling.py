"""How often each list of a tenant is asked for its changes: what the quota leaves, and what a list's own pace asks for.

In: a tenant's licences and share, how many lists are polled, what a poll has shown. Out: seconds, and the sentence
that `validate` and `plan` print. Rules (docs/design.md section 22): polls, looks and confirmations of a tenant together
take a tenth of its quota at most; a list at rest takes `REST_RU` a minute at most; a change shortens the interval at
once, silence lengthens it step by step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rowtide.backoff import Jitter
from rowtide.mass_delete import Limits
from rowtide.pacing import ITEM_RU, tier_of

PART: Final = 0.1
"""What polls, looks and confirmations of a tenant may take of its quota, all together."""

_POLLS: Final = 0.75
"""What of that part polls are planned to take: the rest is for looks at items and confirmations."""

REST_RU: Final = 12.0
"""What a list at rest takes a minute, at most."""

_EXAMINED_RU: Final = 0.75
"""A part of that: whether the list and its columns are still what they were is looked at every few minutes."""

REST_S: Final = 60.0 * ITEM_RU / (REST_RU - _EXAMINED_RU)
"""A list at rest is asked no more often than this."""

_LENGTHENED: Final = 1.5
_SPREAD: Final = 0.05
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class PollBounds:
    """A sync's ``poll: 5s..60s``: the shortest and the longest interval that is wished for."""

    least_s: float = 5.0
    most_s: float = 60.0


def units_a_minute(licences: int, quota_share: float) -> float:
    """Resource units that polls, looks and confirmations of a tenant may take in a minute, day in, day out."""
    tier = tier_of(licences)
    return PART * quota_share * min(tier.ru_per_minute, tier.ru_per_day / _DAY_MINUTES)


def even_s(lists: int, licences: int, quota_share: float) -> float:
    """Seconds between two polls of each list when all lists of the tenant are polled alike."""
    return 60.0 * ITEM_RU * lists / (_POLLS * units_a_minute(licences, quota_share))


def longest_s(bounds: PollBounds, even: float) -> float:
    """What silence lengthens the interval to; ``even``: what is left to each list (`even_s`).

    Where all lists can be asked as often as is wished, silence changes nothing. Where they cannot, those at rest take
    half of what there is, so that those where something moves are asked sooner.
    """
    shortest = max(bounds.least_s, REST_S)
    if even <= shortest:
        return shortest
    return max(shortest, even, min(bounds.most_s, 2.0 * even))


def next_s(interval_s: float | None, changed: bool, bounds: PollBounds, even: float) -> float:
    """The interval after a poll. ``interval_s``: the one before, if any; ``changed``: the poll has shown something."""
    if changed or interval_s is None:
        return bounds.least_s
    return min(longest_s(bounds, even), max(interval_s, bounds.least_s) * _LENGTHENED)


def spread_s(interval_s: float, jitter: Jitter) -> float:
    """The interval a little lengthened at random, so that lists which were asked together do not stay together."""
    return interval_s * jitter(1.0, 1.0 + _SPREAD)


ANEW_S: Final = 600.0
"""A list that has to be read from its beginning again within so many seconds of the last time waits before it is."""


def anew_wait_s(times: int) -> float:
    """Seconds to wait before a list is read from its beginning once more; ``times``: in a row so far, in a short time.

    Each costs the whole list: a server that takes none of its own links any more would use up what rows leave.
    """
    return 0.0 if times == 0 else min(ANEW_S, 5.0 * 2.0 ** min(times, 30))


@dataclass(frozen=True, slots=True)
class Turn:
    """When a list is due. ``due_in_s`` below 0: so long ago. ``hinted``: somebody said that it has changed."""

    list_id: str
    due_in_s: float
    hinted: bool = False


def due(turns: Iterable[Turn]) -> list[str]:
    """The lists to ask now, in this order: hinted ones, then whichever has been due the longest."""
    waiting = [one for one in turns if one.hinted or one.due_in_s <= 0.0]
    return [one.list_id for one in sorted(waiting, key=lambda one: (not one.hinted, one.due_in_s, one.list_id))]


def sentence(graph: str, lists: int, bounds: PollBounds, licences: int, quota_share: float) -> str:
    """What polling comes to in a tenant with so many lists; ``bounds``: the least and the most of all their syncs."""
    even = even_s(lists, licences, quota_share)
    longest = longest_s(bounds, even)
    what = f"graph {graph}: {lists} {'list is' if lists == 1 else 'lists are'} asked for changes"
    share = f"{PART:.0%} of the quota"
    if even > bounds.most_s:
        return (
            f"{what} every {even:,.0f} s each by polling within {share}; the {bounds.most_s:g} s of `poll` cannot be "
            "kept: synchronise fewer lists both ways in this tenant, or buy it a larger quota"
        )
    at_rest = f"{round(longest, 1):,g} s"
    if longest <= bounds.least_s:
        return f"{what} every {at_rest} each, within {share}"
    return f"{what} every {bounds.least_s:g} s while they change and every {at_rest} at rest, within {share}"


@dataclass(frozen=True, slots=True)
class PolledList:
    """A list whose changes are collected for its sync.

    ``names``: internal names of the fields to keep. ``mapping_version`` and ``limits``: of the sync, for rows that have
    to write their items again.
    """

    list_id: str
    site_id: str
    sync: str
    names: frozenset[str]
    bounds: PollBounds
    mapping_version: int
    limits: Limits
