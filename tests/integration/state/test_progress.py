"""The figures of each sync agree with outbox and ledger: counted once, in the transaction that writes the fact."""

import random
import signal
import threading
from collections.abc import Callable
from typing import Any

from rowtide.change import Change, ChangeBatch
from rowtide.deciding.outcomes import Outcome, ParkRow, Release, Settle
from rowtide.deciding.records import AsOf, ETag, Held, ItemId, ListId, PairedItem, Work
from state import database, failpoints, outbox, progress
from tests.integration.forks import preload, run_forked

preload(__name__)

MakePair = Callable[..., Any]


def settled(work: Work, make_pair: MakePair, writes: int = 1, **flags: Any) -> Settle:
    """The outcome of a successful write of what ``work`` wants."""
    desired = work.desired
    position = desired.position
    pair = make_pair(position.lsn, position.ordinal, position.era, base=desired.fields, item_id=f"item-{desired.key}")
    return Settle(work, pair, writes, **flags)


def totals(records: Any, sync: str = "orders") -> tuple[int, int, int, int, int, float]:
    """Changes, delivered, writes, suppressed, foreign edits and resource units of the sync."""
    did = progress.read(records.conn).get(sync)
    if did is None:
        return (0, 0, 0, 0, 0, 0.0)
    return (did.changes, did.delivered, did.writes, did.suppressed, did.foreign_edits, did.ru_used)


def test_each_change_of_the_stream_counts_once(records: Any, make_change: Any) -> None:
    assert records.stage(make_change("1"), make_change("2", ordinal=1)).new == {"orders": 2}
    merged = records.stage(make_change("1", lsn=101))
    assert (merged.merged, merged.new) == (1, {"orders": 1})
    again = records.stage(make_change("1"), make_change("2", ordinal=1), make_change("1", lsn=101))
    assert (again.dropped, again.new) == (2, {})
    parked = records.stage(make_change("3", lsn=102, park=("value_too_long", "Too long.")))
    assert parked.new == {"orders": 1}
    assert totals(records)[0] == 4


def test_an_overtaken_change_counts_unless_it_was_counted_before(records: Any, make_change: Any) -> None:
    """After a restart the merge step folds what was staged before the kill with what was not."""
    records.stage(make_change("1", lsn=100, ordinal=7))
    newest = ChangeBatch("orders", 1, 1, [make_change("1", lsn=101, ordinal=2)], [(100, 7), (100, 8), (101, 0)])
    assert outbox.stage(records.conn, "slot", [newest]).new == {"orders": 3}
    assert outbox.stage(records.conn, "slot", [newest]).new == {}
    assert totals(records)[0] == 4


def test_the_rest_of_a_transaction_that_came_in_pieces_counts(records: Any, make_change: Any) -> None:
    records.stage(*[make_change(str(number), ordinal=number) for number in range(10)])
    assert records.stage(*[make_change(str(number), ordinal=number) for number in range(5, 15)]).new == {"orders": 5}
    records.open_era(2)
    assert records.stage(make_change("1", lsn=60), era=2).new == {"orders": 1}
    assert totals(records)[0] == 16


def test_a_call_that_is_staged_in_halves_counts_once(records: Any, make_change: Any) -> None:
    changes = [make_change(str(number), ordinal=number) for number in range(50)]
    changes[17] = changes[17]._replace(fields={"Title": "nul \0 byte"})
    assert records.stage(*changes).new == {"orders": 50}
    assert records.stage(*changes).new == {}
    assert totals(records)[0] == 50


def test_a_settle_counts_what_it_applied(records: Any, make_change: Any, make_pair: MakePair) -> None:
    records.stage(*[make_change(key) for key in "123456"])
    works = {work.desired.key: work for work in records.claim()}
    outcomes: list[Outcome] = [
        settled(works["1"], make_pair, writes=1),
        settled(works["2"], make_pair, writes=0),
        settled(works["3"], make_pair, writes=2, again=True),
        settled(works["4"], make_pair, writes=1, foreign_edit=True),
        Release(works["5"], 5, unknown=False),
        ParkRow(works["6"], "x", "y"),
    ]
    did = outbox.settle(records.conn, outcomes).by_sync["orders"]
    assert (did.delivered, did.released, did.parked, len(did.latencies_s)) == (3, 1, 1, 3)
    assert totals(records) == (6, 3, 4, 1, 1, 8.0)
    outbox.settle(records.conn, [settled(records.claim_one(), make_pair)])
    assert totals(records) == (6, 4, 5, 1, 1, 10.0)
    assert sum(progress.read(records.conn)["orders"].latency) == 4


