"""The matrix of neighbours goes on: what tenants, processes, people and very large deletions do to the others.

In: one stack with the sync ``orders``, whose latency counts, ``near`` in the same tenant, ``far`` in another one, and
``bulk``, none of whose rows is in its list. Rule: the latency is held against the undisturbed one of the
same test.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from demo.postgres import Cluster
from tests.e2e.stack import SECRET, Stack, wait_until
from tests.e2e.test_neighbours import FEW, ROWS, START_FLOOR_S, in_graph, mend, restart_s, update
from tests.e2e.two_tenants import OTHER, SAMPLES, SYNC, Table, assert_as_quick, is_loaded, latency_s, two_tenants

DELETIONS = 100_000

pytestmark = [pytest.mark.long, pytest.mark.latency]


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """A process runs, and every list is as its table."""
    tables = {"orders": Table("contoso", 40), "near": Table("contoso", ROWS), "far": Table("fabrikam", ROWS)}
    with two_tenants(pg, tables) as stack:
        stack.start()
        wait_until(lambda: all(is_loaded(stack, name) for name in tables), "loaded", 120)
        yield stack


@contextmanager
def refused_token(stack: Stack) -> Iterator[None]:
    """Graph takes the tenant's token no more."""
    stack.simulator.set_faults([{"client": OTHER, "level": "request", "status": 401}])
    yield
    stack.simulator.clear_faults()


@contextmanager
def silence(stack: Stack) -> Iterator[None]:
    """Nothing that is asked of the tenant is answered."""
    stack.simulator.set_faults([{"client": OTHER, "level": "request", "action": "delay", "delay_ms": 60_000}])
    yield
    stack.simulator.clear_faults()


@contextmanager
def closed_gate(stack: Stack) -> Iterator[None]:
    """Graph throttles the tenant again and again."""
    stack.simulator.set_faults([{"client": OTHER, "level": "request", "status": 429, "retry_after": 15}])
    yield
    stack.simulator.clear_faults()


TENANTS: dict[str, Any] = {"refuses its token": refused_token, "hangs": silence, "is throttled": closed_gate}


@pytest.mark.parametrize("trouble", TENANTS)
def test_a_tenant_in_trouble(stack: Stack, trouble: str) -> None:
    """Few rows and thousands, midway and at the start."""
    start_s = restart_s(stack, f"before {trouble}")
    before = latency_s(stack, f"before {trouble}", SAMPLES)
    found: dict[str, float] = {}
    fault: AbstractContextManager[None] = TENANTS[trouble](stack)
    with fault:
        for rows in (FEW, ROWS):
            update(stack, "far", rows)
            wait_until(lambda: stack.simulator.ask("faults")["rules"][0]["hits"] > 0, "it strikes", 30)
            found[f"midway, {rows}"] = latency_s(stack, f"{trouble}, {rows}", SAMPLES)
        started_s = restart_s(stack, f"start {trouble}")
        found["at the start"] = latency_s(stack, f"start {trouble}", SAMPLES)
    mend(stack, "far")
    assert_as_quick(found, before)
    assert_as_quick({"started": started_s}, start_s, START_FLOOR_S)


def test_a_wrong_secret_at_the_start(stack: Stack) -> None:
    start_s = restart_s(stack, "before the secret")
    before = latency_s(stack, "before the secret", SAMPLES)
    update(stack, "far", ROWS)
    stack.environment["ROWTIDE_OTHER_SECRET"] = "wrong"
    started_s = restart_s(stack, "the secret", lambda: update(stack, "far", ROWS))
    during = latency_s(stack, "beside the secret", SAMPLES)
    stack.environment["ROWTIDE_OTHER_SECRET"] = SECRET
    restart_s(stack, "after the secret")
    mend(stack, "far")
    assert_as_quick({"during": during}, before)
    assert_as_quick({"started": started_s}, start_s, START_FLOOR_S)


@contextmanager
def claimed(stack: Stack, name: str) -> Iterator[None]:
    """Rows of the sync are claimed and under way all the while: their list answers after seconds."""
    leased = "SELECT count(*) FROM rowtide.outbox WHERE sync = %s AND lease_until > now()"
    with in_graph(action="delay", delay_ms=6_000)(stack, name) as has_struck:
        update(stack, name, ROWS)
        wait_until(has_struck, "rows are under way", 30)
        assert stack.state(leased, name) != [(0,)]
        yield


@pytest.mark.parametrize("name", ["near", "far"])
def test_a_sync_that_is_paused_while_its_rows_are_claimed(stack: Stack, name: str) -> None:
    before = latency_s(stack, f"before the pause of {name}", SAMPLES)
    with claimed(stack, name):
        stack.command("pause", name)
        during = latency_s(stack, f"beside the pause of {name}", SAMPLES)
    stack.command("resume", name)
    mend(stack, name)
    assert_as_quick({"during": during}, before)


