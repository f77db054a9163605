"""One crash history: a seed in, kills and faults on real processes, a verdict out.

In: `Plan` (seed and rounds, as JSON), directories. Out: `Verdict` with its figures and findings (empty: nothing lost,
nothing doubled). Called by the crash tests, the soak and the replay. Rule: everything that is drawn comes from the
plan, so a saved plan can be run again; the findings look at the databases and the lists, never into the product.
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from demo.postgres import Cluster
from rowtide.errors import UserError
from state import failpoints
from tests.e2e.crash import shop
from tests.e2e.stack import Stack, wait_until

RANDOM = "random"
"""Killed at a random moment instead of at a failpoint."""

POINTS = (RANDOM, *sorted(failpoints.NAMES))
FAULTS = ("none", "late_5xx", "reset_after", "reset_before", "slow", "truncate", "garbage", "throttle")
OUTAGES = ("none", "state", "source", "slot")
"""Beside the killed process: the state database or the source is killed too, or the slot is dropped."""

ROLES = ("one", "split")
"""One process with all roles, or capture and deliver as two of which one is killed while the other goes on."""


def _batch(probability: float, action: str, **more: Any) -> dict[str, Any]:
    """A rule for whole ``$batch`` requests."""
    return {"path": r"\$batch$", "level": "request", "probability": probability, "action": action, **more}


def _member(probability: float, status: int, **more: Any) -> dict[str, Any]:
    """A rule for single members of a batch."""
    return {"level": "member", "probability": probability, "action": "status", "status": status, **more}


RULES: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "late_5xx": [_member(0.15, 503, after_commit=True), _batch(0.1, "status", status=504, after_commit=True)],
    "reset_after": [_batch(0.15, "reset", after_commit=True)],
    "reset_before": [_batch(0.15, "reset")],
    "slow": [_batch(0.08, "delay", delay_ms=3500), _batch(0.2, "delay", delay_ms=300, after_commit=True)],
    "truncate": [_batch(0.15, "truncate", after_commit=True)],
    "garbage": [_batch(0.15, "garbage", after_commit=True)],
    "throttle": [_member(0.1, 429, retry_after=1)],
}


@dataclass(frozen=True, slots=True)
class Round:
    """One kill: where, at which hit or after how long, under which faults, with which outage, store kept or wiped."""

    point: str
    hit: int
    after_s: float
    fault: str
    outage: str
    store: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A history to run."""

    seed: int
    rounds: tuple[Round, ...]
    rows: int = 150
    roles: str = "one"

    def to_json(self) -> str:
        """As it is saved."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """As it was saved."""
        data = json.loads(text)
        rounds = tuple(Round(**entry) for entry in data["rounds"])
        return cls(data["seed"], rounds, data["rows"], data["roles"])


def pairwise(seed: int) -> list[Round]:
    """Rounds in which every pair of values of two dimensions comes up, in a seeded order."""
    rng = random.Random(seed)
    dimensions: list[Sequence[str]] = [POINTS, FAULTS, OUTAGES, ("kept", "wiped")]
    missing = {
        (a, x, b, y)
        for a, b in itertools.combinations(range(len(dimensions)), 2)
        for x in dimensions[a]
        for y in dimensions[b]
    }
    rounds = []
    while missing:
        drawn = [[rng.choice(values) for values in dimensions] for _ in range(30)]
        best = max(drawn, key=lambda row: len(missing & _pairs(row)))
        if not missing & _pairs(best):
            a, x, b, y = rng.choice(sorted(missing))
            best[a], best[b] = x, y
        missing -= _pairs(best)
        rounds.append(_round(rng, *best))
    rng.shuffle(rounds)
    return rounds


def _pairs(row: Sequence[str]) -> set[tuple[int, str, int, str]]:
    return {(a, row[a], b, row[b]) for a, b in itertools.combinations(range(len(row)), 2)}


def _round(rng: random.Random, point: str, fault: str, outage: str, store: str) -> Round:
    # An outage in every second round at most: servers take their time to come back.
    outage = outage if rng.random() < 0.5 else "none"
    hit = rng.choice([1, 1, 2, 3, 5, 9])
    if point.startswith(("open.", "reconcile.")):
        # Passed only when an era begins, and then once or a few times.
        outage, hit = "slot", 1 if point.startswith("open.") else min(hit, 4)
    return Round(point, hit, round(rng.uniform(0.5, 5.0), 2), fault, outage, store)


def with_random_kills(seed: int, rounds: Sequence[Round]) -> list[Round]:
    """Each of ``rounds`` followed by a kill at a random moment, its faults, outage and store drawn too."""
    rng = random.Random(f"random {seed}")
    drawn = [
        _round(rng, RANDOM, rng.choice(FAULTS), rng.choice(OUTAGES), rng.choice(["kept", "kept", "wiped"]))
        for _ in rounds
    ]
    return [one for pair in zip(rounds, drawn, strict=True) for one in pair]


@dataclass(slots=True)
class Verdict:
    """What a history showed."""

    findings: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)


class History:
    """Runs a plan on servers of its own."""

    def __init__(self, plan: Plan, directory: Path, simulator: Any, new_cluster: Callable[..., Cluster]) -> None:
        self.plan = plan
        self.directory = directory
        self.simulator = simulator
        self.source = new_cluster()
        self.state = new_cluster()
        self.verdict = Verdict()
        source_dsn = self.source.create_database("source")
        state_dsn = self.state.create_database("state")
        self.stack = Stack(
            directory, source_dsn, state_dsn, simulator.ready, shop.SYNCS, "rate_window: 2s\n    licences: 100000"
        )
        self.workload = shop.Workload(lambda: source_dsn, plan.seed, plan.rows)
        self.random = random.Random(f"which {plan.seed}")
        self._confirmed = 0
        self._gap = False

    def run(self, budget_s: float) -> Verdict:
        """Prepare, live through the rounds (as many as begin within ``budget_s``), judge."""
        try:
            return self._run(budget_s)
        finally:
            self.stack.close()

    def _run(self, budget_s: float) -> Verdict:
        self.workload.prepare()
        self.stack.apply()
        deadline = time.monotonic() + budget_s
        self.workload.start()
        try:
            for number, this in enumerate(self.plan.rounds):
                if time.monotonic() > deadline:
                    break
                self._round(number, this)
        finally:
            self.workload.stop()
            self.simulator.clear_faults()
        self._judge()
        return self.verdict

    def _round(self, number: int, this: Round) -> None:
        self.simulator.set_faults(RULES[this.fault])
        if this.outage == "slot":
            self._drop_slot()
        processes = self._start(this)
        if this.outage in ("state", "source"):
            self._outage(self.state if this.outage == "state" else self.source)
        if this.outage != "none":
            self.verdict.figures[f"{this.outage} {'dropped' if this.outage == 'slot' else 'killed'}"] += 1
        dead = self._kill_one(number, processes, this, this.after_s if this.point == RANDOM else 6.0)
        if len(processes) > 1:
            # The other one has gone on meanwhile; the dead one is back at once, and then one of them dies again.
            processes[dead] = self._start_one(dead, "")
            self._kill_one(number, processes, this, this.after_s / 2)
        for process in processes.values():
            if process.poll() is None:
                self._kill(process)
        self._check_confirmed(number, this.outage)
        if this.store == "wiped":
            shutil.rmtree(self.directory / "recovery", ignore_errors=True)
            self.verdict.figures["recovery stores wiped"] += 1

    def _start(self, this: Round) -> dict[str, subprocess.Popen[bytes]]:
        armed = "" if this.point == RANDOM else f"{this.point}=kill@{this.hit}"
        roles = ("capture,deliver",) if self.plan.roles == "one" else ("capture", "deliver")
        return {one: self._start_one(one, armed) for one in roles}

    def _start_one(self, roles: str, armed: str) -> subprocess.Popen[bytes]:
        return self.stack.start("--roles", roles, failpoints=armed)

    def _kill_one(
        self, number: int, processes: dict[str, subprocess.Popen[bytes]], this: Round, patience_s: float
    ) -> str:
        """Wait until one of them has killed itself at its failpoint; else kill one when patience is over. Its roles."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end and all(process.poll() is None for process in processes.values()):
            time.sleep(0.02)
        dead = next((roles for roles, process in processes.items() if process.poll() is not None), None)
        if dead is None:
            dead = self.random.choice(sorted(processes))
            self._kill(processes[dead])
        elif this.point != RANDOM and processes[dead].returncode == -signal.SIGKILL:
            self.verdict.figures["kills"] += 1
            self.verdict.figures["kills at a failpoint"] += 1
            self.verdict.figures[f"at {this.point}"] += 1
        elif processes[dead].returncode != 1:
            # Killed, or stopped with a reason that a supervisor restarts: nothing else ends a process.
            said = f"round {number}: exit code {processes[dead].returncode} of a process nobody asked to end"
            self.verdict.findings.append(said)
        return dead

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        self.verdict.figures["kills"] += 1
        self.verdict.figures["kills at random"] += 1

    def _drop_slot(self) -> None:
        """What was committed and not read yet is in no stream any more: only a reconcile can find it."""

        def dropped() -> bool:
            try:
                self.stack.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
            except psycopg.errors.ObjectInUse:  # the walsender of a killed process has not noticed yet
                return False
            return True

        wait_until(dropped, "the slot can be dropped")
        self._gap = True

    def _outage(self, cluster: Cluster) -> None:
        time.sleep(0.3)
        cluster.kill()

        def back() -> bool:
            try:
                cluster.start()
            except UserError:  # the killed server's children have not all gone yet
                return False
            return True

        wait_until(back, "the server comes back")

    def _check_confirmed(self, number: int, outage: str) -> None:
        """Whatever was confirmed to PostgreSQL is in the records: the confirmed position is never above the staged."""
        slots = self.stack.sql(
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_type = 'logical'"
        )
        if not slots:
            return
        confirmed = int(slots[0][0])
        if self._gap:
            # The slot is a new one: what it stands beyond was never promised by it, the end of the history judges it.
            seen = list(self.workload.commits)
            self.workload.commits[: len(seen)] = [commit for commit in seen if commit.lsn > confirmed]
            self._gap, self._confirmed = False, confirmed
            return
        # A slot's progress is on disk from checkpoint to checkpoint: only a killed source may forget some of it.
        if confirmed < self._confirmed and outage != "source":
            self.verdict.findings.append(f"round {number}: the confirmed position fell")
        self._confirmed = confirmed
        known: dict[tuple[str, str], float] = {}
        for sync, key, op, seq in self.stack.state(
            "SELECT sync, key, op, (fields->>'Seq')::float8 FROM rowtide.outbox"
            " UNION ALL SELECT sync, key, CASE state WHEN 'tombstone' THEN 'd' ELSE 'u' END, (base->>'Seq')::float8"
            " FROM rowtide.ledger"
        ):
            # A delete or a row that will be read again is as new as can be.
            value = float("inf") if op in "dr" else seq or 0.0
            known[sync, key] = max(known.get((sync, key), 0.0), value)
        for commit in list(self.workload.commits):
            if commit.lsn > confirmed:
                continue
            have = known.get((commit.sync, commit.key))
            if have is None or (commit.seq is not None and have < commit.seq):
                what = f"{commit.sync} {commit.key!r:.40} at seq {commit.seq}"
                self.verdict.findings.append(f"round {number}: {what} was confirmed, records know {have}")

    def _judge(self) -> None:
        processes = self._start(Round(RANDOM, 1, 0.0, "none", "none", "kept"))
        try:
            wait_until(lambda: self._quiet() and not self._differences(), "source and lists are equal", 90)
        except AssertionError:
            self.verdict.findings.append(f"not equal in the end: {self._differences()[:5]}")
        finally:
            codes = [self.stack.stop(process) for process in processes.values()]
        if any(codes):
            self.verdict.findings.append(f"exit codes {codes} after SIGTERM")
        self._check_doubles()
        self._check_ledger()
        self._check_counts()
        self._check_quota()
        self.verdict.figures.update(
            transactions=self.workload.transactions, rows=self.workload.changes, histories=1,
            **{"requests": sum(sum(by.values()) for by in self.simulator.stats()["requests"].values())},
            faults=self.simulator.stats()["faults"],
        )  # fmt: skip

    def _quiet(self) -> bool:
        [(waiting,)] = self.stack.state("SELECT count(*) FROM rowtide.outbox WHERE state = 'waiting'")
        return bool(waiting == 0)

    def _items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.simulator.items()
        return [item for item in items if not item["deleted"]]

    def _differences(self) -> list[str]:
        with psycopg.connect(self.stack.source_dsn, autocommit=True) as connection:
            wanted = shop.expected(connection)
        keys = dict(self._keys(wanted))
        found: dict[tuple[str, str] | str, list[dict[str, Any]]] = {}
        for item in self._items():
            found.setdefault(keys.get(item["fields"].get("RowtideKey"), str(item["fields"])), []).append(item)
        differences = [f"extra item {key}" for key in found if key not in wanted]
        for key, (title, fields) in wanted.items():
            items = found.get(key, [])
            if len(items) != 1:
                differences.append(f"{key}: {len(items)} items")
            elif items[0]["list"] != title:
                differences.append(f"{key}: in {items[0]['list']}, not {title}")
            else:
                have = items[0]["fields"]
                differences.extend(
                    f"{key}.{name}: {have.get(name)!r:.40}, not {value!r:.40}"
                    for name, value in fields.items()
                    if not _same(have.get(name), value)
                )
        return differences

    def _keys(self, wanted: shop.Expected) -> list[tuple[str, tuple[str, str]]]:
        from rowtide.keys import rowtide_key

        return [(rowtide_key(sync, key), (sync, key)) for sync, key in wanted]

    def _check_doubles(self) -> None:
        counted = Counter(item["fields"].get("RowtideKey") for item in self._items())
        self.verdict.findings += [f"{count} items with key {key}" for key, count in counted.items() if count > 1]
        stats = self.simulator.stats()
        created = sum(one["created"] for one in stats["posts_by_key"].values())
        deleted = stats["deletes"]["total"]
        if created - deleted != sum(counted.values()):
            self.verdict.findings.append(f"{created} items created, {deleted} deleted, {sum(counted.values())} there")

    def _check_ledger(self) -> None:
        pairs = set(self.stack.state("SELECT list_id, item_id FROM rowtide.ledger WHERE state = 'live'"))
        items = {(item["list_id"], item["id"]) for item in self._items()}
        self.verdict.findings += [f"ledger pair {pair} has no item" for pair in sorted(pairs - items)[:5]]
        self.verdict.findings += [f"item {item} has no ledger pair" for item in sorted(items - pairs)[:5]]

    def _check_counts(self) -> None:
        """Each pair was delivered once at least, and no write was counted that Graph did not see."""
        short = self.stack.state(
            "SELECT l.sync, count(*), coalesce(max(p.delivered), 0) FROM rowtide.ledger l"
            " LEFT JOIN rowtide.progress p USING (sync) GROUP BY l.sync HAVING count(*) > coalesce(max(p.delivered), 0)"
        )
        self.verdict.findings += [f"{sync}: {pairs} pairs, {did} counted as delivered" for sync, pairs, did in short]
        [(writes, suppressed, delivered)] = self.stack.state(
            "SELECT coalesce(sum(writes), 0), coalesce(sum(suppressed), 0), coalesce(sum(delivered), 0)"
            "  FROM rowtide.progress"
        )
        stats = self.simulator.stats()
        seen = sum(stats[kind]["total"] for kind in ("creates", "updates", "deletes"))
        if writes > seen or suppressed > delivered:
            said = f"{writes} writes counted, {suppressed} of {delivered} rows without one; Graph saw {seen} writes"
            self.verdict.findings.append(said)

    def _check_quota(self) -> None:
        ru = self.simulator.stats()["ru"]
        if ru["limit_per_window"] and ru["max_in_window"] > ru["limit_per_window"]:
            self.verdict.findings.append(
                f"budget exceeded: {ru['max_in_window']} of {ru['limit_per_window']} RU in a window"
            )


def _same(have: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(have, str) and have.rstrip() == wanted.rstrip()
    if wanted is None:
        return have in (None, "")
    return bool(have == wanted)


SAVED = Path(__file__).parents[2] / "histories"


def save(plan: Plan, verdict: Verdict, directory: Path, log: str) -> Path:
    """Keep a failing history for `make replay FILE=`, with what it found and what the processes said."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"crash-{plan.seed}-{os.getpid()}.json"
    path.write_text(plan.to_json())
    path.with_suffix(".txt").write_text("\n".join([*verdict.findings, "", log]))
    return path
