"""A share of the soak in `make test-long`; see tests/e2e/crash/soak.py."""

import os

import pytest

from tests.e2e.crash import soak


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_share_of_the_soak() -> None:
    budget_s = float(os.environ.get("ROWTIDE_SOAK_BUDGET_S", "420"))
    text, findings = soak.run(500, int(os.environ.get("ROWTIDE_CRASH_SEED", "0")), budget_s)
    print(text)
    assert findings == []
