"""One crash history: a seed in, kills, faults and acts on real processes, a verdict out.

In: `Plan` (seed and rounds, as JSON), directories. Out: `Verdict` with its figures and findings (empty: nothing lost,
nothing doubled). Called by the crash tests, the soak and the replay. Rule: everything that is drawn comes from the
plan, so a saved plan can be run again; the findings look at the databases and the lists, never into the product.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.e2e.crash.acts import ACTS
from tests.e2e.crash.judge import judge, of_nobody
from tests.e2e.crash.lives import Life, Work, work_of
from tests.e2e.crash.plan import RANDOM, RULES, Plan, Round
from tests.e2e.crash.world import World

START_S = 15.0
"""How long a process may take until it works; it is killed then, and counted as killed during its start."""

FAILPOINT_S = 6.0
"""How long a failpoint may take to be passed; the process is killed then, as at a random moment."""


@dataclass(slots=True)
class Verdict:
    """What a history showed."""

    findings: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)


class History:
    """Runs a plan on servers of its own."""

    def __init__(self, plan: Plan, directory: Path, simulator: Simulator, new_cluster: Callable[..., Cluster]) -> None:
        self.plan = plan
        self.world = World(directory, simulator, new_cluster, plan.state, plan.seed, plan.rows)
        self.verdict = Verdict()
        self.random = random.Random(f"which {plan.seed}")
        self._confirmed = 0
        self._gap = False

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
        deadline = time.monotonic() + budget_s
        world.workload.start()
        try:
            for number, this in enumerate(self.plan.rounds):
                if time.monotonic() > deadline:
                    break
                self._round(number, this)
        finally:
            world.workload.stop()
            world.simulator.clear_faults()
        self._end()

    # --- a round ------------------------------------------------------------------------------------------------------

    def _round(self, number: int, this: Round) -> None:
        self.world.simulator.set_faults(RULES[this.fault])
        if this.outage == "slot":
            self.world.drop_slots()
            self._gap = True
        lives = self._start(this)
        if this.outage in ("state", "source"):
            time.sleep(0.3)
            self.world.kill_server(self.world.state if this.outage == "state" else self.world.source)
        if this.outage != "none":
            self.verdict.figures[f"{this.outage} {'dropped' if this.outage == 'slot' else 'killed'}"] += 1
        if this.act:
            self._act(this)
        dead = self._kill_one(number, lives, this)
        if len(lives) > 1:
            # The other one has gone on meanwhile; the dead one is back at once, and then one of them dies again.
            lives[dead] = self._start_one(dead, "")
            self._kill_one(number, lives, this)
        for life in lives.values():
            if life.process.poll() is None:
                self._kill(life)
        self._check_confirmed(number, this.outage)
        if this.store == "wiped":
            shutil.rmtree(self.world.directory / "recovery", ignore_errors=True)
            self.verdict.figures["recovery stores wiped"] += 1

    def _act(self, this: Round) -> None:
        rng = random.Random(f"{self.plan.seed} {this.act} {this.after_s}")
        self.world.acted = True
        if rng.random() < 0.5:
            self.world.calm()
        if ACTS[this.act](self.world, rng):
            self.verdict.figures["acts of administration"] += 1

    def _start(self, this: Round) -> dict[str, Life]:
        armed = "" if this.point == RANDOM else f"{this.point}=kill@{this.hit}"
        roles = ("capture,deliver",) if self.plan.roles == "one" else ("capture", "deliver")
        return {one: self._start_one(one, armed) for one in roles}

    def _start_one(self, roles: str, armed: str) -> Life:
        before = work_of(self.world.stack) or Work()
        return Life(roles, self.world.stack.start("--roles", roles, failpoints=armed), before)

    # --- who dies -----------------------------------------------------------------------------------------------------

    def _kill_one(self, number: int, lives: dict[str, Life], this: Round) -> str:
        """Wait until one of them has killed itself at its failpoint; else kill one, when it has worked. Its roles."""
        chosen = lives[self.random.choice(sorted(lives))]
        if this.point == RANDOM:
            self._wait_for_a_death(lives, lambda: chosen.has_worked(self.world.stack), START_S)
            self._wait_for_a_death(lives, lambda: False, this.after_s)
        else:
            self._wait_for_a_death(lives, lambda: False, FAILPOINT_S)
        dead = next((life for life in lives.values() if life.process.poll() is not None), None)
        if dead is None:
            self._kill(chosen)
            return chosen.roles
        code = dead.process.returncode
        if this.point != RANDOM and code == -signal.SIGKILL:
            self.verdict.figures[f"at {this.point}"] += 1
            self._count(dead, "kills at a failpoint")
        elif code != 1:
            # Killed, or stopped with a reason that a supervisor restarts: nothing else ends a process.
            self.verdict.findings.append(f"round {number}: exit code {code} of a process nobody asked to end")
        return dead.roles

    def _wait_for_a_death(self, lives: dict[str, Life], enough: Callable[[], bool], patience_s: float) -> None:
        end = time.monotonic() + patience_s
        while time.monotonic() < end and all(life.process.poll() is None for life in lives.values()) and not enough():
            time.sleep(0.02)

    def _kill(self, life: Life) -> None:
        life.process.send_signal(signal.SIGKILL)
        life.process.wait(10)
        self._count(life, "kills at a random moment")

    def _count(self, life: Life, what: str) -> None:
        figures = self.verdict.figures
        figures["kills"] += 1
        if not life.has_worked(self.world.stack):
            figures["kills during start"] += 1
            return
        figures["working kills"] += 1
        figures[what] += 1
        figures["writes of these lives"] += life.writes(self.world.stack)

    # --- what must hold at every moment and in the end ----------------------------------------------------------------

    def _check_confirmed(self, number: int, outage: str) -> None:
        """Whatever was confirmed to PostgreSQL is in the records: the confirmed position is never above the staged."""
        if self.world.acted:
            return  # other slots, tables that are not read for a while: the end of the history judges it
        stack, workload = self.world.stack, self.world.workload
        slots = stack.sql("SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_type = 'logical'")
        if not slots:
            return
        confirmed = int(slots[0][0])
        if self._gap:
            # The slot is a new one: what it stands beyond was never promised by it, the end of the history judges it.
            seen = list(workload.commits)
            workload.commits[: len(seen)] = [commit for commit in seen if commit.lsn > confirmed]
            self._gap, self._confirmed = False, confirmed
            return
        # A slot's progress is on disk from checkpoint to checkpoint: only a killed source may forget some of it.
        forgot = outage == "source" or (outage == "state" and self.world.state is self.world.source)
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
        lives = self._start(Round(RANDOM, 1, 0.0, "none", "none", "kept"))
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
    path.with_suffix(".txt").write_text("\n".join([*verdict.findings, "", log]))
    return path
