"""What a tenant that throttles or does not answer is on record as, and what another process makes of it."""

from connectors.graph.budget import Budget
from connectors.graph.send_backoff import Health
from connectors.graph.settings import ClientSecret, GraphSettings
from rowtide.error_catalogue import graph_errors
from tests.unit.connectors.graph.test_budget import Clock


def health(clock: Clock) -> tuple[Health, Budget]:
    """That of one tenant, without a quota."""
    budget = Budget(GraphSettings("contoso", "t", "c", ClientSecret("s"), quota_off=True), clock)
    return Health("contoso", budget, clock), budget


def test_a_gate_is_on_record_while_it_is_shut() -> None:
    clock = Clock()
    here, budget = health(clock)
    assert here.fault is None
    here.note_throttled([15.0])
    fault = here.fault
    assert fault is not None
    assert (fault.place, fault.code, fault.failures, fault.wait_s) == (("tenant", "contoso"), "throttled", 1, 15.0)
    clock.now += 15.0
    assert here.fault is None
    budget.close_gate(None)  # a thread that reads lists was refused
    assert here.fault is not None
    assert here.fault.failures == 2


def test_the_next_process_waits_for_a_gate_that_it_finds_and_no_longer_than_a_person_wants() -> None:
    clock = Clock()
    before, _ = health(clock)
    before.note_throttled([40.0])
    fault = before.fault
    assert fault is not None
    here, budget = health(clock)
    here.heed(fault)
    assert budget.gate.left_s() == 40.0
    assert here.fault == fault
    here.forget(fault)  # the other one has ended, or its time was over a moment ago
    assert budget.gate.left_s() == 40.0
    clock.now += 5.0
    ended = graph_errors.GRAPH_THROTTLES(seconds="40")
    here.hasten(fault.of("tenant", "contoso", ended, 1, 0.0))
    assert budget.gate.left_s() == 0.0
    assert here.fault is None


def test_a_tenant_that_throttles_and_then_does_not_answer_is_another_fault() -> None:
    clock = Clock()
    here, budget = health(clock)
    here.note_throttled([10.0])
    lost = graph_errors.GRAPH_UNREACHABLE(base_url="https://graph.example")
    here.note_failure(lost, sent=False)
    assert here.fault is not None
    assert here.fault.code == "throttled"
    budget.share_gate(0.0, 1)
    assert here.fault.code == "graph_unavailable"
    here.forget(here.fault)
    assert here.fault is None


def test_a_wait_that_graph_asks_for_with_a_503_is_on_record() -> None:
    clock = Clock()
    here, budget = health(clock)
    lost = graph_errors.BATCH_LOST(reason="503")
    here.note_lost_batch({"one"}, lost)  # the list is to blame as yet
    assert here.fault is None
    here.note_asked(lost, 600.0)
    assert budget.gate.left_s() == 600.0
    assert here.fault is not None
    assert (here.fault.failures, here.fault.wait_s) == (1, 600.0)
    clock.now += 600.0
    here.note_success()
    assert here.fault is None
