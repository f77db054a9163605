"""Measures deliver: throughput, latency, no-op suppression, coalescing, restart, and a process with nothing to do.

In: the whole product on real processes against the simulator. Out: ``deliver.* deep.* latency.* noop.* coalescing.*
restart.* quiet.*``. Rule: offered load "at 80 %" is 0.8 x quota_share x the tier's limit, Poisson arrivals.
"""

import random
import signal
import subprocess
import time
from functools import partial
from statistics import quantiles

import psycopg

from perf import machine, peer
from perf.figures import Measurements
from perf.machine import spent_s
from perf.stand import Stand, stand, until

ITEMS = 10_000
DEEP_ITEMS = 100_000
NOOPS = 10_000
LATENCY_S = 60.0
QUIET_S = 60.0
SINGLES = 40
YARD_ITEMS = 10_000
"""So many items' CPU time is held against the yardstick, so that the ratio is no tiny number."""
LIMIT_RU_PER_MINUTE = 6_250  # the largest tier


def _start_loaded(bench: Stand, slowed: str) -> subprocess.Popen[bytes]:
    process = bench.stack.start(failpoints=slowed)
    until(lambda: bench.stack.state("SELECT state FROM rowtide.reconcile") == [("done",)])
    until(lambda: bench.waiting() == 0)
    return process


def deliver(figures: Measurements, repetitions: int, items: int = ITEMS) -> None:
    """Measure items a second of one process without throttling, against a client that only sends, and their CPU."""
    rates, ratios, costs = [], [], []
    with stand("--tier", "off", "--latency-ms", "0", graph_options="quota: off") as bench:
        process = _start_loaded(bench, figures.slowed)
        for repetition in range(repetitions + 1):
            peer_s, yard_s = peer.seconds(bench.simulator.ready, items), machine.yardstick_s()
            bench.stack.command("pause", "bench")
            time.sleep(2)
            first = 1 + repetition * items
            bench.fill(first, first + items - 1)
            until(lambda: bench.waiting() >= items)
            before = spent_s(process.pid)
            bench.stack.command("resume", "bench")
            until(lambda: bench.waiting() < items, every_s=0.005)
            seconds = until(lambda: bench.waiting() == 0)
            if repetition:
                rates.append(items / seconds)
                ratios.append(peer_s / seconds)
                costs.append((spent_s(process.pid) - before) / items * YARD_ITEMS / yard_s)
    figures.add("deliver.items_per_s", rates, "items/s", "one process, simulator on the same cores, no latency")
    figures.add("deliver.peer_ratio", ratios, "ratio", f"a client that only sends {items:,} items, its time over ours")
    figures.add("deliver.cpu_ratio", costs, "ratio", f"our CPU for {YARD_ITEMS:,} items over the yardstick's")


def deep(figures: Measurements, repetitions: int, items: int = DEEP_ITEMS) -> None:
    """Measure items a second of a deep pass over a list of a hundred thousand that agree."""
    rates, cpu_rates, costs = [], [], []
    with stand("--tier", "off", "--latency-ms", "0", graph_options="quota: off") as bench:
        bench.fill(1, items)
        process = _start_loaded(bench, figures.slowed)
        for repetition in range(repetitions + 1):
            yard_s, before = machine.yardstick_s(), spent_s(process.pid)
            bench.stack.state("UPDATE rowtide.reconcile SET state = 'wanted', asked = asked + 1, deep = true")
            seconds = until(lambda: bench.stack.state("SELECT state FROM rowtide.reconcile") == [("done",)])
            [(counts,)] = bench.stack.state("SELECT counts FROM rowtide.reconcile")
            assert counts["seen"] == items, counts
            if repetition:
                cpu_s = spent_s(process.pid) - before
                rates.append(items / seconds)
                cpu_rates.append(items / cpu_s)
                costs.append(cpu_s / items * YARD_ITEMS / yard_s)
    figures.add("deep.items_per_s", rates, "items/s", "one process, simulator on the same cores, no latency")
    figures.add("deep.items_per_cpu_s", cpu_rates, "items/s", "the process's own CPU time")
    figures.add("deep.cpu_ratio", costs, "ratio", f"our CPU for {YARD_ITEMS:,} items over the yardstick's")


def latency(figures: Measurements, repetitions: int) -> None:
    """Measure the time from commit to acknowledgement at 80 % of the quota, while Graph answers in 100 ms."""
    found: dict[str, list[float]] = {"p50": [], "p95": [], "p99": []}
    with stand("--tier", "max", "--latency-ms", "100", graph_options="licences: 100000") as bench:
        bench.fill(1, 200)
        _start_loaded(bench, figures.slowed)
        rng = random.Random(1)
        rate = 0.8 * 0.8 * LIMIT_RU_PER_MINUTE / 60 / 2
        for repetition in range(repetitions + 1):
            bench.stack.state("DELETE FROM rowtide.progress")
            _offer(bench, rng, rate, LATENCY_S if repetition else 5.0)
            until(lambda: bench.waiting() == 0)
            [sync] = bench.stack.status()["syncs"]
            if repetition:
                for name, values in found.items():
                    values.append(sync["latency_ms"][name])
    for name, values in found.items():
        figures.add(f"latency.{name}_ms", values, "ms", f"{rate:.0f} changes/s offered, 100 ms Graph latency")


