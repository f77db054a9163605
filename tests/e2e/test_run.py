"""`rowtide run` and its recovery store: whatever is in the directory, the flow runs, or says in a sentence why not."""

import itertools
import os
import pickle
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.metric_families import COUNTED, READINGS, STANDING
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]


def delivered(stack: Stack) -> int:
    """Pairs that are known."""
    [(count,)] = stack.state("SELECT count(*) FROM rowtide.ledger WHERE state = 'live'")
    return int(count)


def run_to(stack: Stack, last: int) -> None:
    """A run that delivers five more rows, up to this one, and is ended."""
    process = stack.start()
    stack.sql("INSERT INTO parts (id, name) SELECT i, 'part' FROM generate_series(%s - 4, %s::int) i", last, last)
    wait_until(lambda: delivered(stack) == last or process.poll() is not None, "every row delivered")
    assert stack.stop(process) == 0, stack.logged()[-4000:]
    assert delivered(stack) == last


def edit_parts(recovery: Path, statement: str, *values: object) -> int:
    """Run a statement on each partition; the rows it has touched."""
    touched = 0
    for part in recovery.glob("part-*.sqlite3"):
        connection = sqlite3.connect(part)
        with connection:
            touched += connection.execute(statement, values).rowcount
        connection.close()
    return touched


def put_one_back(recovery: Path, earlier: Path) -> None:
    """The partition with the last run's frontier, as it was before that run: the engine refuses such a store."""
    for part in sorted(recovery.glob("part-*.sqlite3")):
        connection = sqlite3.connect(part)
        [(last,)] = connection.execute("SELECT coalesce(max(ex_num), -1) FROM fronts").fetchall()
        connection.close()
        if last == 1:
            for file in recovery.glob(f"{part.name}*"):
                file.unlink()
            shutil.copy(earlier / part.name, part)
            return
    raise AssertionError("no partition has the last run's frontier")


def refuse(recovery: Path, _earlier: Path) -> None:
    """A store that passes every check of ours and that the engine refuses."""
    assert edit_parts(recovery, "UPDATE parts SET part_count = 5") == 4


def forget_a_class(recovery: Path, _earlier: Path) -> None:
    """What steps remember names a class that is no more."""
    gone = pickle.dumps(Path("x")).replace(b"pathlib", b"pathlob")
    assert edit_parts(recovery, "UPDATE snaps SET ser_change = ? WHERE step_id LIKE '%merge%'", gone) > 0


def remember_oddly(recovery: Path, _earlier: Path) -> None:
    """What steps remember is nothing a step of ours would."""
    odd = pickle.dumps(7)
    assert edit_parts(recovery, "UPDATE snaps SET ser_change = ? WHERE step_id LIKE '%merge%'", odd) > 0


