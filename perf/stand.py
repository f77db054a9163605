"""A stand for benchmarks: PostgreSQL with fsync on, a simulator, an applied definition, processes.

In: options of the simulator and the definition. Out: `Stand`. Rule: only addresses of this machine; a definition with a
real host is never run from here.
"""

import ipaddress
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connectors import settings
from demo.postgres import Cluster
from rowtide.definition.model import Definition
from rowtide.error_catalogue import command_errors
from tests.conftest import reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack

TABLE = """
CREATE TABLE bench (
    id bigint PRIMARY KEY, name text NOT NULL, city text, note text, code text, price numeric(10, 2), quantity int,
    active boolean, made_at timestamptz, extra jsonb
)
"""

FILL = """
INSERT INTO bench SELECT i, 'name ' || i, 'city ' || i %% 1000, 'a note of some length ' || i, md5(i::text),
       i %% 10000 / 7.0, i %% 500, i %% 2 = 0, '2026-01-01'::timestamptz + i * interval '1 second', '{"a": 1}'::jsonb
  FROM generate_series(%s::bigint, %s::bigint) i
"""

SYNC = """
  bench:
    source: {postgres: erp, table: public.bench}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Bench
    breaker: {share: 1.0, rows: 10000000}
    fields:
      name: Title
      note: {field: Note, as: note}
      price: {field: Price, as: number}
      quantity: {field: Quantity, as: number}
      active: {field: Active, as: boolean}
      made_at: {field: MadeAt, as: dateTime}
"""


QUIET = {"max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
"""Work that PostgreSQL does by itself would disturb only one side of a comparison."""


class Stand:
    """Everything one family needs; `stack` for commands and SQL."""

    def __init__(self, cluster: Cluster, simulator: Simulator, stack: Stack) -> None:
        self.cluster = cluster
        self.simulator = simulator
        self.stack = stack

    def fill(self, first: int, last: int) -> None:
        """Insert these ids in one transaction."""
        self.stack.sql(FILL, first, last)

    def waiting(self) -> int:
        """Rows that wait in the outbox."""
        [(count,)] = self.stack.state("SELECT count(*) FROM rowtide.outbox WHERE state = 'waiting'")
        return int(count)

    def wal_end(self) -> int:
        """The source's WAL position."""
        [(lsn,)] = self.stack.sql("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
        return int(lsn)

    def staged(self) -> int:
        """The highest commit position staged."""
        rows = self.stack.state("SELECT max(staged_lsn) FROM rowtide.slot_cursor")
        return int(rows[0][0] or 0)

    def confirmed(self) -> int:
        """Where capture would resume."""
        rows = self.stack.state("SELECT max(lsn) FROM rowtide.slot_cursor")
        return int(rows[0][0] or 0)


@contextmanager
def stand(
    *simulator_options: str,
    graph_options: str | Callable[[Mapping[str, str]], str] = "",
    syncs: str = SYNC,
    tables: Sequence[str] = (),
    edit: Callable[[str], str] = lambda definition: definition,
    server: Mapping[str, str] | None = None,
) -> Iterator[Stand]:
    """A stand with table ``bench`` empty and its sync applied; ``tables``: statements that make others.

    ``graph_options`` may depend on where the simulator is; the definition is applied as ``edit`` leaves it; ``server``:
    further settings of PostgreSQL.
    """
    directory = Path(tempfile.mkdtemp(prefix="rowtide-perf-"))
    base = reachable_directory("rowtide-perf-pg-")
    work = reachable_directory("rowtide-perf-run-")
    cluster = Cluster(base, {**QUIET, "shared_buffers": "1GB", **(server or {})})
    cluster.start()
    simulator = Simulator(directory, *simulator_options)
    source, state = cluster.create_database("source"), cluster.create_database("state")
    graph = graph_options if isinstance(graph_options, str) else graph_options(simulator.ready)
    stack = Stack(work, source, state, simulator.ready, syncs, graph)
    stack.simulator = simulator
    try:
        for table in (TABLE, *tables):
            stack.sql(table)
        stack.config.write_text(edit(stack.config.read_text()))
        refuse_real_hosts(settings.load(stack.config).definition)
        stack.apply()
        yield Stand(cluster, simulator, stack)
    finally:
        stack.close()
        simulator.close()
        cluster.kill()
        for path in (directory, base, work):
            shutil.rmtree(path, ignore_errors=True)


def refuse_real_hosts(definition: Definition) -> None:
    """UserError when a Graph or a login of ``definition`` is not on this machine: what follows is a load test."""
    for name, graph in definition.graph.items():
        for url in (graph.base_url, graph.authority):
            host = urlsplit(url).hostname or ""
            if not _is_here(host):
                raise command_errors.PERF_REAL_HOST(graph=name, host=host)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def until(condition: Callable[[], Any], deadline_s: float = 600.0, every_s: float = 0.02) -> float:
    """Wait until ``condition`` is true; the seconds that took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > deadline_s:
            raise TimeoutError("the benchmark did not come to its end")
        time.sleep(every_s)
    return time.monotonic() - started
