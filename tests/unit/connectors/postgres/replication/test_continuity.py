"""The decision on every connect, as a table."""

from dataclasses import dataclass, replace

import pytest

from connectors.postgres.replication.continuity import Continue, NewIncarnation, System, continuity
from connectors.postgres.slots import Slot
from rowtide.transaction import CommittedTransaction


@dataclass(frozen=True)
class Cursor:
    incarnation: int = 4
    lsn: int = 1000
    system_id: str = "s"
    timeline: int = 1
    staged_lsn: int = 1200
    staged: CommittedTransaction | None = None
    publication_oid: int = 16400
    address: str = ""
    owner: str = ""
    owner_since_lsn: int = 0
    heartbeat: int = 0


CURSOR = Cursor()
LAST = CommittedTransaction(950, 70, 1)
STAGED = replace(CURSOR, staged_lsn=950, staged=LAST)
SYSTEM = System("s", 1, 2000, 16400)
SLOT = Slot(
    name="slot",
    plugin="pgoutput",
    database="d",
    active_pid=None,
    confirmed_lsn=900,
    restart_lsn=800,
    wal_status="reserved",
    safe_wal_size=None,
    lag_bytes=1100,
    retained_bytes=1200,
    failover=False,
    synced=False,
    temporary=False,
    two_phase=False,
    invalidation_reason=None,
    conflicting=False,
)

CASES = [
    ("all well", CURSOR, SYSTEM, SLOT, None),
    ("slot exactly at the cursor", CURSOR, SYSTEM, replace(SLOT, confirmed_lsn=1000), None),
    ("WAL ends exactly at what was staged", CURSOR, replace(SYSTEM, wal_end=1200), SLOT, None),
    ("first start", None, SYSTEM, SLOT, ("first_start", 1, False)),
    ("first start without a slot", None, SYSTEM, None, ("first_start", 1, True)),
    ("first start with a lost slot", None, SYSTEM, replace(SLOT, wal_status="lost"), ("first_start", 1, True)),
    ("slot gone", CURSOR, SYSTEM, None, ("slot_missing", 5, True)),
    ("slot lost", CURSOR, SYSTEM, replace(SLOT, wal_status="lost"), ("slot_lost", 5, True)),
    ("slot invalidated", CURSOR, SYSTEM, replace(SLOT, invalidation_reason="idle_timeout"), ("slot_lost", 5, True)),
    ("slot conflicting", CURSOR, SYSTEM, replace(SLOT, conflicting=True), ("slot_lost", 5, True)),
    ("a person accepted another system", replace(CURSOR, system_id=""), SYSTEM, SLOT, ("source_accepted", 5, False)),
    ("a higher timeline", CURSOR, replace(SYSTEM, timeline=2), SLOT, ("new_timeline", 5, False)),
    ("a lower timeline", replace(CURSOR, timeline=3), SYSTEM, SLOT, ("new_timeline", 5, False)),
    (
        "another publication of that name",
        CURSOR,
        replace(SYSTEM, publication_oid=16500),
        replace(SLOT, confirmed_lsn=1001),
        ("publication_recreated", 5, True),
    ),
    ("slot ahead by one byte", CURSOR, SYSTEM, replace(SLOT, confirmed_lsn=1001), ("slot_ahead", 5, False)),
    ("WAL below what was staged", CURSOR, replace(SYSTEM, wal_end=1199), SLOT, ("wal_behind", 5, False)),
    ("next xid just above what was staged", STAGED, replace(SYSTEM, next_xid=71), SLOT, None),
    ("next xid not above what was staged", STAGED, replace(SYSTEM, next_xid=70), SLOT, ("xid_behind", 5, False)),
    ("a standby says no next xid", STAGED, SYSTEM, SLOT, None),
    (
        "WAL below the cursor",
        replace(CURSOR, staged_lsn=0),
        replace(SYSTEM, wal_end=999),
        SLOT,
        ("wal_behind", 5, False),
    ),
]


@pytest.mark.parametrize(("what", "cursor", "system", "slot", "expected"), CASES, ids=[case[0] for case in CASES])
def test_continuity(
    what: str, cursor: Cursor | None, system: System, slot: Slot | None, expected: tuple[str, int, bool] | None
) -> None:
    verdict = continuity(cursor, system, slot)
    if expected is None:
        assert isinstance(verdict, Continue)
        assert slot is not None
        assert (verdict.incarnation, verdict.lsn) == (4, slot.confirmed_lsn)
    else:
        assert isinstance(verdict, NewIncarnation)
        assert (verdict.code, verdict.incarnation, verdict.recreate) == expected
        assert verdict.gap == (cursor is not None)


@pytest.mark.parametrize(("confirmed_lsn", "awaits"), [(900, LAST), (950, LAST), (951, None)])
def test_what_the_slot_sends_again_is_awaited(confirmed_lsn: int, awaits: CommittedTransaction | None) -> None:
    verdict = continuity(STAGED, SYSTEM, replace(SLOT, confirmed_lsn=confirmed_lsn))
    assert verdict == Continue(4, confirmed_lsn, awaits)


def test_nothing_is_awaited_before_anything_was_staged() -> None:
    assert continuity(CURSOR, SYSTEM, SLOT) == Continue(4, 900, None)
