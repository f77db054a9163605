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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.conftest import reachable_directory
from tests.e2e.crash.acts import ACTS
from tests.e2e.crash.acts.servers import read_all, run_tool
from tests.e2e.crash.acts.tables import PUBLICATION
from tests.e2e.crash.deck import deal
from tests.e2e.crash.definition import IDS
from tests.e2e.crash.ground import OWN, SHARED
from tests.e2e.crash.judge import describe, is_unequal, judge
from tests.e2e.crash.servers import servers
from tests.e2e.crash.world import World
from tests.e2e.stack import replace_text, wait_until

SAVED = Path(__file__).parents[2] / "histories"
ROWS = 60
STEPS = 12
SLOW = "reconcile.after_read=pause:0.4%0.5;stage.before_commit=pause:0.1%0.1"
"""Rows change between a page's read and its judgement, and acts come between a change and its staging."""
BEHIND = f"{SLOW};epoch.closing=pause:3@1"
STAGING = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'rowtide stage' AND state = 'idle in transaction'"
UNDONE = "SELECT 1 FROM rowtide.reconcile WHERE state <> 'done'"
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


def courses(seed: int, steps: int, names: Sequence[str]) -> Iterator[Course]:
    """Histories for ever, dealt from one deck of these cards."""
    cards, rng = deal(seed, names), random.Random(f"numbers {seed}")
    for state in itertools.cycle([OWN, SHARED]):
        yield Course(seed, state, tuple((next(cards), rng.randrange(1 << 16)) for _ in range(steps)))


