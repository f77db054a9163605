"""The claiming thread against a state database that fails it."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

import pytest

from connectors.claimer import Claimer, Quota
from connectors.due_lines import DueLines
from connectors.graph.budget import Budget
from connectors.graph.settings import ClientSecret, GraphSettings
from rowtide.change import INTERACTIVE, Change, ChangeBatch, Operation
from rowtide.deciding.records import Work
from rowtide.keys import LANES
from state import database, failpoints, outbox
from state.database import Link
from tests.failpoints import Failpoints
from tests.integration.streams import open_era


class Plenty:
    """A quota that nobody exhausts."""

    def take(self, wanted: int, least: int) -> int:
        return wanted

    def refund(self, units: float) -> None:
        """Nothing to count."""

    def quota_wait_s(self) -> float:
        return 0.0


def nothing_to_read(syncs: Collection[str]) -> None:
    raise AssertionError(f"no row of {syncs} has to be read")


def no_waits(_graph: str) -> Mapping[str, float]:
    """No list fails."""
    return {}


def no_more_to_do(_link: Link, _syncs: Sequence[str]) -> None:
    """Nothing is to be done before a survey."""


class Breaker:
    """Lets every deletion through that is claimed, but for the first ``refusals`` times."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.asked: list[Mapping[str, int]] = []

    def admit(self, _link: Link, syncs: Collection[str]) -> Collection[str]:
        return syncs

    def may_go(self, deletes: Mapping[str, int]) -> bool:
        self.asked += [deletes] if deletes else []
        self.refusals -= bool(deletes)
        return not deletes or self.refusals < 0


def claim_until_there(
    dsn: str,
    connection: database.Connection,
    prepare: Callable[[Link, Sequence[str]], None] = no_more_to_do,
    others: Mapping[str, Quota] | None = None,
    op: Operation = "u",
    breaker: Breaker | None = None,
) -> Work:
    """The work of the one row that is staged here, once a claimer has it; ``others``: tenants that come before it."""
    change = Change("1", op, None if op == "d" else "Orders", {"Title": "one"}, False, 100, 0, 7, 0, INTERACTIVE, None)
    open_era(connection, ["orders"])
    outbox.stage(connection, "slot", [ChangeBatch("orders", 1, 1, [change])])
    lists = {"orders": {"Orders": "list"}}
    quotas: dict[str, Quota] = {**(others or {}), "contoso": Plenty()}
    syncs = {graph: {"orders" if graph == "contoso" else f"of {graph}": 1} for graph in quotas}
    judge = breaker or Breaker()
    claimer = Claimer(dsn, "p0", quotas, lambda: syncs, lambda: lists, no_waits, nothing_to_read, prepare, judge)
    for lane in range(LANES):
        claimer.own(lane)
    claimer.start()
    try:
        works: list[Work] = []
        end = time.monotonic() + 60
        while not works and time.monotonic() < end:
            works = [work for lane in range(LANES) for work in claimer.take(lane)]
            threading.Event().wait(0.02)
    finally:
        claimer.stop()
    [work] = works
    return work