def _offer(bench: Stand, rng: random.Random, rate: float, seconds: float) -> None:
    end = time.monotonic() + seconds
    due = time.monotonic()
    with psycopg.connect(bench.stack.source_dsn, autocommit=True) as connection:
        while due < end:
            due += rng.expovariate(rate)
            time.sleep(max(0.0, due - time.monotonic()))
            connection.execute("UPDATE bench SET quantity = quantity + 1 WHERE id = %s", [rng.randint(1, 200)])


def noop(figures: Measurements, _repetitions: int) -> None:
    """Count the writes that ten thousand updates of unmapped columns cost."""
    with stand("--tier", "off", graph_options="quota: off") as bench:
        bench.fill(1, 1000)
        _start_loaded(bench, figures.slowed)
        before = bench.simulator.writes()
        for _ in range(NOOPS // 1000):
            bench.stack.sql("UPDATE bench SET extra = jsonb_build_object('n', random())")
        end = bench.wal_end()
        bench.stack.sql("INSERT INTO bench (id, name) VALUES (-1, 'end')")
        until(lambda: bench.staged() >= end and bench.waiting() == 0)
        figures.add("noop.writes", [bench.simulator.writes() - before - 1], "writes", f"{NOOPS:,} updates")


def coalescing(figures: Measurements, repetitions: int) -> None:
    """Measure changes for each write when a hundred rows change fifty times each, above the quota."""
    ratios = []
    with stand("--tier", "1000", "--window-s", "6", graph_options="licences: 1000\n    rate_window: 6s") as bench:
        bench.fill(1, 100)
        _start_loaded(bench, figures.slowed)
        for _ in range(repetitions):
            before = bench.simulator.writes()
            with psycopg.connect(bench.stack.source_dsn, autocommit=True) as connection:
                for _ in range(50):
                    for key in range(1, 101):
                        connection.execute("UPDATE bench SET quantity = quantity + 1 WHERE id = %s", [key])
            end = bench.wal_end()
            bench.stack.sql("UPDATE bench SET quantity = quantity WHERE id = 1")
            until(partial(all_delivered, bench, end))
            ratios.append(5000 / (bench.simulator.writes() - before))
    figures.add("coalescing.changes_per_write", ratios, "ratio", "100 rows x 50 updates, smallest tier")


def restart(figures: Measurements, repetitions: int) -> None:
    """Measure the time from SIGKILL to the next settled write, with a supervisor that restarts at once."""
    seconds, spent = [], []
    with stand("--tier", "off", "--latency-ms", "50") as bench:
        bench.fill(1, 100)
        process = _start_loaded(bench, figures.slowed)
        rng = random.Random(2)
        for repetition in range(repetitions + 2):
            _offer(bench, rng, 20.0, 2.0)
            process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            before = _newest(bench)
            bench.stack.sql("UPDATE bench SET quantity = quantity + 1 WHERE id = %s", rng.randint(1, 100))
            process = bench.stack.start()
            until(partial(_something_newer, bench, before), every_s=0.01)
            if repetition > 1:
                seconds.append(time.monotonic() - killed)
                spent.append(spent_s(process.pid))
    against = "SIGKILL, restarted at once with work waiting; until the write is settled"
    figures.add("restart.first_write_s", seconds, "s", against)
    figures.add("restart.first_write_cpu_s", spent, "s", "the new process's own CPU time until then")


def quiet(figures: Measurements, repetitions: int) -> None:
    """Measure what an idle process takes of a core after a minute, and the latency of single updates from then on."""
    shares, latencies = [], []
    with stand("--tier", "off", "--latency-ms", "0", graph_options="quota: off") as bench:
        bench.fill(1, 100)
        process = _start_loaded(bench, figures.slowed)
        time.sleep(QUIET_S)
        rng = random.Random(3)
        for _ in range(repetitions):
            before, began = spent_s(process.pid), time.monotonic()
            time.sleep(QUIET_S / 3)
            shares.append(100 * (spent_s(process.pid) - before) / (time.monotonic() - began))
            latencies.append(quantiles([_single_ms(bench, rng) for _ in range(SINGLES)], n=20)[-1])
    figures.add("quiet.cpu_percent", shares, "%", "of a core, one idle process with both roles, after a minute")
    figures.add("quiet.latency_p95_ms", latencies, "ms", f"{SINGLES} single updates after that, no Graph latency")


def _single_ms(bench: Stand, rng: random.Random) -> float:
    """From a single commit, at a moment of its own, to the settled write."""
    time.sleep(rng.uniform(0.5, 1.0))
    before = _newest(bench)
    bench.stack.sql("UPDATE bench SET quantity = quantity + 1 WHERE id = %s", rng.randint(1, 100))
    return 1000 * until(partial(_something_newer, bench, before), every_s=0.002)


def all_delivered(bench: Stand, wal_end: int) -> bool:
    """Whether everything up to this position is staged, and nothing waits."""
    return bench.staged() >= wal_end and bench.waiting() == 0


def _something_newer(bench: Stand, before: float) -> bool:
    return _newest(bench) > before


def _newest(bench: Stand) -> float:
    [(at,)] = bench.stack.state("SELECT extract(epoch FROM max(updated_at))::float8 FROM rowtide.ledger")
    return float(at)
