"""A share of the soak in `make test-long`; see tests/e2e/crash/soak.py."""

import os

import pytest

from tests.e2e.crash import soak


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_share_of_the_soak(capsys: pytest.CaptureFixture[str]) -> None:
    budget_s = os.environ.get("ROWTIDE_SOAK_BUDGET_S", "420")
    with capsys.disabled():
        assert (
            soak.main(["--kills", "500", "--budget-s", budget_s, "--seed", os.environ.get("ROWTIDE_CRASH_SEED", "0")])
            == 0
        )