def test_an_outcome_whose_lease_passed_counts_nothing(records: Any, make_change: Any, make_pair: MakePair) -> None:
    records.stage(make_change("1"))
    late = records.claim_one()
    records.set("1", "lease_until = now() - interval '1 second'")
    work = records.claim_one()
    counts = outbox.settle(records.conn, [settled(late, make_pair)])
    assert (counts.stale, counts.by_sync) == (1, {})
    outbox.settle(records.conn, [settled(work, make_pair)])
    outbox.settle(records.conn, [settled(work, make_pair), settled(late, make_pair)])
    assert totals(records)[:3] == (1, 1, 1)


def test_processes_that_count_the_same_syncs_lose_nothing(records: Any, make_change: Any, make_pair: MakePair) -> None:
    """Each of four settles rows of three syncs in an order of its own, while a fifth stages: no deadlock gets out."""
    syncs = ["customers", "invoices", "orders"]
    records.open_era(syncs=syncs)
    for lsn, sync in enumerate(syncs, 100):
        records.stage(*[make_change(str(number), lsn=lsn) for number in range(80)], sync=sync)
    outcomes = [settled(work, make_pair) for work in records.claim(limit=240, syncs=syncs)]
    for index, outcome in enumerate(outcomes):
        outcomes[index] = Settle(outcome.work, make_pair(item_id=f"item-{index}"), 1)
    random.Random(3).shuffle(outcomes)
    failed: list[BaseException] = []

    def run(act: Callable[[database.Connection, int], object]) -> None:
        link = database.Link(records.dsn)
        try:
            for number in range(12):
                link.run(lambda connection, number=number: act(connection, number))  # type: ignore[misc]
        except BaseException as error:
            failed.append(error)
        finally:
            link.close()

    def stage(connection: database.Connection, number: int) -> None:
        batches = [ChangeBatch(sync, 1, 1, [make_change(f"new {number}", lsn=200 + number)]) for sync in syncs]
        outbox.stage(connection, "slot", batches)

    def settle_share(share: int) -> Callable[[database.Connection, int], object]:
        return lambda connection, number: outbox.settle(connection, outcomes[share * 60 :][5 * number : 5 * number + 5])

    acts = [*(settle_share(share) for share in range(4)), stage]
    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert [totals(records, sync)[:2] for sync in syncs] == [(92, 80)] * 3


def stage_twenty(dsn: str) -> None:
    """Stage one transaction of twenty changes, and one that they overtook."""
    changes = [Change(str(n), "u", "L", {"A": n}, False, 101, n + 1, 9, 0, 2) for n in range(20)]
    with database.connect(dsn) as connection:
        outbox.stage(connection, "slot", [ChangeBatch("orders", 1, 1, changes, [(101, 0)])])


def deliver_all(dsn: str, token: str) -> None:
    """Settle every waiting row, four at a time."""
    with database.connect(dsn) as connection:
        rows = dict.fromkeys(outbox.survey(connection, ["orders"]), 4)
        request = outbox.ClaimRequest(rows, "p0", token, 0.0, {"orders": {"L": "l"}})
        while works := outbox.claim(connection, request).works:
            outbox.settle(connection, [delivered(work) for work in works])


def delivered(work: Work) -> Settle:
    """The outcome of a write of what the work wants."""
    wanted = work.desired
    item = PairedItem(ListId("l"), ItemId(wanted.key), ETag('"g,1"'), wanted.fields, {})
    return Settle(work, Held(AsOf(wanted.position, wanted.xid, 1), item), 1)


def test_after_each_kill_the_counts_are_what_the_records_say(records: Any) -> None:
    """Killed before and after the commit of a stage, and at each settle of a delivery; then run to the end."""

    def agree() -> None:
        [(rows,)] = records.conn.execute("SELECT count(*) FROM rowtide.outbox").fetchall()
        [(pairs,)] = records.conn.execute("SELECT count(*) FROM rowtide.ledger").fetchall()
        changes, delivered, writes, _, _, ru_used = totals(records)
        assert changes == (21 if rows + pairs else 0)
        assert (delivered, writes, ru_used) == (pairs, pairs, 2.0 * pairs)

    for trap in (f"{failpoints.STAGE_BEFORE_COMMIT}=kill", f"{failpoints.STAGE_AFTER_COMMIT}=kill", ""):
        assert run_forked(stage_twenty, records.dsn, trap=trap) == (-signal.SIGKILL if trap else 0)
        agree()
    attempts = 0
    for name in (failpoints.SETTLE_BEFORE_COMMIT, failpoints.SETTLE_AFTER_COMMIT, failpoints.CLAIM_AFTER_LEASE):
        for hit in (1, 2):
            attempts += 1
            code = run_forked(deliver_all, records.dsn, f"token-{attempts}", trap=f"{name}=kill@{hit}")
            assert code == -signal.SIGKILL
            agree()
    assert run_forked(deliver_all, records.dsn, "last") == 0
    agree()
    assert totals(records)[:2] == (21, 20)
    assert run_forked(stage_twenty, records.dsn) == 0
    assert totals(records)[:2] == (21, 20)
