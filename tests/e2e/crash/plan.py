"""What a crash history will do, drawn from a seed: rounds of kills with their faults, outages and acts.

In: a seed. Out: `Plan`, which is saved as JSON and run again by `make replay FILE=`. Rule: everything that is drawn
is in the plan or comes from its seed.
"""

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from state import failpoints

RANDOM = "random"
"""Killed at a random moment instead of at a failpoint."""

POINTS = (RANDOM, *sorted(failpoints.NAMES))
FAULTS = ("none", "late_5xx", "reset_after", "reset_before", "slow", "truncate", "garbage", "throttle")
OUTAGES = ("none", "state", "source", "slot")
"""Beside the killed process: the state database or the source is killed too, or the slot is dropped."""

PUSH, BOTH = WAYS = ("push", "both")
"""A shop that is pushed to lists, or a table that people change on both sides."""

ROLES = ("one", "split")
"""One process with all roles, or capture and deliver as two of which one is killed while the other goes on."""


def _batch(probability: float, action: str, **more: Any) -> dict[str, Any]:
    """A rule for whole ``$batch`` requests."""
    return {"path": r"\$batch$", "level": "request", "probability": probability, "action": action, **more}


def _member(probability: float, status: int, **more: Any) -> dict[str, Any]:
    """A rule for single members of a batch."""
    return {"level": "member", "probability": probability, "action": "status", "status": status, **more}


RULES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "late_5xx": [_member(0.15, 503, after_commit=True), _batch(0.1, "status", status=504, after_commit=True)],
    "reset_after": [_batch(0.15, "reset", after_commit=True)],
    "reset_before": [_batch(0.15, "reset")],
    "slow": [_batch(0.08, "delay", delay_ms=3500), _batch(0.2, "delay", delay_ms=300, after_commit=True)],
    "truncate": [_batch(0.15, "truncate", after_commit=True)],
    "garbage": [_batch(0.15, "garbage", after_commit=True)],
    "throttle": [_member(0.1, 429, retry_after=1)],
}


@dataclass(frozen=True, slots=True)
class Round:
    """One kill: where, at which hit or how long after its first work, under which faults, with which outage and act."""

    point: str
    hit: int
    after_s: float
    fault: str
    outage: str
    store: str
    act: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A history to run."""

    seed: int
    rounds: tuple[Round, ...]
    rows: int = 150
    roles: str = "one"
    state: str = "own"
    ways: str = "push"

    def to_json(self) -> str:
        """As it is saved."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """As it was saved."""
        data = json.loads(text)
        rounds = tuple(Round(**entry) for entry in data["rounds"])
        return cls(**{**data, "rounds": rounds})


def pairwise(seed: int) -> list[Round]:
    """Rounds in which every pair of values of two dimensions comes up, in a seeded order."""
    rng = random.Random(seed)
    dimensions: list[Sequence[str]] = [POINTS, FAULTS, OUTAGES, ("kept", "wiped")]
    missing = {
        (a, x, b, y)
        for a, b in itertools.combinations(range(len(dimensions)), 2)
        for x in dimensions[a]
        for y in dimensions[b]
    }
    rounds = []
    while missing:
        drawn = [[rng.choice(values) for values in dimensions] for _ in range(30)]
        best = max(drawn, key=lambda row: len(missing & _pairs(row)))
        if not missing & _pairs(best):
            a, x, b, y = rng.choice(sorted(missing))
            best[a], best[b] = x, y
        missing -= _pairs(best)
        rounds.append(_round(rng, *best))
    rng.shuffle(rounds)
    return rounds


def _pairs(row: Sequence[str]) -> set[tuple[int, str, int, str]]:
    return {(a, row[a], b, row[b]) for a, b in itertools.combinations(range(len(row)), 2)}


def _round(rng: random.Random, point: str, fault: str, outage: str, store: str) -> Round:
    # An outage in every second round at most: servers take their time to come back.
    outage = outage if rng.random() < 0.5 else "none"
    hit = rng.choice([1, 1, 2, 3, 5, 9])
    if point.startswith(("open.", "reconcile.")):
        # Passed only when an era begins, and then once or a few times.
        outage, hit = "slot", 1 if point.startswith("open.") else min(hit, 4)
    return Round(point, hit, round(rng.uniform(0.0, 1.5), 2), fault, outage, store)


def with_random_kills(seed: int, rounds: Sequence[Round]) -> list[Round]:
    """Each of ``rounds`` followed by a kill at a random moment, its faults, outage and store drawn too."""
    rng = random.Random(f"random {seed}")
    drawn = [
        _round(rng, RANDOM, rng.choice(FAULTS), rng.choice(OUTAGES), rng.choice(["kept", "kept", "wiped"]))
        for _ in rounds
    ]
    return [one for pair in zip(rounds, drawn, strict=True) for one in pair]


def with_acts(rounds: Sequence[Round], acts: Iterator[str]) -> list[Round]:
    """Each second of ``rounds`` with the next act of administration."""
    return [replace(one, act=next(acts)) if number % 2 else one for number, one in enumerate(rounds)]
