"""What administrators, operators and owners of lists do, in any order, between commits: an oracle for all of it.

A history is a Hypothesis run on a real world (`tests/e2e/crash/administration.py`): each step plays the next card of a
shuffled deck, with a number that Hypothesis draws. So a history of twelve steps meets twelve different acts, and the
next ones go on with the deck. ``ROWTIDE_ORACLE_SEED`` draws the same again; a history that fails is saved for
``make replay FILE=``.
"""

import itertools
import os
import random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.e2e.crash.administration import CARDS, STEPS, Administration
from tests.e2e.crash.deck import deal
from tests.e2e.crash.ground import OWN, SHARED


def machine(drawn: int, findings: list[str]) -> type[RuleBasedStateMachine]:
    """Histories dealt from one deck, until one finds something; the place of the state database takes turns.

    What is found is collected, not raised: Hypothesis would run the history again; a real world has no way back.
    """
    cards, places = deal(drawn, CARDS), itertools.cycle([OWN, SHARED])

    class Histories(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.history = None if findings else Administration(next(places))

        @rule(number=st.integers(0, 1 << 16))
        def play(self, number: int) -> None:
            if self.history is not None and not self.history.findings:
                self.history.play(next(cards), number)

        def teardown(self) -> None:
            if self.history is not None:
                try:
                    findings.extend(self.history.end(drawn))
                finally:
                    self.history.close()

    return Histories


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_any_history_of_administration_ends_equal() -> None:
    drawn = int(os.environ.get("ROWTIDE_ORACLE_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"ROWTIDE_ORACLE_SEED={drawn}")
    how = settings(
        max_examples=int(os.environ.get("ROWTIDE_ORACLE_HISTORIES", "3")),
        stateful_step_count=STEPS,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    findings: list[str] = []
    run_state_machine_as_test(seed(drawn)(machine(drawn, findings)), settings=how)
    assert findings == []
