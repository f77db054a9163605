"""Which server is the one that a session has to talk to: a table of what is expected and what answers."""

from dataclasses import replace

import pytest

from connectors.postgres.server_proof import ExpectedServer, FoundServer, mismatch
from connectors.postgres.slots import Slot

SLOT = Slot(
    name="s", plugin="pgoutput", database="d", active_pid=7, confirmed_lsn=0, restart_lsn=0, wal_status="reserved",
    safe_wal_size=None, lag_bytes=0, retained_bytes=0, failover=False, synced=False, temporary=False, two_phase=False,
    invalidation_reason=None, conflicting=False,
)  # fmt: skip
EXPECTED = ExpectedServer("here:5432/shop", "one", 2, 1000, "s", 7)
FOUND = FoundServer("one", 2, 1000, False, SLOT)
STANDBY = replace(FOUND, standby=True, slot=None)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (EXPECTED, FOUND),
        (EXPECTED, replace(FOUND, timeline=3, lsn=9000)),
        (replace(EXPECTED, walsender_pid=None), replace(FOUND, slot=replace(SLOT, active_pid=None))),
        (replace(EXPECTED, walsender_pid=None), replace(FOUND, slot=replace(SLOT, active_pid=8))),
        (replace(EXPECTED, slot=None), replace(FOUND, slot=None)),
        (EXPECTED, STANDBY),
        (EXPECTED, replace(STANDBY, slot=replace(SLOT, synced=True, active_pid=None))),
    ],
)
def test_the_expected_server(expected: ExpectedServer, found: FoundServer) -> None:
    assert mismatch(expected, found) is None


@pytest.mark.parametrize(
    ("found", "words", "passes"),
    [
        (replace(FOUND, system_id="two"), "its system id is two, not one", False),
        (replace(STANDBY, system_id="two"), "its system id is two, not one", False),
        (replace(FOUND, timeline=1), "it is on timeline 1, below 2", False),
        (replace(STANDBY, timeline=1), "it is on timeline 1, below 2", False),
        (replace(FOUND, lsn=999), "its WAL ends at 0/3E7, below 0/3E8", False),
        (replace(STANDBY, lsn=999), "its WAL ends at 0/3E7, below 0/3E8", True),
        (replace(FOUND, slot=None), "it has no slot s", False),
        (replace(FOUND, slot=replace(SLOT, active_pid=None)), "its slot s is read by nobody, not by PID 7", True),
        (replace(FOUND, slot=replace(SLOT, active_pid=8)), "its slot s is read by PID 8, not by PID 7", True),
        (replace(FOUND, standby=True, slot=replace(SLOT, active_pid=8)), "its slot s is read by PID 8", True),
    ],
)
def test_another_server(found: FoundServer, words: str, passes: bool) -> None:
    wrong = mismatch(EXPECTED, found)
    assert wrong is not None
    assert words in wrong.said
    assert wrong.passes is passes
