"""Who wins."""

from typing import get_args

import pytest

from rowtide.deciding.conflicts import Conflict, Policy, Winner, winner


@pytest.mark.parametrize("policy", get_args(Policy))
@pytest.mark.parametrize("conflict", Conflict)
def test_postgresql_wins_every_conflict_that_push_can_meet(conflict: Conflict, policy: Policy) -> None:
    assert winner(conflict, policy) is Winner.POSTGRES
