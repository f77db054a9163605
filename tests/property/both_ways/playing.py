"""Many histories from one seed, and the first that is bad.

In: how many, the seed, the rules in force. Out: a `BadHistory`, or None. Called by the command and by the tests. Rule:
a history is its numbers alone, of which the first says who acts, so that a bad one can be played again and made
shorter.
"""

import random
from dataclasses import replace
from typing import NamedTuple

from rowtide.deciding.conflicts import TwoWayPolicy
from tests.property.both_ways.crowd import crowd_of
from tests.property.both_ways.history import History
from tests.property.both_ways.records_in_memory import Switches

POLICIES: tuple[TwoWayPolicy, ...] = ("postgres_wins", "sharepoint_wins", "latest_wins", "merge")


class BadHistory(NamedTuple):
    """Which one it was, its numbers, what did not hold."""

    place: int
    numbers: list[int]
    why: str


def without(rule: str) -> Switches:
    """All five rules but this one; an empty name leaves out none."""
    return replace(Switches(), **{rule: False}) if rule else Switches()


def play(numbers: list[int], switches: Switches) -> str | None:
    """What did not hold in the history of these numbers; None: all did."""
    first = numbers[0] if numbers else 0
    try:
        History(switches, POLICIES[first % 4], first % 8 < 4, crowd_of(first)).play(numbers[1:])
    except AssertionError as bad:
        return str(bad) or "an assertion of the core"
    return None


def bad_history(histories: int, seed: int, switches: Switches) -> BadHistory | None:
    """The first bad one of so many."""
    chance = random.Random(seed)
    for place in range(histories):
        numbers = [chance.randrange(1 << 30), *(chance.randrange(960) for _ in range(chance.randrange(60, 300)))]
        if (why := play(numbers, switches)) is not None:
            return BadHistory(place, shortened(numbers, switches, why), why)
    return None


def shortened(numbers: list[int], switches: Switches, why: str) -> list[int]:
    """The numbers without stretches that are not needed for the history to be bad in the same way."""
    size = len(numbers) // 2
    while size:
        start = 1  # the first says who acts
        while start < len(numbers):
            fewer = numbers[:start] + numbers[start + size :]
            now = play(fewer, switches)
            if now is not None and _way(now) == _way(why):
                numbers = fewer
            else:
                start += size
        size //= 2
    return numbers


def _way(why: str) -> list[str]:
    """What did not hold, without what it did not hold of."""
    return [word for word in why.split() if word.strip(":").isalpha()]
