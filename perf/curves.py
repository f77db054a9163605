"""Measures what perf/README.md shows as curves: drain under throttle, memory against backlog, cost against table size.

In: the whole product on real processes against the simulator. Out: the curves ``drain memory table`` (that of latency
against load is `perf.overheads`). Rule: one run of each size, smallest first, up to ``--up-to``; what was not measured
is in no curve.
"""

import time
from functools import partial
from pathlib import Path
from subprocess import Popen

from perf.delivery import all_delivered
from perf.figures import Measurements
from perf.machine import spent_s
from perf.stand import Stand, stand, until
from rowtide.pacing import WRITE_RU, tier_of

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CHANGES = 1_000
BACKLOG = 400
LICENCES = 1_000
WINDOW_S = 6.0
LOOK_S = 1.0
DEADLINE_S = 7_200.0


def drain(figures: Measurements, _repetitions: int) -> None:
    """Measure how a backlog gets less at the smallest tier, whose windows are a tenth as long."""
    found = []
    options = ("--tier", str(LICENCES), "--window-s", f"{WINDOW_S:.0f}")
    quota = f"licences: {LICENCES}\n    rate_window: {WINDOW_S:.0f}s"
    with stand(*options, graph_options=quota) as bench:
        bench.stack.start()
        until(lambda: bench.stack.state("SELECT state FROM rowtide.reconcile") == [("done",)])
        bench.stack.command("pause", "bench")
        bench.fill(1, BACKLOG)
        until(lambda: bench.waiting() >= BACKLOG)
        bench.stack.command("resume", "bench")
        began, waiting = time.monotonic(), BACKLOG
        while waiting:
            waiting = bench.waiting()
            found.append((round(time.monotonic() - began, 1), float(waiting)))
            time.sleep(LOOK_S)
        throttled = bench.simulator.stats()["throttled"]
    a_second = 0.8 * tier_of(LICENCES).ru_per_minute / 60 / WRITE_RU
    least = [(0.0, float(BACKLOG)), (round(BACKLOG / a_second, 1), 0.0)]
    against = f"{BACKLOG} rows at the smallest tier, 80 % of it ours; {throttled} requests were refused"
    figures.add_curve("drain", ("seconds", "rows that wait"), {"rows": found, "what the quota pays": least}, against)


def memory(figures: Measurements, _repetitions: int) -> None:
    """Measure the peak memory of capture against the rows of one transaction that wait for it."""
    found = []
    for size in _sizes(figures):
        with stand("--tier", "off") as bench:
            process = _loaded(bench, "--roles", "capture")
            bench.stack.stop(process)
            bench.fill(1, size)
            end = bench.wal_end()
            bench.stack.sql("INSERT INTO bench (id, name) VALUES (0, 'end')")
            process = bench.stack.start("--roles", "capture")
            until(partial(_is_staged, bench, end), DEADLINE_S)
            found.append((float(size), peak_mib(process.pid)))
            bench.stack.stop(process)
    against = "rows of one transaction that a process with the role capture has not read yet"
    figures.add_curve("memory", ("rows that wait", "MiB, the process's peak"), {"capture": found}, against)


def table(figures: Measurements, _repetitions: int) -> None:
    """Measure our CPU for a change, and for a row of a pass that finds nothing, against the size of table and list."""
    changes, passes = [], []
    for size in _sizes(figures):
        with stand("--tier", "off", "--latency-ms", "0", graph_options="quota: off") as bench:
            bench.fill(1, size)
            process = _loaded(bench)
            before = spent_s(process.pid)
            bench.stack.sql("UPDATE bench SET quantity = quantity + 1 WHERE id %% %s = 0", size // CHANGES)
            end = bench.wal_end()
            bench.stack.sql("UPDATE bench SET extra = '{}' WHERE id = 1")
            until(partial(all_delivered, bench, end))
            between = spent_s(process.pid)
            bench.stack.state("UPDATE rowtide.reconcile SET state = 'wanted', asked = asked + 1")
            until(partial(_is_done, bench), DEADLINE_S)
            changes.append((float(size), 1e6 * (between - before) / CHANGES))
            passes.append((float(size), 1e6 * (spent_s(process.pid) - between) / size))
    series = {f"a change, of {CHANGES:,}": changes, "a row of a pass that finds nothing": passes}
    figures.add_curve(
        "table", ("rows of the table", "our process's CPU, microseconds"), series, "one process, no quota"
    )


def peak_mib(pid: int) -> float:
    """The most memory that a process had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _sizes(figures: Measurements) -> list[int]:
    return [size for size in SIZES if size <= figures.up_to]


def _loaded(bench: Stand, *words: str) -> Popen[bytes]:
    process = bench.stack.start(*words)
    until(lambda: _is_done(bench) and ("capture" in words or bench.waiting() == 0), DEADLINE_S)
    return process


def _is_staged(bench: Stand, end: int) -> bool:
    return bench.staged() >= end


def _is_done(bench: Stand) -> bool:
    return bench.stack.state("SELECT state FROM rowtide.reconcile") == [("done",)]
