"""Rounds of kills: processes are started, worked, killed at a failpoint or at a random moment, and started again.

In: a `Plan`, a `Ground`. Out: `Verdict` with its figures and findings. Called by histories of both kinds, which say
what else happens in a round and what has to hold after it. Rule: everything that is drawn comes from the plan.
"""

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.crash.ground import Ground
from tests.e2e.crash.lives import Life, Work, work_of
from tests.e2e.crash.plan import RANDOM, RULES, Plan, Round

START_S = 15.0
"""How long a process may take until it works; it is killed then, and counted as killed during its start."""

FAILPOINT_S = 6.0
"""How long a failpoint may take to be passed; the process is killed then, as at a random moment."""


@dataclass(slots=True)
class Verdict:
    """What a history showed. ``trail``: what became of the records of rows that findings name."""

    findings: list[str] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)


class Rounds:
    """Plays the rounds of a plan on a ground."""

    def __init__(self, plan: Plan, ground: Ground) -> None:
        self.plan = plan
        self.ground = ground
        self.verdict = Verdict()
        self.random = random.Random(f"which {plan.seed}")
        self.gap = False
        """A slot was dropped, and nobody has looked at the new one yet."""

    def act(self, this: Round) -> None:
        """What somebody does while the processes of the round work."""

    def check(self, number: int, this: Round) -> None:
        """What has to hold after the round."""

    def play(self, budget_s: float) -> None:
        """As many rounds as begin within ``budget_s``."""
        deadline = time.monotonic() + budget_s
        for number, this in enumerate(self.plan.rounds):
            if time.monotonic() > deadline:
                break
            self._round(number, this)

    def _round(self, number: int, this: Round) -> None:
        self.ground.simulator.set_faults(RULES[this.fault])
        if this.outage == "slot":
            self.ground.drop_slots()
            self.gap = True
        lives = self.start(this)
        if this.outage in ("state", "source"):
            time.sleep(0.3)
            self.ground.kill_server(self.ground.state if this.outage == "state" else self.ground.source)
        if this.outage != "none":
            self.verdict.figures[f"{this.outage} {'dropped' if this.outage == 'slot' else 'killed'}"] += 1
        self.act(this)
        dead = self._kill_one(number, lives, this)
        if len(lives) > 1:
            # The other one has gone on meanwhile; the dead one is back at once, and then one of them dies again.
            lives[dead] = self._start_one(dead, "")
            self._kill_one(number, lives, this)
        for life in lives.values():
            if life.process.poll() is None:
                self._kill(life)
        self.check(number, this)
        if this.store == "wiped":
            shutil.rmtree(self.ground.directory / "recovery", ignore_errors=True)
            self.verdict.figures["recovery stores wiped"] += 1

    def start(self, this: Round) -> dict[str, Life]:
        """Start the processes of a round, by their roles."""
        armed = "" if this.point == RANDOM else f"{this.point}=kill@{this.hit}"
        roles = ("capture,deliver",) if self.plan.roles == "one" else ("capture", "deliver")
        return {one: self._start_one(one, armed) for one in roles}

    def _start_one(self, roles: str, armed: str) -> Life:
        before = work_of(self.ground.stack) or Work()
        return Life(roles, self.ground.stack.start("--roles", roles, failpoints=armed), before)

    # --- who dies -----------------------------------------------------------------------------------------------------

    def _kill_one(self, number: int, lives: dict[str, Life], this: Round) -> str:
        """Wait until one of them has killed itself at its failpoint; else kill one, when it has worked. Its roles."""
        chosen = lives[self.random.choice(sorted(lives))]
        if this.point == RANDOM:
            self._wait_for_a_death(lives, lambda: chosen.has_worked(self.ground.stack), START_S)
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
        if not life.has_worked(self.ground.stack):
            figures["kills during start"] += 1
            return
        figures["working kills"] += 1
        figures[what] += 1
        figures["writes of these lives"] += life.writes(self.ground.stack)