def test_a_claim_whose_answer_was_lost_is_made_anew_at_once(state_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the lease is over: nothing was sent, and nobody else knows of it."""
    monkeypatch.setattr(failpoints, "_of_process", Failpoints("claim.after_lease=raise@1"))
    with database.connect(state_dsn) as connection:
        work = claim_until_there(state_dsn, connection)
        assert not work.desired.uncertain
        [(sent,)] = connection.execute("SELECT jsonb_array_length(sent) FROM rowtide.outbox").fetchall()
        assert sent == 1


def test_deletions_that_nobody_has_judged_are_given_back_as_if_they_were_not_claimed(state_dsn: str) -> None:
    """They came between the count and the claim."""
    ledger = (
        "INSERT INTO rowtide.ledger (sync, key, list_id, item_id, etag, base, mapping_version, era, lsn, ordinal, xid,"
        " state) VALUES ('orders', '1', 'list', '1', 'e,1', '{}', 1, 1, 1, 0, 1, 'live')"
    )
    breaker = Breaker(refusals=2)
    with database.connect(state_dsn) as connection:
        connection.execute(ledger)
        work = claim_until_there(state_dsn, connection, op="d", breaker=breaker)
        assert breaker.asked == [{"orders": 1}] * 3
        assert not work.desired.uncertain


def test_an_unexpected_error_does_not_end_the_claiming(state_dsn: str) -> None:
    failures = [KeyError("a sync that was taken out meanwhile")]

    def prepare(_link: Link, _syncs: Sequence[str]) -> None:
        if failures:
            raise failures.pop()

    with database.connect(state_dsn) as connection:
        work = claim_until_there(state_dsn, connection, prepare)
    assert failures == []
    assert not work.desired.uncertain


def test_tenants_that_wait_cost_the_others_no_time(state_dsn: str) -> None:
    others: dict[str, Quota] = {}
    for number in range(30):
        name = f"gated {number}"
        others[name] = budget = Budget(GraphSettings(name, "t", "c", ClientSecret("s")))
        budget.close_gate(300.0)
    with database.connect(state_dsn) as connection:
        began = time.monotonic()
        claim_until_there(state_dsn, connection, others=others)
        assert time.monotonic() - began < 8  # half a second each would be 15


def test_a_claimer_with_nothing_to_do_sleeps(state_dsn: str) -> None:
    """All syncs may be paused, for days."""
    rounds: list[float] = []

    def prepare(_link: Link, _syncs: Sequence[str]) -> None:
        rounds.append(time.monotonic())

    quotas: dict[str, Quota] = {"contoso": Plenty()}
    claimer = Claimer(
        state_dsn, "p0", quotas, lambda: {"contoso": {}}, dict, no_waits, nothing_to_read, prepare, Breaker()
    )
    claimer.own(0)
    claimer.start()
    try:
        end = time.monotonic() + 30
        while len(rounds) < 4 and time.monotonic() < end:
            threading.Event().wait(0.02)
    finally:
        claimer.stop()
    assert rounds[3] - rounds[1] > 0.5


def test_of_a_list_that_fails_one_row_is_claimed_when_it_may_be_tried(state_dsn: str) -> None:
    """The others stay where they are: they would only be handed back, and take the tenant's units along meanwhile."""
    waits, rounds = {"bad": 60.0}, 0

    def prepare(_link: Link, _syncs: Sequence[str]) -> None:
        nonlocal rounds
        rounds += 1

    def waits_of(_graph: str) -> Mapping[str, float]:
        found = dict(waits)
        waits["bad"] = 60.0  # as the writer says while a row is tried
        return found

    changes = [
        Change(f"{title} {number}", "u", title, {"Title": "t"}, False, 100, number, 7, 0, INTERACTIVE, None)
        for number in range(5)
        for title in ("Bad", "Good")
    ]
    lists, quotas = {"orders": {"Bad": "bad", "Good": "good"}}, {"contoso": cast(Quota, Plenty())}
    with database.connect(state_dsn) as connection:
        open_era(connection, ["orders"])
        outbox.stage(connection, "slot", [ChangeBatch("orders", 1, 1, changes)])
    claimer = Claimer(
        state_dsn,
        "p0",
        quotas,
        lambda: {"contoso": {"orders": 1}},
        lambda: lists,
        waits_of,
        nothing_to_read,
        prepare,
        Breaker(),
    )
    claimed: list[str] = []

    def wait_until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not condition() and time.monotonic() < end:
            claimed.extend(work.desired.target or "" for lane in range(LANES) for work in claimer.take(lane))
            threading.Event().wait(0.02)

    for lane in range(LANES):
        claimer.own(lane)
    claimer.start()
    try:
        wait_until(lambda: len(claimed) == 5 and rounds > 3)
        assert claimed == ["Good"] * 5
        waits["bad"] = 0.0
        wait_until(lambda: len(claimed) == 6)
        seen = rounds
        wait_until(lambda: rounds > seen + 2)
    finally:
        claimer.stop()
    assert claimed == ["Good"] * 5 + ["Bad"]


def test_a_survey_that_waited_for_the_database_does_not_put_off_the_next(state_dsn: str) -> None:
    """It took a minute because a server had to recover, not because there is so much to look at."""
    times = iter([0.0, 60.0, 60.0])
    due = DueLines(lambda: next(times))
    link = Link(state_dsn)
    due.survey(link, ["orders"])
    link.close()
    assert 0 < due.wait_s() <= 5
