"""What fails is on record: it outlives the process, every process obeys it, status says it, `resume` tries it at once.

In: one stack with the sync ``orders``, which nothing may hold back, ``near`` in the same tenant, and ``far`` in another
one; the state database is on a server of its own. Rule: a test leaves nothing on record.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from demo.postgres import Cluster
from tests.e2e.stack import SECRET, Stack, wait_until
from tests.e2e.test_neighbours import locked_table, refresh
from tests.e2e.two_tenants import OTHER, Table, is_loaded, latency_s, two_tenants

ROWS = 40
FAULTS = "SELECT scope, object, step FROM rowtide.hold WHERE kind = 'fault'"
PUT_OFF = "UPDATE rowtide.hold SET until = now() + interval '60 seconds' WHERE kind = 'fault'"


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """A process runs, and every list is as its table."""
    tables = {"orders": Table("contoso", ROWS), "near": Table("contoso", ROWS), "far": Table("fabrikam", ROWS)}
    with two_tenants(pg, tables) as stack:
        stack.start()
        wait_until(lambda: all(is_loaded(stack, name) for name in tables), "loaded", 120)
        yield stack


def health_of(stack: Stack, name: str) -> Any:
    """What `status` says is wrong with a sync."""
    return next(sync["health"] for sync in stack.status()["syncs"] if sync["sync"] == name)


def failures(stack: Stack, scope: str, name: str) -> int:
    """After how many failures in a row something is tried again; 0 for what is not on record."""
    return int({(one, of): step for one, of, step in stack.state(FAULTS)}.get((scope, name), 0))


def near_id(stack: Stack) -> str:
    """The id of the list near."""
    [(list_id,)] = stack.state("SELECT id FROM rowtide.list WHERE title = 'near'")
    return str(list_id)


def end(stack: Stack) -> None:
    """Kill the process: it can write nothing down any more."""
    stack.processes[-1].kill()
    stack.processes[-1].wait()


def test_a_table_that_cannot_be_read_is_on_record(stack: Stack) -> None:
    with locked_table(stack, "near"):
        refresh(stack, "near", ROWS)
        wait_until(lambda: failures(stack, "table", "near") >= 2, "a trial has failed")
        said = health_of(stack, "near")
        assert "lock timeout" in said["sentence"], said
        assert health_of(stack, "orders")["code"] == "ok"
        end(stack)
        stack.state(PUT_OFF)
        before = failures(stack, "table", "near")
        stack.wait_ready(stack.start())
        latency_s(stack, "beside the table", 3)
        assert failures(stack, "table", "near") == before, "a process that starts waits as the one before did"
        assert "1" in stack.command("resume", "near").stdout
        wait_until(lambda: failures(stack, "table", "near") > before, "it is tried at once", 20)
        stack.state(PUT_OFF)
    stack.command("resume", "near")
    wait_until(lambda: stack.state("SELECT count(*) FROM rowtide.outbox") == [(0,)], "rows are read", 20)
    wait_until(lambda: stack.state(FAULTS) == [], "nothing is on record")


def test_a_tenant_that_refuses_its_credential_is_on_record(stack: Stack) -> None:
    stack.environment["ROWTIDE_OTHER_SECRET"] = "wrong"
    assert stack.stop(stack.processes[-1]) == 0
    stack.sql("UPDATE far SET note = note || '!'")
    stack.start()
    wait_until(lambda: failures(stack, "tenant", "fabrikam") >= 1, "it is refused")
    wait_until(lambda: health_of(stack, "far")["code"] == "identity_refused", "status says so")
    assert health_of(stack, "orders")["code"] == "ok"
    end(stack)
    stack.environment["ROWTIDE_OTHER_SECRET"] = SECRET
    stack.state(PUT_OFF)
    before = stack.state(FAULTS)
    stack.wait_ready(stack.start())
    latency_s(stack, "beside the tenant", 3)
    assert stack.state(FAULTS) == before, "a process that starts waits as the one before did"
    assert health_of(stack, "far")["code"] == "identity_refused"
    stack.command("resume", "--target", "fabrikam")
    wait_until(lambda: is_loaded(stack, "far"), "it is tried at once", 20)
    wait_until(lambda: stack.state(FAULTS) == [], "nothing is on record")


def test_a_gate_that_graph_has_shut_is_on_record(stack: Stack) -> None:
    """Lists are to be read besides, so that no other thread of the next process asks either."""
    stack.simulator.set_faults([{"client": OTHER, "level": "request", "status": 429, "retry_after": 600}])
    stack.sql("UPDATE far SET note = note || '!'")
    wait_until(lambda: failures(stack, "tenant", "fabrikam") >= 1, "Graph throttles the tenant")
    end(stack)
    asked = stack.simulator.ask("faults")["rules"][0]["hits"]
    stack.state("UPDATE rowtide.reconcile SET state = 'wanted', asked = asked + 1, deep = true WHERE sync = 'far'")
    stack.wait_ready(stack.start())
    latency_s(stack, "beside the gate", 3)
    assert stack.simulator.ask("faults")["rules"][0]["hits"] == asked, "nobody has asked again"
    wait_until(lambda: health_of(stack, "far")["code"] == "throttled", "status says so")
    assert health_of(stack, "orders")["code"] == "ok"
    stack.simulator.clear_faults()
    stack.command("resume", "--target", "fabrikam")
    wait_until(lambda: is_loaded(stack, "far"), "a person may ask again", 20)
    wait_until(lambda: stack.state(FAULTS) == [], "nothing is on record")


@pytest.mark.parametrize("fault", [{"status": 503}, {"action": "delay", "delay_ms": 60_000}], ids=["fails", "hangs"])
def test_deletes_wait_for_a_list_as_updates_do(stack: Stack, fault: dict[str, Any]) -> None:
    """Each is claimed once: then its list is known, and nothing but a trial is claimed for that."""
    stack.simulator.set_faults([{"list": "near", "level": "member", **fault}])
    stack.sql("UPDATE near SET note = note || '!' WHERE id = 1")
    wait_until(lambda: stack.simulator.ask("faults")["rules"][0]["hits"] > 0, "it strikes")
    stack.sql("DELETE FROM near WHERE id > 10")
    known = "SELECT count(*) FROM rowtide.outbox WHERE (sync, op, target) = ('near', 'd', 'near')"
    wait_until(lambda: stack.state(known) == [(ROWS - 10,)], "their list is known", 90)
    waits = "SELECT key, xmin::text FROM rowtide.outbox WHERE (sync, op) = ('near', 'd')"
    before, failed = set(stack.state(waits)), failures(stack, "list", near_id(stack))
    wait_until(lambda: failures(stack, "list", near_id(stack)) >= failed + 2, "two trials fail", 90)
    assert len(before - set(stack.state(waits))) <= 3, "the trials, and no other row is touched"
    latency_s(stack, "beside the deletes", 3)
    stack.simulator.clear_faults()
    stack.command("resume", "near")
    wait_until(lambda: is_loaded(stack, "near"), "they are carried out", 90)
    stack.sql(f"INSERT INTO near SELECT n, 'back' FROM generate_series(11, {ROWS}) n")
    wait_until(lambda: is_loaded(stack, "near"), "back again")


def test_what_another_process_has_written_down_is_obeyed(stack: Stack) -> None:
    list_id = near_id(stack)
    stack.state(
        "INSERT INTO rowtide.hold (scope, object, kind, code, reason, actor, until, step)"
        " VALUES ('list', %s, 'fault', 'graph_403', 'refused to another process', 'it', now() + interval '1 hour', 9)",
        list_id,
    )
    heard = f'event="list fails" list_id={list_id} code=graph_403'
    wait_until(lambda: heard in stack.logged(), "it is heard of")
    stack.sql("UPDATE near SET note = note || '?'")
    latency_s(stack, "beside the list", 3)
    assert not is_loaded(stack, "near")
    assert health_of(stack, "near")["sentence"].endswith("refused to another process")
    stack.state("DELETE FROM rowtide.hold")  # that process was answered
    wait_until(lambda: is_loaded(stack, "near"), "it goes on", 20)
