"""Measures what we add to Graph's own latency, and what recording its own figures takes of a process.

In: the whole product on real processes against the simulator. Out: ``latency.overhead_* recording.*``, and the curve of
latency against load. Rules: a row's latency is taken from the two databases, commit to settle, and not from what the
product says of itself; each row changes once in a window, so that each commit has its write; Graph's own latency is
what the simulator is set to take for every call.
"""

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import psycopg

from perf import accounted
from perf.delivery import all_delivered
from perf.figures import Measurements
from perf.stand import Stand, stand, until

GRAPH_MS = 100.0
QUOTA_PER_S = 0.8 * 6_250 / 60 / 2
"""Writes a second that the default share of the largest tier's quota pays."""
AT = 0.8
"""Of the quota, the load at which the promise holds."""
WINDOW_S = 60.0
SHARES = (0.2, 0.4, 0.6, 0.8, 0.95)
SHARE_S = 20.0
PACED_S = 30.0
BULK_ROWS = 20_000
COMMITS = {"track_commit_timestamp": "on"}

COMMITTED = "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM bench WHERE id = ANY (%s)"
SETTLED = "SELECT key, extract(epoch FROM updated_at)::float8 FROM rowtide.ledger WHERE sync = 'bench'"


def overhead(figures: Measurements, repetitions: int) -> None:
    """Measure commit to acknowledged less Graph's own latency, at 80 % of the quota."""
    found: dict[str, list[float]] = {"p50": [], "p95": [], "p99": []}
    rate = AT * QUOTA_PER_S
    with _paced(round(rate * WINDOW_S)) as bench:
        rng = random.Random(4)
        for repetition in range(repetitions + 1):
            latencies = _latencies_ms(bench, rng, rate, WINDOW_S if repetition else WINDOW_S / 2)
            if repetition:
                for name, at in (("p50", 50), ("p95", 95), ("p99", 99)):
                    found[name].append(quantiles(latencies, n=100)[at - 1] - GRAPH_MS)
    for name, values in found.items():
        against = f"less the {GRAPH_MS:.0f} ms of each call; {rate:.0f} changes/s, 80 % of the quota"
        figures.add(f"latency.overhead_{name}_ms", values, "ms", against)


def load_curve(figures: Measurements, _repetitions: int) -> None:
    """Measure latency against load."""
    series: dict[str, list[tuple[float, float]]] = {"p50": [], "p95": [], "p99": []}
    with _paced(round(max(SHARES) * QUOTA_PER_S * SHARE_S)) as bench:
        rng = random.Random(5)
        _latencies_ms(bench, rng, SHARES[0] * QUOTA_PER_S, SHARE_S)
        for share in SHARES:
            latencies = _latencies_ms(bench, rng, share * QUOTA_PER_S, SHARE_S)
            for name, at in (("p50", 50), ("p95", 95), ("p99", 99)):
                series[name].append((100 * share, quantiles(latencies, n=100)[at - 1]))
    axes = ("changes offered, % of what the quota pays", "ms from commit to acknowledged")
    against = f"{GRAPH_MS:.0f} ms of it Graph's; largest tier, {SHARE_S:.0f} s for each load"
    figures.add_curve("load", axes, series, against)


def recording(figures: Measurements, repetitions: int) -> None:
    """Measure the share of a process's CPU that recording its own figures takes, at full speed and at a steady pace."""
    bulk, paced, gauging = [], [], []
    options = ("--tier", "off", "--latency-ms", "0")
    with TemporaryDirectory() as directory, stand(*options, graph_options="quota: off") as bench:
        account = Path(directory) / "account.json"
        bench.stack.module = "perf.accounted"
        bench.stack.environment[accounted.ACCOUNT] = str(account)
        bench.fill(1, 200)
        bench.stack.start()
        until(lambda: bench.stack.state("SELECT state FROM rowtide.reconcile") == [("done",)] and bench.waiting() == 0)
        rng = random.Random(6)
        for repetition in range(repetitions + 1):
            first = 1_000 + repetition * BULK_ROWS
            before = _account(account)
            bench.fill(first, first + BULK_ROWS - 1)
            end = bench.wal_end()
            bench.stack.sql("UPDATE bench SET quantity = quantity + 1 WHERE id = 1")
            until(partial(all_delivered, bench, end))
            between = _account(account)
            _offer(bench, rng, range(1, 200), AT * QUOTA_PER_S, PACED_S)
            until(lambda: bench.waiting() == 0)
            after = _account(account)
            if repetition:
                bulk.append(_share(before, between, "recording"))
                paced.append(_share(between, after, "recording"))
                gauging.append(_share(between, after, "gauging"))
    of = "of the CPU of a process that captures and delivers"
    figures.add("recording.cost_ratio", bulk, "ratio", f"{of} {BULK_ROWS:,} new rows at full speed")
    figures.add("recording.paced_ratio", paced, "ratio", f"{of} {AT * QUOTA_PER_S:.0f} changes/s")
    figures.add("recording.gauging_ratio", gauging, "ratio", f"{of} {AT * QUOTA_PER_S:.0f} changes/s; the duty gauge")


def _share(before: Mapping[str, float], after: Mapping[str, float], kind: str) -> float:
    return (after[kind] - before[kind]) / (after["process"] - before["process"])


def _account(path: Path) -> dict[str, float]:
    """What the process says next, so that everything up to now is in it."""
    asked = time.time()
    found: list[dict[str, float]] = []

    def is_newer() -> bool:
        found[:] = [accounted.read(path)] if path.exists() else []
        return bool(found) and found[0]["at"] > asked

    until(is_newer)
    return found[0]


@contextmanager
def _paced(rows: int) -> Iterator[Stand]:
    """A stand at the largest tier's quota whose table and list have so many rows, with a process at work."""
    options = ("--tier", "max", "--latency-ms", f"{GRAPH_MS:.0f}")
    with stand(*options, graph_options="licences: 100000", server=COMMITS) as bench:
        bench.fill(1, rows)
        bench.stack.start()
        until(lambda: bench.stack.state("SELECT state FROM rowtide.reconcile") == [("done",)] and bench.waiting() == 0)
        yield bench


def _latencies_ms(bench: Stand, rng: random.Random, rate: float, seconds: float) -> list[float]:
    """Of a change of each of so many rows, from its commit to the settle of its write."""
    keys = list(range(1, 1 + round(rate * seconds)))
    rng.shuffle(keys)
    changed = _offer(bench, rng, keys, rate, seconds)
    end = bench.wal_end()
    bench.stack.sql("UPDATE bench SET extra = '{}' WHERE id = 1")
    until(partial(all_delivered, bench, end))
    commits = bench.stack.sql(COMMITTED, sorted(changed - {1}))
    settles = dict(bench.stack.state(SETTLED))
    return [1000 * (settles[str(key)] - committed) for key, committed in commits]


def _offer(bench: Stand, rng: random.Random, keys: Iterable[int], rate: float, seconds: float) -> set[int]:
    """Change one row after the other, Poisson arrivals, until they or the seconds are over; which were changed."""
    due = time.monotonic()
    end, changed = due + seconds, set[int]()
    with psycopg.connect(bench.stack.source_dsn, autocommit=True) as connection:
        for key in cycle(keys) if isinstance(keys, range) else keys:
            due += rng.expovariate(rate)
            if due > end:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            connection.execute("UPDATE bench SET quantity = quantity + 1 WHERE id = %s", [key])
            changed.add(key)
    return changed