class Administration:
    """A history under way, on servers of its own; `close` ends them."""

    looks_always = False
    """Somebody looks after each card."""

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
        if self.looks_always or rng.random() < 0.5:
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

    def read_it_all(self) -> bool:
        """Every table is compared while its rows change: between a page's read and its judgement changes are staged."""
        world = self.world
        if world.open:
            return False
        self._end_in_order()
        self._start("reconcile.after_read=pause:2")
        for process in self._processes:
            world.stack.wait_ready(process)
        read_all(world)
        wait_until(self._passes_are_done, "the passes are done", LOOK_S)
        return True

    def start_astray(self) -> bool:
        """The connection file names another server, processes are started with it, and passes are asked for."""
        world = self.world
        if world.open:
            return False
        passed = self._wal_end()
        wait_until(lambda: self._captured(passed), "the server is on record", LOOK_S)
        ACTS["lead_astray"](world, random.Random(0))
        self._end_in_order()
        self._start()
        said = "SELECT 1 FROM rowtide.process WHERE health #>> '{sessions,erp,problem,code}' = 'source_differs'"
        wait_until(lambda: world.stack.state(said) or not world.stack.state(UNDONE), "it is noticed", LOOK_S)
        return True

    def fall_behind(self) -> bool:
        """Changes wait to be staged, and their tables are rewritten and truncated: no pass may read before they are."""
        world = self.world
        if world.free("swaps", "names", "lines", "publication") != ["swaps", "names", "lines", "publication"]:
            return False
        self._end_in_order()
        for table in ("swaps", "names", "lines"):
            world.sql(f"UPDATE {table} SET seq = nextval('tick'), body = 'before it'")
        more = "SELECT 60, n, nextval('tick'), 'before it' FROM generate_series(1, 5) n"
        world.sql(f"INSERT INTO lines {more} ON CONFLICT DO NOTHING")
        world.sql("ALTER TABLE names ALTER COLUMN body TYPE text USING body || ' was rewritten'")
        world.sql("TRUNCATE lines")
        self._start(BEHIND)
        return True

    def pause_over_a_stop(self) -> bool:
        """A person pauses a sync that is stopped at capture: neither's end is the end of the other."""
        world = self.world
        if world.open:
            return False
        name, query = world.definition.names["names"], "SELECT kind FROM rowtide.hold WHERE object = 'names'"

        def held() -> set[str]:
            return {kind for (kind,) in world.stack.state(query)}

        world.sql(f"ALTER PUBLICATION {PUBLICATION} DROP TABLE names")
        wait_until(lambda: held() == {"capture"}, "the sync is stopped at capture", LOOK_S)
        world.stack.command("pause", name)
        world.stack.command("resume", name, check=False)
        assert held() == {"capture"}, f"a person's resume leaves {held()} of a stop at capture"
        world.stack.command("pause", name)
        world.sql(f"ALTER PUBLICATION {PUBLICATION} ADD TABLE names")
        wait_until(lambda: "capture" not in held(), "the stop ends", LOOK_S)
        assert held() == {"person"}, f"the end of a stop leaves {held()} of a person's pause"
        world.stack.command("resume", name)
        return True

    def restore_the_records(self) -> bool:
        """The state database is made anew from a dump: what was written since is on no record."""
        world = self.world
        if world.open:
            return False
        dump, before = str(self.directory / "records.dump"), world.simulator.writes()
        run_tool(world, "pg_dump", "-Fc", "-f", dump, "-d", world.stack.state_dsn)
        wait_until(lambda: world.simulator.writes() > before + 20, "more is written", LOOK_S)
        self._end_in_order()
        restored = world.state.create_database(f"restored_{len(self.played)}")
        run_tool(world, "pg_restore", "-d", restored, dump)
        world.stack.state_dsn = world.stack.environment["ROWTIDE_STATE_DSN"] = restored
        world.restored = True
        self._start()
        held = "SELECT 1 FROM rowtide.hold WHERE code = 'list_of_other_instance'"
        wait_until(lambda: world.stack.state(held), "nothing is written before a person says so", LOOK_S)
        world.stack.command("apply", "--yes", "--take-over")
        return True

    def sleep_through_an_era(self) -> bool:
        """The processes stand still while servers die, the slot is lost and others take over; then they wake.

        What they have read and not staged is of rows that are gone by then.
        """
        if self.world.open:
            return False
        world, held = self.world, self.directory / "held"
        self._end_in_order()
        self._start(f"stage.before_commit=pause:{held}")
        asleep = self._processes
        for process in asleep:
            world.stack.wait_ready(process)
        world.workload.stop()  # so that nothing but these rows is under way
        passed = self._wal_end()
        wait_until(lambda: self._captured(passed), "capture has passed what was committed", LOOK_S)
        stopped = "SELECT 1 FROM rowtide.hold WHERE object = 'things' AND kind = 'capture'"
        wait_until(lambda: not world.stack.state(stopped), "capture has seen the end of what stopped it", LOOK_S)
        held.touch()
        world.sql("INSERT INTO things SELECT i, nextval('tick'), 'a', 'asleep' FROM generate_series(1001, 1020) i")
        wait_until(lambda: world.stack.state(STAGING), "they are in the middle of staging", LOOK_S)
        for process in asleep:
            process.send_signal(signal.SIGSTOP)
        for cluster in {world.source, world.state}:
            world.kill_server(cluster)
        world.drop_slots()
        world.sql("DELETE FROM things WHERE id > 1000", "DELETE FROM names")
        world.workload.start()
        self._take_over(asleep[0].pid)
        held.unlink()
        for process in asleep:
            process.send_signal(signal.SIGCONT)
        for process in asleep:
            process.wait(60)
        return True

    def _take_over(self, pid: int) -> None:
        """Others run on another machine, and have done what the new era asks for."""
        config, text = self.world.stack.config, self.world.stack.config.read_text()
        replace_text(config, text.replace("/recovery,", f"/recovery-{pid},"))
        self._start()
        for process in self._processes:
            self.world.stack.wait_ready(process)
        replace_text(config, text)
        wait_until(self._passes_are_done, "the new era is reconciled", LOOK_S)

    def _passes_are_done(self) -> bool:
        """Somebody looks on, and lets go what a breaker stopped."""
        self.world.let_go()
        return not self.world.stack.state(UNDONE)

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
        passed = self._wal_end()
        wait_until(lambda: self._captured(passed) or self.world.open, "capture has passed what was committed", LOOK_S)
        said = {one["sync"]: one["reason"]["code"] for one in self.world.stack.status()["syncs"]}
        reasons = {id_: said.get(self.world.definition.names[id_]) for id_ in IDS}
        silent = [id_ for id_, reason in reasons.items() if reason != "idle" and not self.world.open]
        unknown = self.world.edited | self.world.in_doubt
        unequal = [id_ for id_, reason in reasons.items() if reason == "idle" and id_ not in unknown]
        unequal = [id_ for id_ in unequal if is_unequal(self.world, id_)]
        captured = f"captured: {self._captured(passed)}"
        self._shown = f"{reasons}, {captured}, unequal: {unequal}, {describe(self.world, unequal)}"
        self.world.let_go()
        return not silent and not unequal

    def _wal_end(self) -> int:
        return int(self.world.stack.sql("SELECT pg_current_wal_lsn() - '0/0'")[0][0])

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
        if not self._end_by_themselves():
            self.world.calm()
            for process in self._processes:
                self.world.stack.wait_ready(process)  # a deep pass needs a process that reads the lists
            self.world.read_the_lists()
        return self._end_by_themselves() or judge(self.world)

    def _end_by_themselves(self) -> list[str]:
        """A finding where a process has ended by itself."""
        codes = [process.poll() for process in self._processes]
        return [f"processes ended by themselves: {codes}"] if any(code is not None for code in codes) else []

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
        Administration.stand_still, Administration.fall_behind, Administration.pause_over_a_stop,
        Administration.restore_the_records, Administration.read_it_all,
        Administration.start_astray,
        Administration.sleep_through_an_era,
    )
}  # fmt: skip
CARDS = (*ACTS, *OF_PROCESSES)
"""Everything a history may do."""


def run(course: Course, looks_always: bool = False) -> list[str]:
    """The findings of a history; one that has some is saved."""
    history = Administration(course.state)
    history.looks_always = looks_always
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
    parser.add_argument("--cards", nargs="*", choices=CARDS, metavar="NAME", help="only these, with a look after each")
    options = parser.parse_args(arguments)
    seed, few = options.seed or random.SystemRandom().randrange(1 << 30), options.cards
    steps = len(few) if few else options.steps
    print(f"seed {seed}", flush=True)
    for number, course in enumerate(itertools.islice(courses(seed, steps, few or CARDS), options.histories)):
        findings = run(course, looks_always=bool(few))
        print(f"history {number}: {findings or 'equal'}", flush=True)
        if findings:
            return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    sys.exit(main(sys.argv[1:]))
