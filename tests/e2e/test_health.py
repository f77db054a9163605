"""What a real process answers when it is asked whether it lives and whether it works.

In: processes whose servers hang or are away, and processes of which a loop is stuck. Rule: nothing outside the process
makes `/livez` fail, however long it lasts; a loop that is stuck does after a minute, and its stack is in the log.
"""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster, free_port
from state import failpoints
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_push import wait_equal

pytestmark = pytest.mark.long

HANGS_S = 75.0
"""Longer than any loop may be silent."""

NewSimulator = Callable[..., Simulator]
NewStack = Callable[..., Stack]


class Port:
    """Where a process listens, and what it answers there."""

    def __init__(self, stack: Stack) -> None:
        """The definition has this port from now on; processes that run keep theirs."""
        self.number = free_port()
        text = stack.config.read_text()
        before = text.partition('listen: "127.0.0.1:')[2].partition('"')[0]
        stack.config.write_text(text.replace(f'listen: "127.0.0.1:{before}"', f'listen: "127.0.0.1:{self.number}"'))

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text; 0 while nobody listens."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.number}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_alive(self) -> bool:
        """Whether `/livez` says so."""
        return self.get("/livez") == (200, "live\n")

    def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        return self.get("/readyz") == (200, "ready\n")

    def health(self, **headers: str) -> dict[str, Any]:
        """`/healthz`."""
        document: dict[str, Any] = json.loads(self.get("/healthz", **headers)[1])
        return document


def children(pid: int) -> list[int]:
    """The processes of a server."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found]


@contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    """Processes that are stopped: their connections stay open, and nothing answers."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_nothing_outside_makes_a_process_look_dead(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Cluster]
) -> None:
    server = new_cluster()
    stack = new_stack(new_simulator("--tier", "off"), rows=5, state_dsn=server.create_database("rowtide"))
    port = Port(stack)
    stack.start()
    wait_equal(stack)
    wait_until(port.is_ready, "it is ready")
    slow = {"path": "batch$", "level": "request", "action": "delay", "delay_ms": int(HANGS_S * 2000)}
    stack.simulator.set_faults([slow])
    stack.sql("UPDATE parts SET quantity = quantity + 1")
    wait_until(lambda: stack.simulator.ask("faults")["rules"][0]["hits"] > 0, "a batch hangs")
    [(walsender,)] = stack.sql("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", stack.slot)
    assert port.is_ready()  # whether Graph answers is not asked
    assert server.pid is not None
    with standing_still([walsender, server.pid, *children(server.pid)]):
        end = time.monotonic() + HANGS_S
        wait_until(lambda: not port.is_alive() or time.monotonic() > end, "time passes", 2 * HANGS_S)
        assert port.is_alive(), stack.logged()[-4000:]
        assert port.get("/readyz")[0] == 503
    stack.simulator.clear_faults()
    wait_until(port.is_ready, "it is ready again")
    wait_equal(stack)
    assert "loop stuck" not in stack.logged()


def test_a_stuck_loop_is_said_and_its_stack_is_in_the_log(
    tmp_path: Path, new_simulator: NewSimulator, new_stack: NewStack
) -> None:
    blocks = {name: tmp_path / name for name in (failpoints.STAGE_BEFORE_COMMIT, failpoints.LOOP_CONTROL)}
    for path in blocks.values():
        path.touch()
    stack = new_stack(new_simulator("--tier", "off"))
    port = Port(stack)
    process = stack.start(failpoints=";".join(f"{name}=pause:{path}" for name, path in blocks.items()))
    stack.wait_ready(process)
    stack.sql("INSERT INTO parts (id, name) VALUES (1, 'one')")
    assert port.is_alive()
    wait_until(lambda: port.get("/livez") == (503, "loop_silent\n"), "it is said to be stuck", 120)
    said = stack.logged()
    assert "loop=rowtide-control code=loop_silent" in said
    assert '"Thread ' not in said
    assert "in _poll" in said  # where the thread stands
    assert "loop_silent" in port.get("/readyz")[1]
    wait_until(lambda: "loop=rowtide-flow code=loop_silent" in stack.logged(), "the flow too", 60)
    assert "in write_batch" in stack.logged()
    found = port.health()
    assert (found["live"], found["ready"], found["loops"]["stuck"]) == (False, False, 2)
    assert found["names"]["loops"]["rowtide-control"]["silent_s"] > 60
    # It beats, and nobody takes that for work.
    status = stack.status()
    [shown] = status["processes"]
    assert (shown["alive"], shown["ready"]) == (False, False)
    assert "has not gone on for" in shown["problem"]
    assert [sync["health"]["code"] for sync in status["syncs"]] == ["loop_silent"]
    for path in blocks.values():
        path.unlink()
    wait_until(port.is_alive, "it lives again")
    wait_until(port.is_ready, "and works")
    wait_equal(stack)


def test_a_process_that_waits_to_begin_lives_and_is_not_ready(
    new_simulator: NewSimulator, new_stack: NewStack, new_cluster: Callable[..., Cluster]
) -> None:
    server = new_cluster()
    stack = new_stack(new_simulator("--tier", "off"), state_dsn=server.create_database("rowtide"))

    def says(port: Port, code: str) -> Callable[[], bool]:
        return lambda: port.get("/readyz") == (503, f"{code}\n") and port.is_alive()

    server.stop()
    first = Port(stack)
    process = stack.start()
    wait_until(says(first, "state_unreachable"), "it waits for the state database")
    server.start()
    wait_until(first.is_ready, "it works, though nothing is to be done")
    assert first.get("/") == first.get("/nothing") == (404, "")
    assert "python_info" in first.get("/metrics")[1]
    found = first.health()
    assert (found["live"], found["ready"], found["codes"]) == (True, True, {})
    assert found["names"]["process"] == {"process_id": 0, "roles": ["capture", "deliver"]}
    assert "rowtide-flow" in found["names"]["loops"]
    assert "names" not in first.health(**{"X-Forwarded-For": "192.0.2.1"})
    second = Port(stack)
    stack.start()
    wait_until(says(second, "process_id_taken"), "its place is taken")
    assert stack.stop(process) == 0
    wait_until(second.is_ready, "it takes over", 20)


def test_without_a_definition_it_waits(new_simulator: NewSimulator, new_stack: NewStack, state_dsn: str) -> None:
    stack = new_stack(new_simulator("--tier", "off"))
    with psycopg.connect(state_dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE rowtide.definition")
    port = Port(stack)
    process = stack.start()
    wait_until(lambda: port.get("/readyz")[0] == 503 and "not_started" not in port.get("/readyz")[1], "it waits")
    assert port.is_alive()
    assert port.get("/readyz")[1] == "not_applied\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert isinstance(process, subprocess.Popen)
