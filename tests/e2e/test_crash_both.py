"""A share of the soak both ways in `make test-long`; see tests/e2e/crash/both."""

import os

import pytest

from tests.e2e.crash import soak
from tests.e2e.crash.plan import BOTH


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_share_of_the_soak_both_ways() -> None:
    budget_s = float(os.environ.get("ROWTIDE_SOAK_BUDGET_S", "300"))
    text, findings = soak.run(500, int(os.environ.get("ROWTIDE_CRASH_SEED", "0")), budget_s, BOTH)
    print(text)
    assert findings == []
