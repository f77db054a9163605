"""What administrators, operators and owners of lists do, in any order, between commits: an oracle for all of it.

A history is a Hypothesis run of rules on a real world: acts, restarts, looks at `status`. Rules (docs/design.md
section 16): whenever someone looks, a sync whose list is not equal to its table says so; at the end, when everything
that was left open is undone, source and lists are equal, no key has two items, ledger and lists agree, strangers are
untouched. A failing history is printed as the calls that repeat it; ``ROWTIDE_ORACLE_SEED`` draws the same ones again.
"""

import itertools
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.conftest import reachable_directory
from tests.e2e.crash.acts import ACTS
from tests.e2e.crash.definition import IDS
from tests.e2e.crash.judge import judge, unequal
from tests.e2e.crash.soak import servers
from tests.e2e.crash.world import OWN, SHARED, World
from tests.e2e.stack import wait_until

ROWS = 60
STEPS = 12
SLOW = "reconcile.after_read=pause:0.4%0.5;stage.before_commit=pause:0.1%0.1"
"""Rows change between a page's read and its judgement, and acts come between a change and its staging."""
LOOK_S = 90.0
"""How long status and lists may take to agree after an act, on a loaded machine."""

numbers = st.integers(0, 1 << 16)


class Administration(RuleBasedStateMachine):
    """One history on servers of its own."""

    places = itertools.cycle([OWN, SHARED])

    def __init__(self) -> None:
        super().__init__()
        self._ended = ExitStack()
        self.directory = reachable_directory("rowtide-oracle-")
        self._ended.callback(shutil.rmtree, self.directory, ignore_errors=True)
        simulator, clusters = self._ended.enter_context(servers())
        place = next(Administration.places)
        print(f" a world whose state database is on a server: {place}", flush=True)
        self.world = World(self.directory, simulator, clusters, place, seed=1, rows=ROWS)
        self._ended.callback(self.world.close)
        self.world.acted = True
        self.world.begin()
        self.world.workload.start()
        self.looked = False
        self.roles = ["capture,deliver"]
        self.processes: list[subprocess.Popen[bytes]] = []
        self._start()

    def _start(self) -> None:
        self.processes = [self.world.stack.start("--roles", roles, failpoints=SLOW) for roles in self.roles]

    def _act(self, name: str, number: int) -> None:
        act, self.looked = ACTS[name], False
        done = act(self.world, random.Random(number))
        if not done and self.world.open:
            self.world.calm()
            done = act(self.world, random.Random(number))
        said = "done" if done else "nothing to act on"
        print(f"  {name} {number}: {said}, open: {sorted(self.world.open)}", flush=True)

    @precondition(lambda self: self.world.open)
    @rule()
    def undo(self) -> None:
        """What was left open is undone."""
        self.world.calm()

    @rule(how=st.sampled_from(["terminate", "kill", "wipe", "split", "one"]))
    def restart(self, how: str) -> None:
        """The processes end, by order or not, and come back; perhaps without their store, perhaps as others."""
        print(f"  restart: {how}", flush=True)
        self.looked = False
        for process in self.processes:
            if how == "kill":
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            else:
                self.world.stack.wait_ready(process)
                assert self.world.stack.stop(process) == 0, self.world.stack.logged()[-3000:]
        if how == "wipe":
            shutil.rmtree(self.directory / "recovery", ignore_errors=True)
        if how in ("split", "one"):
            self.roles = ["capture", "deliver"] if how == "split" else ["capture,deliver"]
        self._start()

    @precondition(lambda self: not self.world.open)
    @rule()
    def sleep_through_an_era(self) -> None:
        """The processes stand still while servers die, the slot is lost and others take over; then they wake."""
        print("  sleep through an era", flush=True)
        self.looked, asleep = False, self.processes
        for process in asleep:
            self.world.stack.wait_ready(process)
            process.send_signal(signal.SIGSTOP)
        self.world.workload.stop()
        for cluster in {self.world.source, self.world.state}:
            self.world.kill_server(cluster)
        self.world.drop_slots()
        self.world.sql("DELETE FROM things WHERE id > (SELECT max(id) - 20 FROM things)", "DELETE FROM names")
        self.world.workload.start()
        config, text = self.world.stack.config, self.world.stack.config.read_text()
        config.write_text(text.replace("/recovery,", f"/recovery-{asleep[0].pid},"))  # they run on another machine
        self._start()
        undone = "SELECT 1 FROM rowtide.reconcile WHERE state <> 'done'"
        for process in self.processes:
            self.world.stack.wait_ready(process)
        config.write_text(text)
        wait_until(lambda: not self.world.stack.state(undone), "the new era is reconciled", LOOK_S)
        for process in asleep:
            process.send_signal(signal.SIGCONT)
        for process in asleep:
            process.wait(60)

    @precondition(lambda self: not self.looked)
    @rule()
    def look(self) -> None:
        """Whatever is not equal, `status` says of it that something is to be done or in the way."""
        print("  look", flush=True)
        self.looked = True
        self.world.workload.stop()
        try:
            wait_until(self._status_tells_the_truth, "what status says is so", LOOK_S)
        finally:
            self.world.workload.start()

    def _status_tells_the_truth(self) -> bool:
        passed = self.world.stack.sql("SELECT pg_current_wal_lsn() - '0/0'")[0][0]
        wait_until(lambda: self._captured(passed) or self.world.open, "capture has passed what was committed", LOOK_S)
        said = {one["sync"]: one["reason"]["code"] for one in self.world.stack.status()["syncs"]}
        names = self.world.definition.names
        idle = [id_ for id_ in IDS if said.get(names[id_]) == "idle"]
        silent = [id_ for id_ in IDS if said.get(names[id_]) != "idle" and not self.world.open]
        unknown = self.world.edited | self.world.in_doubt
        return not silent and not any(unequal(self.world, id_) for id_ in idle if id_ not in unknown)

    def _captured(self, lsn: int) -> bool:
        found = self.world.stack.sql(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active AND confirmed_flush_lsn - '0/0' >= %s",
            self.world.stack.slot,
            lsn,
        )
        return bool(found)

    def teardown(self) -> None:
        """Everything open is undone: source and lists have to become equal."""
        try:
            self.world.workload.stop()
            self.world.calm()
            self.world.read_the_lists()
            for process in self.processes:
                assert process.poll() is None, f"a process ended by itself: {self.world.stack.logged()[-3000:]}"
            findings = judge(self.world)
            assert findings == [], self.world.stack.logged()[-6000:]
        finally:
            self._ended.close()


def _rule_of(name: str) -> Callable[[Administration, int], None]:
    def act(self: Administration, number: int) -> None:
        self._act(name, number)

    act.__name__ = name
    return act


for _name in ACTS:  # a rule each, so that Hypothesis leaves some out of a history and repeats others
    setattr(Administration, _name, rule(number=numbers)(_rule_of(_name)))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_any_history_of_administration_ends_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = int(os.environ.get("ROWTIDE_ORACLE_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    monkeypatch.setenv("ROWTIDE_ORACLE_SEED", str(drawn))
    print(f"ROWTIDE_ORACLE_SEED={drawn}")
    how = settings(
        max_examples=int(os.environ.get("ROWTIDE_ORACLE_HISTORIES", "3")),
        stateful_step_count=STEPS,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(drawn)(Administration), settings=how)
