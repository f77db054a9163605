"""What a process reads of itself for its metrics (`connectors.readings`).

In: readers, writers, budgets, the claimer, what fails. Out: one `ProcessReading`. Called once a second by the beat.
Rule: it only reads what the parts know already, and waits for nothing.
"""

from collections.abc import Mapping

from connectors import loops, trouble
from connectors.claimer import Claimer
from connectors.graph.writer import Writer
from connectors.postgres.replication.reader import Reader
from connectors.readings import GraphReading, ProcessReading, WebhookReading
from flows.graph_reads import PacedGraph


def to_reading(
    readers: Mapping[str, Reader],
    writers: Mapping[str, Writer],
    tenants: Mapping[str, PacedGraph],
    claimer: Claimer | None,
    faults: Mapping[str, int],
    epoch_age_s: float | None,
    webhooks: WebhookReading | None,
) -> ProcessReading:
    """Readers by PostgreSQL, writers and tenants by graph; a process that does not deliver has nothing in flight."""
    return ProcessReading(
        in_flight=0 if claimer is None else claimer.in_flight,
        graphs={name: _of_graph(writer, tenants[name]) for name, writer in writers.items()},
        sources={name: reader.reading for name, reader in readers.items()},
        loop_failures=loops.failures(),
        faults=faults,
        errors=trouble.errors(),
        epoch_age_s=epoch_age_s,
        webhooks=webhooks,
    )


def _of_graph(writer: Writer, tenant: PacedGraph) -> GraphReading:
    budget = tenant.budget
    counters, (minute_ru, day_ru) = writer.counters, budget.available()
    return GraphReading(
        ru_used=counters.ru_used,
        requests=counters.requests,
        throttled=counters.throttled,
        unanswered=counters.failures,
        minute_ru=minute_ru,
        day_ru=day_ru,
        gate_s=budget.gate.left_s(),
        quota_wait_s=budget.quota_wait_s(),
        credential_ends=tenant.settings.credential_ends,
    )
