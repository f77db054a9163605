"""One crash history: a seed in, kills, faults and acts on real processes, a verdict out.

In: `Plan` (seed and rounds, as JSON), directories. Out: `Verdict` with its figures and findings (empty: nothing lost,
nothing doubled). Called by the crash tests, the soak and the replay. Rule: everything that is drawn comes from the
plan, so a saved plan can be run again; the findings look at the databases and the lists, never into the product.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.e2e.crash.acts import ACTS
from tests.e2e.crash.judge import judge, of_nobody
from tests.e2e.crash.plan import RANDOM, Plan, Round
from tests.e2e.crash.rounds import Rounds, Verdict
from tests.e2e.crash.world import World


class History(Rounds):
    """Runs a plan on servers of its own."""

    def __init__(self, plan: Plan, directory: Path, simulator: Simulator, new_cluster: Callable[..., Cluster]) -> None:
        self.world = World(directory, simulator, new_cluster, plan.state, plan.seed, plan.rows)
        super().__init__(plan, self.world)
        self._confirmed = 0

    def run(self, budget_s: float) -> Verdict:
        """Prepare, live through the rounds (as many as begin within ``budget_s``), judge.

        A command that fails, or something awaited that does not come, is a finding: what was counted before it stays.
        """
        try:
            self._run(budget_s)
        except AssertionError as failed:
            self.verdict.findings.append(f"the history ended early: {failed}")
        finally:
            self.world.close()
        return self.verdict

    def _run(self, budget_s: float) -> None:
        world = self.world
        world.begin()
        world.workload.start()
        try:
            self.play(budget_s)
        finally:
            world.workload.stop()
            world.simulator.clear_faults()
        self._end()

    def act(self, this: Round) -> None:
        """An act of administration, if the round has one."""
        if not this.act:
            return
        rng = random.Random(f"{self.plan.seed} {this.act} {this.after_s}")
        self.world.acted = True
        if rng.random() < 0.5:
            self.world.calm()
        if ACTS[this.act](self.world, rng):
            self.verdict.figures["acts of administration"] += 1

    # --- what must hold at every moment and in the end ----------------------------------------------------------------

    def check(self, number: int, this: Round) -> None:
        """Whatever was confirmed to PostgreSQL is in the records: the confirmed position is never above the staged."""
        if self.world.acted:
            return  # other slots, tables that are not read for a while: the end of the history judges it
        stack, workload = self.world.stack, self.world.workload
        slots = stack.sql("SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_type = 'logical'")
        if not slots:
            return
        confirmed = int(slots[0][0])
        if self.gap:
            # The slot is a new one: what it stands beyond was never promised by it, the end of the history judges it.
            seen = list(workload.commits)
            workload.commits[: len(seen)] = [commit for commit in seen if commit.lsn > confirmed]
            self.gap, self._confirmed = False, confirmed
            return
        # A slot's progress is on disk from checkpoint to checkpoint: only a killed source may forget some of it.
        forgot = this.outage == "source" or (this.outage == "state" and self.world.state is self.world.source)
        if confirmed < self._confirmed and not forgot:
            self.verdict.findings.append(f"round {number}: the confirmed position fell")
        self._confirmed = confirmed
        known: dict[tuple[str, str], float] = {}
        for sync, key, op, seq in stack.state(
            "SELECT sync, key, op, (fields->>'Seq')::float8 FROM rowtide.outbox"
            " UNION ALL SELECT sync, key, CASE state WHEN 'tombstone' THEN 'd' ELSE 'u' END, (base->>'Seq')::float8"
            " FROM rowtide.ledger"
        ):
            # A delete or a row that will be read again is as new as can be.
            value = float("inf") if op in "dr" else seq or 0.0
            known[sync, key] = max(known.get((sync, key), 0.0), value)
        for commit in list(workload.commits):
            if commit.lsn > confirmed:
                continue
            have = known.get((commit.sync, commit.key))
            if have is None or (commit.seq is not None and have < commit.seq):
                what = f"{commit.sync} {commit.key!r:.40} at seq {commit.seq}"
                self.verdict.findings.append(f"round {number}: {what} was confirmed, records know {have}")

    def _end(self) -> None:
        lives = self.start(Round(RANDOM, 1, 0.0, "none", "none", "kept"))
        try:
            self.world.calm()
            for life in lives.values():
                # The lists may be equal before it has begun, and a deep pass needs a process that reads them.
                self.world.stack.wait_ready(life.process)
            self.world.read_the_lists()
            self.verdict.findings += judge(self.world)
        finally:
            codes = [self.world.stack.stop(life.process) for life in lives.values()]
        if any(codes):
            self.verdict.findings.append(f"exit codes {codes} after SIGTERM")
        stats, workload = self.world.simulator.stats(), self.world.workload
        requests = sum(sum(by.values()) for by in stats["requests"].values())
        self.verdict.figures.update(
            transactions=workload.transactions, rows=workload.changes, histories=1, requests=requests,
            faults=stats["faults"], **{"items of nobody": len(of_nobody(self.world))},
        )  # fmt: skip


SAVED = Path(__file__).parents[2] / "histories"


def save(plan: Plan, verdict: Verdict, directory: Path, log: str) -> Path:
    """Keep a failing history for `make replay FILE=`, with what it found and what the processes said."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"crash-{plan.seed}-{os.getpid()}.json"
    path.write_text(plan.to_json())
    path.with_suffix(".txt").write_text("\n".join([*verdict.findings, "", *verdict.trail, "", log]))
    return path
