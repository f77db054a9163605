"""One history of administration: acts on a world that runs, looks at `status`, and the verdict in the end.

In: servers, cards by name and number (`CARDS`). Out: findings, empty when all is as it should be. Called by the state
machine (tests/e2e/test_administration_histories.py), the replay and the take-outs. Rules (docs/design.md section 16):
whenever someone looks, a sync whose list is not equal to its table says so; in the end, when everything that was left
open is undone, source and lists are equal. A card does the same whenever it is played with the same number.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.conftest import reachable_directory
from tests.e2e.crash.acts import ACTS
from tests.e2e.crash.deck import deal
from tests.e2e.crash.definition import IDS
from tests.e2e.crash.judge import describe, is_unequal, judge
from tests.e2e.crash.servers import servers
from tests.e2e.crash.world import OWN, SHARED, World
from tests.e2e.stack import wait_until

SAVED = Path(__file__).parents[2] / "histories"
ROWS = 60
STEPS = 12
SLOW = "reconcile.after_read=pause:0.4%0.5;stage.before_commit=pause:0.1%0.1"
"""Rows change between a page's read and its judgement, and acts come between a change and its staging."""
BEHIND = f"{SLOW};epoch.closing=pause:3@1"
LOOK_S = 90.0
"""How long status and lists may take to agree after an act, on a loaded machine."""