@pytest.mark.long
def test_a_store_of_no_use_is_wiped_and_the_flow_runs(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    """Four kinds of damage on one stack: what runs after a wipe is the first run of the next store."""
    stack = new_stack(new_simulator("--tier", "off"))
    recovery, earlier = stack.directory / "recovery", stack.directory / "earlier"
    rows = itertools.count(5, 5)
    run_to(stack, next(rows))
    for number, damage in enumerate((put_one_back, refuse, forget_a_class, remember_oddly), 1):
        shutil.rmtree(earlier, ignore_errors=True)
        shutil.copytree(recovery, earlier)
        run_to(stack, next(rows))
        assert stack.logged().count("recovery store wiped") == number - 1, stack.logged()
        damage(recovery, earlier)
        run_to(stack, next(rows))
        assert stack.logged().count("recovery store wiped") == number, (damage, stack.logged())
    run_to(stack, next(rows))
    assert stack.logged().count("recovery store wiped") == number, stack.logged()


def run_to_the_end(stack: Stack, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """`rowtide run` where no file may be longer than this, until it ends by itself."""
    limit = None if most_bytes is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    return subprocess.run(
        [sys.executable, "-m", "control.cli", "run", "-c", str(stack.config)],
        env=stack.environment, capture_output=True, text=True, timeout=120, preexec_fn=limit,
    )  # fmt: skip


def test_a_recovery_directory_that_cannot_be_is_said(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    stack = new_stack(new_simulator("--tier", "off"))
    recovery = stack.directory / "recovery"
    recovery.write_text("a file of somebody's")
    a_file = run_to_the_end(stack)
    stack.config.write_text(stack.config.read_text().replace(f"{recovery},", f"{recovery}/below,"))
    below_a_file = run_to_the_end(stack)
    recovery.unlink()
    no_room = run_to_the_end(stack, most_bytes=100_000)
    for done in (a_file, below_a_file, no_room):
        assert done.returncode == 2, done.stderr
        assert "recovery directory" in done.stderr
        assert "run.recovery_dir" in done.stderr
        assert "Traceback" not in done.stderr
        assert "panicked" not in done.stderr


class Poison:
    """A pickle that runs a command where it is read."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


def test_a_store_that_others_may_write_runs_nothing(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    stack = new_stack(new_simulator("--tier", "off"))
    run_to(stack, 5)
    recovery, proof = stack.directory / "recovery", stack.directory / "proof"
    recovery.chmod(0o777)
    poison = pickle.dumps(Poison(f"touch {proof}"))
    assert edit_parts(recovery, "UPDATE snaps SET ser_change = ?", poison) > 0
    process = stack.start()
    wait_until(lambda: process.poll() is not None or proof.exists(), "the store is refused, or read")
    assert not proof.exists()
    assert process.wait() == 2
    assert "recovery_dir_unusable" in stack.logged()


def test_processes_form_no_cluster(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    """Its port would take pickles from whoever connects."""
    stack = new_stack(new_simulator("--tier", "off"))
    done = stack.command("run", "--addresses", "127.0.0.1:0", check=False)
    assert done.returncode == 2
    assert "No such option" in done.stderr


@pytest.mark.long
def test_a_disk_that_fills_up_ends_the_flow_with_a_sentence(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    """A partition's WAL grows past what the first look has tried."""
    stack = new_stack(new_simulator("--tier", "off"))
    ended = run_to_the_end(stack, most_bytes=300_000)
    assert ended.returncode == 1, ended.stderr
    assert "recovery_store_failed" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_two_processes_begin_at_once_on_a_fresh_directory(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    stack = new_stack(new_simulator("--tier", "off"), rows=5)
    processes = [stack.start("--process-id", "0"), stack.start("--process-id", "1")]
    wait_until(lambda: delivered(stack) == 5 or any(one.poll() is not None for one in processes), "every row delivered")
    wait_until(lambda: stack.logged().count("running") == 2, "both run")
    assert stack.logged().count('event="process begins" by="claimed ') == 2, stack.logged()
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(20) for process in processes] == [0, 0], stack.logged()[-4000:]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def scraped(port: int) -> dict[str, float]:
    """Sample name -> sum over its labels, as a running process shows them; nothing while it does not answer yet."""
    found: dict[str, float] = {}
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return {}
    for line in lines:
        if line.startswith("rowtide_"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


def served(port: int) -> dict[str, str]:
    """Name and kind of every metric that a running process serves; of counters not also when they were made."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    types = [line.split()[2:4] for line in lines if line.startswith("# TYPE rowtide_")]
    return {name: kind for name, kind in types if not name.endswith("_created")}


def test_metrics_of_a_running_process_move(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    simulator = new_simulator("--tier", "off")
    stack = new_stack(simulator)
    port = free_port()
    stack.config.write_text(stack.config.read_text().replace('listen: "127.0.0.1:0"', f'listen: "127.0.0.1:{port}"'))
    stack.apply()
    simulator.ask("latency", {"latency_ms": 1500})  # so that rows are seen in flight
    process = stack.start()
    wait_until(lambda: scraped(port), "metrics served")
    stack.sql("INSERT INTO parts (id, name) SELECT i, 'part' FROM generate_series(1, 60) i")
    wait_until(lambda: scraped(port).get("rowtide_rows_in_flight", 0) > 0, "rows in flight")
    wait_until(lambda: delivered(stack) == 60, "every row delivered")
    names = ["rowtide_rows_delivered_total", "rowtide_list_writes_total", "rowtide_delivery_seconds_count"]
    wait_until(lambda: all(scraped(port)[name] >= 60 for name in names), f"60 in {names}")
    wait_until(lambda: scraped(port)["rowtide_graph_ru_total"] >= 120, "units used")
    wait_until(lambda: scraped(port).get("rowtide_slot_retained_bytes", 0) > 0, "the slot is seen")
    assert scraped(port)["rowtide_source_connected"] == 1
    assert served(port) == {family.name: family.kind for family in (*COUNTED, *READINGS, *STANDING)}
    wait_until(lambda: scraped(port)["rowtide_rows_in_flight"] == 0, "nothing in flight")
    stack.sql("UPDATE parts SET name = 'renamed'")
    wait_until(lambda: scraped(port).get("rowtide_changes_total", 0) >= 60, "changes counted")
    assert stack.stop(process) == 0, stack.logged()[-4000:]
