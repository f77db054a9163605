"""Who acts in a history, and how often: all of it alike, or few things many times.

In: the history's first number. Out: a `Crowd`. Rules: half of the histories are `EVERYBODY`'s, in which anything may
follow anything; in the others a few kinds of acts come again and again, mostly of one row, and a process takes several
steps in a row, so that what needs a dozen steps in one order comes about.
"""

import random
from dataclasses import dataclass
from enum import Enum

FATES = (0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 5)
"""What becomes of a step: done; carried out late, never, or unanswered; the process dies, or stands still."""
_WELL = (0,) * 12
_BADLY = (0, 0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 5)


class Act(Enum):
    """Who acts next."""

    ROW = 0
    ITEM = 1
    CAPTURE = 2
    COLLECT = 3
    DELIVER = 4
    PULL = 5
    REST = 6


_PROCESSES = (Act.CAPTURE, Act.COLLECT, Act.DELIVER, Act.PULL)


@dataclass(frozen=True)
class Crowd:
    """``rows`` and ``items``: what people do to them (`History`); ``steps``: how many a process takes, one of these.

    ``at_rest``: a row has its item before anything else happens.
    """

    acts: tuple[Act, ...]
    rows: tuple[int, ...]
    items: tuple[int, ...]
    keys: tuple[str, str]
    fates: tuple[int, ...]
    steps: tuple[int, ...]
    at_rest: bool

    def steps_of(self, act: Act, number: int) -> int:
        """How often the act is done."""
        return self.steps[number % len(self.steps)] if act in _PROCESSES else 1


EVERYBODY = Crowd(
    acts=(Act.ROW, Act.ITEM, Act.CAPTURE) * 2 + (Act.COLLECT, Act.DELIVER, Act.PULL) * 3 + (Act.REST,),
    rows=tuple(range(10)),
    items=tuple(range(12)),
    keys=("1", "2"),
    fates=FATES,
    steps=(1,),
    at_rest=False,
)


def crowd_of(number: int) -> Crowd:
    """The crowd of the history whose first number this is."""
    chance = random.Random(number)
    if chance.random() < 0.5:
        return EVERYBODY
    weights = [chance.choice((1, 2, 4)) for _ in Act]
    weights[Act.REST.value] = chance.choice((0, 0, 1))
    return Crowd(
        acts=tuple(chance.choices(list(Act), weights=weights, k=64)),
        rows=tuple(chance.choices((0, 1, 2, 3, 4, 5, 6, 8, 9, 9, 9), k=chance.choice((2, 3, 6)))),
        items=tuple(chance.choices((0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11), k=chance.choice((2, 3, 6)))),
        keys=("1", "1") if chance.random() < 0.7 else ("1", "2"),
        fates=chance.choice((_WELL, _WELL, FATES, _BADLY)),
        steps=(1, 1, 2, chance.choice((2, 4, 8))),
        at_rest=chance.random() < 0.7,
    )
