"""Cards in a seeded order: each comes up before any comes twice.

In: a seed, the names of the cards. Out: names, for ever. Rule: shared by the soak and the histories of administration,
so that as few histories as possible meet every act. *Reason:* whoever draws each card by itself, as Hypothesis does
with rules, meets some five times and others never.
"""

import random
from collections.abc import Iterator, Sequence


def deal(seed: object, cards: Sequence[str]) -> Iterator[str]:
    """The cards, shuffled anew each time all of them have been dealt."""
    rng = random.Random(f"deck {seed}")
    while True:
        yield from rng.sample(sorted(cards), len(cards))