@dataclass(frozen=True, slots=True)
class Course:
    """What is done in a history: cards with the number each is drawn with; ``state``: where the state database is."""

    seed: int
    state: str
    cards: tuple[tuple[str, int], ...]

    def to_json(self) -> str:
        """As it is saved."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Course":
        """As it was saved."""
        data = json.loads(text)
        return cls(**{**data, "cards": tuple((name, number) for name, number in data["cards"])})


def courses(seed: int, steps: int) -> Iterator[Course]:
    """Histories for ever, dealt from one deck."""
    cards, rng = deal(seed, CARDS), random.Random(f"numbers {seed}")
    for state in itertools.cycle([OWN, SHARED]):
        yield Course(seed, state, tuple((next(cards), rng.randrange(1 << 16)) for _ in range(steps)))


class Administration:
    """A history under way, on servers of its own; `close` ends them."""

    def __init__(self, state: str) -> None:
        self.played: list[tuple[str, int]] = []
        self.findings: list[str] = []
        self._shown = ""
        self.state = state
        self._ended = ExitStack()
        self.directory = reachable_directory("rowtide-oracle-")
        self._ended.callback(shutil.rmtree, self.directory, ignore_errors=True)
        simulator, clusters = self._ended.enter_context(servers())
        print(f" a world whose state database is on a server: {state}", flush=True)
        self.world = World(self.directory, simulator, clusters, state, seed=1, rows=ROWS)
        self._ended.callback(self.world.close)
        self.world.acted = True
        self.world.begin()
        self.world.workload.start()
        self._roles = ["capture,deliver"]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start()

    def close(self) -> None:
        """End all servers and processes."""
        self._ended.close()

    # --- cards --------------------------------------------------------------------------------------------------------

    def play(self, name: str, number: int) -> None:
        """One card; after half of them somebody looks."""
        self.played.append((name, number))
        try:
            self._play(name, number)
        except AssertionError as failed:
            self.findings.append(f"at {name} {number}: {failed}")

    def _play(self, name: str, number: int) -> None:
        rng = random.Random(f"around {name} {number}")
        if rng.random() < 0.25:
            self.world.calm()
        done = self._do(name, number)
        if not done and self.world.open:
            self.world.calm()
            done = self._do(name, number)
        said = "done" if done else "nothing to act on"
        print(f"  {name} {number}: {said}, open: {sorted(self.world.open)}", flush=True)
        if rng.random() < 0.5:
            self._look()

    def _do(self, name: str, number: int) -> bool:
        rng = random.Random(f"{name} {number}")
        return ACTS[name](self.world, rng) if name in ACTS else OF_PROCESSES[name](self)

    def restart(self) -> bool:
        """The processes end in order and come back."""
        self._end_in_order()
        self._start()
        return True

    def die(self) -> bool:
        """The processes are killed and come back."""
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        self._start()
        return True

    def lose_the_store(self) -> bool:
        """The processes come back without their recovery store."""
        self._end_in_order()
        shutil.rmtree(self.directory / "recovery", ignore_errors=True)
        self._start()
        return True

    def split_or_join(self) -> bool:
        """Capture and deliver become two processes, or one again."""
        self._end_in_order()
        self._roles = ["capture", "deliver"] if len(self._roles) == 1 else ["capture,deliver"]
        self._start()
        return True

    def stand_still(self) -> bool:
        """No process runs for a while; those that come back have much to read, and are slow to stage it."""
        if "processes" in self.world.open:
            return False
        self._end_in_order()
        self._processes = []
        self.world.later("processes", lambda: self._start(BEHIND))
        return True

    def sleep_through_an_era(self) -> bool:
        """The processes stand still while servers die, the slot is lost and others take over; then they wake."""
        if self.world.open:
            return False
        asleep, world = self._processes, self.world
        for process in asleep:
            world.stack.wait_ready(process)
            process.send_signal(signal.SIGSTOP)
        world.workload.stop()
        for cluster in {world.source, world.state}:
            world.kill_server(cluster)
        world.drop_slots()
        world.sql("DELETE FROM things WHERE id > (SELECT max(id) - 20 FROM things)", "DELETE FROM names")
        world.workload.start()
        config, text = world.stack.config, world.stack.config.read_text()
        config.write_text(text.replace("/recovery,", f"/recovery-{asleep[0].pid},"))  # they run on another machine
        self._start()
        undone = "SELECT 1 FROM rowtide.reconcile WHERE state <> 'done'"
        for process in self._processes:
            world.stack.wait_ready(process)
        config.write_text(text)
        wait_until(lambda: not world.stack.state(undone), "the new era is reconciled", LOOK_S)
        for process in asleep:
            process.send_signal(signal.SIGCONT)
        for process in asleep:
            process.wait(60)
        return True

    def _end_in_order(self) -> None:
        for process in self._processes:
            self.world.stack.wait_ready(process)
            assert self.world.stack.stop(process) == 0, self.world.stack.logged()[-3000:]

    def _start(self, failpoints: str = SLOW) -> None:
        self.world.open.pop("processes", None)
        self._processes = [self.world.stack.start("--roles", roles, failpoints=failpoints) for roles in self._roles]

    # --- looks --------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Whatever is not equal, `status` says of it that something is to be done or in the way."""
        print("  look", flush=True)
        self.world.workload.stop()
        try:
            wait_until(self._status_tells_the_truth, "what status says is so", LOOK_S)
        except AssertionError as failed:
            raise AssertionError(f"{failed}; {self._shown}") from failed
        finally:
            self.world.workload.start()

    def _status_tells_the_truth(self) -> bool:
        passed = self.world.stack.sql("SELECT pg_current_wal_lsn() - '0/0'")[0][0]
        wait_until(lambda: self._captured(passed) or self.world.open, "capture has passed what was committed", LOOK_S)
        said = {one["sync"]: one["reason"]["code"] for one in self.world.stack.status()["syncs"]}
        reasons = {id_: said.get(self.world.definition.names[id_]) for id_ in IDS}
        silent = [id_ for id_, reason in reasons.items() if reason != "idle" and not self.world.open]
        unknown = self.world.edited | self.world.in_doubt
        unequal = [id_ for id_, reason in reasons.items() if reason == "idle" and id_ not in unknown]
        unequal = [id_ for id_ in unequal if is_unequal(self.world, id_)]
        self._shown = f"{reasons}, unequal: {unequal}, {describe(self.world, unequal)}"
        self.world.let_go()
        return not silent and not unequal

    def _captured(self, lsn: int) -> bool:
        found = self.world.stack.sql(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active AND confirmed_flush_lsn - '0/0' >= %s",
            self.world.stack.slot,
            lsn,
        )
        return bool(found)

    # --- the end ------------------------------------------------------------------------------------------------------

    def end(self, seed: int) -> list[str]:
        """Everything open is undone: source and lists have to become equal. A history that found something is saved."""
        if not self.findings:
            try:
                self.findings += self._verdict()
            except AssertionError as failed:
                self.findings.append(f"at the end: {failed}")
        if self.findings:
            self._save(seed)
        return self.findings

    def _verdict(self) -> list[str]:
        self.world.workload.stop()
        self.world.calm()
        for process in self._processes:
            self.world.stack.wait_ready(process)  # a deep pass needs a process that reads the lists
        self.world.read_the_lists()
        ended = [process.poll() for process in self._processes]
        if any(code is not None for code in ended):
            return [f"processes ended by themselves: {ended}"]
        return judge(self.world)

    def _save(self, seed: int) -> None:
        """For `make replay FILE=`, with what it found and what the processes said."""
        SAVED.mkdir(parents=True, exist_ok=True)
        path = SAVED / f"administration-{seed}-{os.getpid()}-{len(list(SAVED.iterdir()))}.json"
        path.write_text(Course(seed, self.state, tuple(self.played)).to_json())
        path.with_suffix(".txt").write_text("\n".join([*self.findings, "", self.world.stack.logged()]))
        print(f"saved: {path}", flush=True)


OF_PROCESSES = {
    act.__name__: act
    for act in (
        Administration.restart, Administration.die, Administration.lose_the_store, Administration.split_or_join,
        Administration.stand_still, Administration.sleep_through_an_era,
    )
}  # fmt: skip
CARDS = (*ACTS, *OF_PROCESSES)
"""Everything a history may do."""


def run(course: Course) -> list[str]:
    """The findings of a history; one that has some is saved."""
    history = Administration(course.state)
    try:
        for name, number in course.cards:
            if not history.findings:
                history.play(name, number)
        return history.end(course.seed)
    finally:
        history.close()


def main(arguments: list[str]) -> int:
    """Histories as drawn from a seed, until one finds something; exit code 1 then."""
    parser = argparse.ArgumentParser(prog="administration", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--histories", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    seed = options.seed or random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    for number, course in enumerate(itertools.islice(courses(seed, options.steps), options.histories)):
        findings = run(course)
        print(f"history {number}: {findings or 'equal'}", flush=True)
        if findings:
            return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    sys.exit(main(sys.argv[1:]))