def test_a_sync_that_is_added_while_rows_are_claimed(stack: Stack) -> None:
    """And one that is taken out again: no thread of the process meets what it does not expect."""
    process = stack.processes[-1]
    before = latency_s(stack, "before the addition", SAMPLES)
    text = stack.config.read_text()
    stack.sql("CREATE TABLE added (id bigint PRIMARY KEY, note text)")
    stack.sql("INSERT INTO added SELECT n, 'note' FROM generate_series(1, 40) n")
    found = {}
    with claimed(stack, "near"):
        stack.config.write_text(text + SYNC.format(name="added", graph="contoso"))
        stack.apply()
        found["beside the addition"] = latency_s(stack, "beside the addition", SAMPLES)
        wait_until(lambda: is_loaded(stack, "added"), "the added sync loads beside it", 30)
    with claimed(stack, "added"):
        stack.config.write_text(text)
        stack.apply()
        found["beside its end"] = latency_s(stack, "beside its end", SAMPLES)
    leased = "SELECT count(*) FROM rowtide.outbox WHERE sync = 'added' AND lease_until > now()"
    wait_until(lambda: stack.state(leased) == [(0,)], "its rows are given back")
    stack.state("DELETE FROM rowtide.outbox WHERE sync = 'added'")  # they stay as they are until it comes back
    mend(stack, "near")
    assert process.poll() is None
    assert "loop failed" not in stack.logged()
    assert_as_quick(found, before)


def test_a_breaker_that_holds_thousands_of_deletions(stack: Stack) -> None:
    """They are judged at each claim of their sync, and nobody else's."""
    before = latency_s(stack, "before the breaker", SAMPLES)
    held = "INSERT INTO rowtide.hold (scope, object, kind, code, reason, actor) VALUES ('sync', 'near', %s, %s, %s, %s)"
    stack.state(held, "refused", "list_of_other_instance", "held by a guard", "the test")
    stack.sql("DELETE FROM near WHERE id > %s", ROWS // 2)
    during = latency_s(stack, "beside the breaker", SAMPLES)
    stack.state("DELETE FROM rowtide.hold")
    mend(stack, "near")
    stack.sql("INSERT INTO near SELECT n, 'back' FROM generate_series(%s::int, %s::int) n", ROWS // 2 + 1, ROWS)
    wait_until(lambda: is_loaded(stack, "near"), "back again", 120)
    assert_as_quick({"during": during}, before)


@pytest.mark.parametrize("name", ["near", "far"])
def test_a_peer_that_is_killed_with_claimed_rows(stack: Stack, name: str) -> None:
    """Its rows are free again within seconds, and an update of another sync is as quick as ever."""
    before = latency_s(stack, f"before the peer for {name}", SAMPLES)
    held = stack.directory / f"held-{name}"
    held.touch()
    peer = stack.start("--roles", "deliver", "--process-id", "1", failpoints=f"deliver.before_send=pause:{held}")
    stack.wait_ready(peer)
    leased = "SELECT count(*) FROM rowtide.outbox WHERE lease_owner LIKE 'rowtide:deliver:1/_%' AND lease_until > now()"

    def has_some() -> bool:
        update(stack, name, ROWS)
        return stack.state(leased) != [(0,)]

    wait_until(has_some, "it has claimed rows")
    peer.kill()
    peer.wait()
    stack.processes.remove(peer)
    latency_s(stack, f"behind the updates of {name}", 2)  # changes are captured in the order of their commits
    during = latency_s(stack, f"beside the dead peer for {name}", SAMPLES)
    mend(stack, name)
    assert_as_quick({"during": during}, before)


def test_a_sync_that_is_removed_while_its_rows_are_claimed(stack: Stack) -> None:
    """No test may follow that has near."""
    process = stack.processes[-1]
    before = latency_s(stack, "before the removal", SAMPLES)
    near = SYNC.format(name="near", graph="contoso")
    text = stack.config.read_text()
    assert near in text
    with claimed(stack, "near"):
        stack.config.write_text(text.replace(near, ""))
        stack.apply()
        during = latency_s(stack, "beside the removal", SAMPLES)
    assert process.poll() is None
    assert "loop failed" not in stack.logged()
    assert_as_quick({"during": during}, before)


def test_a_hundred_thousand_deletions_in_one_transaction(stack: Stack) -> None:
    """Of rows that are in no list: what they cost is the outbox alone. The last test, because they last for minutes."""
    stack.sql("CREATE TABLE bulk (id bigint PRIMARY KEY, note text)")
    stack.sql("INSERT INTO bulk SELECT n, 'note' FROM generate_series(1, %s::int) n", DELETIONS)
    section = SYNC.format(name="bulk", graph="contoso").rstrip() + "\n    where: \"note = 'other'\"\n"
    stack.config.write_text(stack.config.read_text() + section)
    stack.apply()
    wait_until(
        lambda: stack.state("SELECT state FROM rowtide.reconcile WHERE sync = 'bulk'") == [("done",)], "read", 120
    )
    before = latency_s(stack, "before the deletions", SAMPLES)
    stack.sql("DELETE FROM bulk")
    waits = "SELECT count(*) FROM rowtide.outbox WHERE sync = 'bulk'"
    # Changes are captured in the order of their commits: the first update is staged behind the deletions.
    latency_s(stack, "behind the deletions", 2)
    during = latency_s(stack, "beside the deletions", SAMPLES)
    [(still,)] = stack.state(waits)
    assert still > DELETIONS // 2, "thousands wait all the while"
    wait_until(lambda: stack.state(waits)[0][0] < still, "and go on")
    assert_as_quick({"during": during}, before)
