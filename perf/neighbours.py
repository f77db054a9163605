"""Measures what lists, tenants and processes in trouble cost the others.

In: the whole product on real processes against the simulator. Out: ``isolation.* gated.* peer_death.*``. Rule: what a
neighbour suffers is held against its own undisturbed run on the same stand.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from perf.claiming import SMALL, SMALL_SYNC
from perf.figures import Measurements
from perf.stand import SYNC, Stand, stand, until

OTHER = "1b2c3d4e-0000-4000-8000-000000000002"
BACKLOG = 3_000
UPDATES = 100
"""Of one list, a sample: with fewer the slowest two would be its p95."""
TENANTS = 30

ROWS = 40
FILL_SMALL = f"INSERT INTO small SELECT i, 'row ' || i FROM generate_series(1, {ROWS}) i"

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "503": {"status": 503, "level": "member"},
    "403": {"status": 403, "level": "member"},
    "404": {"status": 404, "level": "member"},
    "hang": {"action": "delay", "delay_ms": 60_000, "level": "member"},
}
"""What the neighbour's list suffers."""


def isolation(figures: Measurements, _repetitions: int) -> None:
    """Measure the latency of one list while another list of the tenant, with thousands of rows, is in trouble."""
    ratios = []
    with _two_syncs() as bench:
        for name, fault in FAULTS.items():
            before = _p95_s(bench, f"before {name}")
            bench.simulator.set_faults([{"list": "Bench", **fault}])
            bench.stack.sql("UPDATE bench SET quantity = quantity + 1")
            until(lambda: bench.simulator.ask("faults")["rules"][0]["hits"] > 0)
            ratios.append(_p95_s(bench, f"during {name}") / before)
            bench.simulator.clear_faults()
            until(lambda: bench.waiting() == 0)
    figures.add("isolation.p95_ratio", [max(ratios)], "ratio", f"{BACKLOG:,} rows for a list in trouble, the worst")


@contextmanager
def _two_syncs() -> Iterator[Stand]:
    """A stand whose lists Bench and Small are loaded, with a process at work."""
    options = ("--tier", "off", "--latency-ms", "50")
    with stand(*options, graph_options="quota: off", syncs=SYNC + SMALL_SYNC, tables=[SMALL]) as bench:
        bench.stack.sql(FILL_SMALL)
        bench.fill(1, BACKLOG)
        bench.stack.start()
        until(partial(_is_loaded, bench))
        yield bench


def _is_loaded(bench: Stand) -> bool:
    """Whether every pass is done, and nothing waits."""
    passes = bench.stack.state("SELECT count(*) FILTER (WHERE state = 'done'), count(*) FROM rowtide.reconcile")
    return passes[0][1] > 0 and passes[0][0] == passes[0][1] and bench.waiting() == 0


def _p95_s(bench: Stand, mark: str) -> float:
    """Of single updates of table small, from the commit to the settled write."""
    found = []
    for number in range(UPDATES):
        key, name = 1 + number % ROWS, f"{mark} {number}"
        bench.stack.sql("UPDATE small SET name = %s WHERE id = %s", name, key)
        began = time.monotonic()
        until(partial(_is_there, bench, str(key), name), every_s=0.005)
        found.append(time.monotonic() - began)
    return quantiles(found, n=20)[-1]


def _is_there(bench: Stand, key: str, name: str) -> bool:
    rows = bench.stack.state("SELECT base ->> 'Title' FROM rowtide.ledger WHERE sync = 'small' AND key = %s", key)
    return rows == [(name,)]


GRAPH = """
  {name}:
    tenant_id: 72f988bf-86f1-41af-91ab-2d7cd011db48
    client_id: {client}
    credential: {{client_secret: "env:ROWTIDE_CLIENT_SECRET"}}
    base_url: {base_url}
    authority: {authority}
    ca_file: {ca_file}
    quota: off"""
GATED = """
  {name}:
    source: {{postgres: erp, table: public.{name}}}
    target: {{graph: {name}, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    fields: {{name: Title}}
"""


def gated(figures: Measurements, _repetitions: int) -> None:
    """Measure what thirty tenants with a closed gate add to the latency of another one."""
    names = [f"gated_{number}" for number in range(TENANTS)]
    tables = [SMALL, *(f"CREATE TABLE {name} (id bigint PRIMARY KEY, name text NOT NULL)" for name in names)]
    syncs = SYNC + SMALL_SYNC + "".join(GATED.format(name=name) for name in names)

    def graphs(ready: Mapping[str, str]) -> str:
        return "quota: off" + "".join(GRAPH.format(name=name, client=OTHER, **ready) for name in names)

    options = ("--tier", "off", "--client", f"{OTHER}=env:SIMULATOR_SECRET")
    with stand(*options, graph_options=graphs, syncs=syncs, tables=tables) as bench:
        bench.stack.sql(FILL_SMALL)
        bench.stack.start()
        until(partial(_is_loaded, bench))
        before = _p95_s(bench, "before")
        bench.simulator.set_faults([{"client": OTHER, "level": "request", "status": 429, "retry_after": 300}])
        for name in names:
            bench.stack.sql(f"INSERT INTO {name} SELECT i, 'row ' || i FROM generate_series(1, 100) i")
        until(lambda: bench.simulator.ask("faults")["rules"][0]["hits"] >= TENANTS)
        during = _p95_s(bench, "during")
    figures.add("gated.neighbour_ms", [max(0.0, 1000 * (during - before))], "ms", f"{TENANTS} gated tenants; p95")


LEASED = "SELECT count(*) FROM rowtide.outbox WHERE lease_until > now()"


def peer_death(figures: Measurements, repetitions: int) -> None:
    """Measure the time from the SIGKILL of a process that has claimed rows until its peer has delivered them."""
    found = []
    with TemporaryDirectory() as directory, stand("--tier", "off", graph_options="quota: off") as bench:
        bench.fill(1, 100)
        bench.stack.start("--roles", "capture")
        held = Path(directory) / "held"
        for number in range(repetitions):
            words = ("--roles", "deliver", "--process-id")
            first = bench.stack.start(*words, str(2 * number), failpoints=f"deliver.before_send=pause:{held}")
            until(lambda: bench.stack.state("SELECT count(*) FROM rowtide.ledger") == [(100,)] and bench.waiting() == 0)
            held.touch()
            bench.stack.sql("UPDATE bench SET quantity = quantity + 1 WHERE id <= 20")
            until(lambda: bench.stack.state(LEASED) == [(20,)])
            peer = bench.stack.start(*words, str(2 * number + 1))
            bench.stack.wait_ready(peer)
            os.kill(first.pid, 9)
            found.append(until(lambda: bench.waiting() == 0))
            held.unlink()
            bench.stack.stop(peer)
    figures.add("peer_death.s", found, "s", "SIGKILL of a process with 20 claimed rows, until its peer delivered them")
