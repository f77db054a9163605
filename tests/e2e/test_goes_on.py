"""A process goes on: through faults of its own threads, through words of Graph without sense, through wrong clocks.

In: one stack whose state database is on a server of its own; a process a test. Rule: what is asserted is that a row
that changes afterwards arrives, that the process still beats, and what it says.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import Cluster
from state import failpoints
from tests.e2e import stack as stacks
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import TABLE, Stack

SYNC = """
  parts:
    source: {postgres: erp, table: public.parts}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    list: Parts
    fields: {name: Title, note: {field: Note, as: note}}
"""


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Applied, three rows."""
    rows = "INSERT INTO parts (id, name) SELECT i, 'part ' || i FROM generate_series(1, 3) i"
    with shared_stack(pg, state_server, "goes_on", [TABLE, rows], SYNC) as stack:
        yield stack


@contextmanager
def running(stack: Stack, traps: str = "", **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with these failpoints and variables, ended by SIGTERM within its two seconds and some for the load."""
    before, stack.environment = stack.environment, {**stack.environment, **environment}
    try:
        process = stack.start(failpoints=traps)
    finally:
        stack.environment = before
    try:
        stack.wait_ready(process)
        yield process
        assert stack.stop(process) == 0
    finally:
        process.kill()
        process.wait(20)
        stack.simulator.clear_faults()


def titles(stack: Stack) -> list[str]:
    """The title of every item."""
    return sorted(item["fields"]["Title"] for item in stack.simulator.items() if not item["deleted"])


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """As `stacks.wait_until`, for longer than a loaded machine takes and for less than a clock is set back by here."""
    return stacks.wait_until(condition, what, 120.0)


def arrives(stack: Stack, name: str) -> None:
    """Row 1 gets this name, and so does its item."""
    stack.sql("UPDATE parts SET name = %s WHERE id = 1", name)
    wait_until(lambda: name in titles(stack), f"{name} arrives")


def loops(stack: Stack, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the process says of its loops."""
    [(health,)] = stack.state("SELECT health -> 'loops' FROM rowtide.process WHERE pid = %s", process.pid)
    return dict(health or {})


# --- threads ------------------------------------------------------------------------------------------------------


def test_every_background_loop_outlives_a_fault_of_its_own(stack: Stack) -> None:
    survivors = sorted(failpoints.LOOPS - {failpoints.LOOP_GRAPH})
    traps = [f"{name}=fault@2" for name in survivors if name != failpoints.LOOP_DUE_LISTEN]
    traps.append(f"{failpoints.LOOP_DUE_LISTEN}=fault")  # in each of its turns
    expected = {f"rowtide-{name.removeprefix(failpoints.LOOP)}" for name in survivors}
    expected = {f"{name}-erp" if name == "rowtide-refresh" else name for name in expected}  # one for each source
    with running(stack, ";".join(traps)) as process:
        stack.sql("UPDATE parts SET id = 30 WHERE id = 3")  # the row of the old key is read from the source
        wait_until(lambda: set(loops(stack, process)) == expected, "every loop has met its fault")
        wait_until(lambda: loops(stack, process)["rowtide-due-listen"]["failures"] > 1, "one meets it again")
        assert {one["failures"] for name, one in loops(stack, process).items() if name != "rowtide-due-listen"} == {1}
        arrives(stack, "after the faults")
        said = stack.logged()
        assert {name: said.count(f"the failpoint {name} stands for") for name in survivors} == dict.fromkeys(
            survivors, 1
        )
        # Each of them works again: a definition is taken over, a pass ends, the identity is still checked.
        stack.write(SYNC.replace("name: Title, ", "name: Title, internal: {field: Internal, as: note}, "))
        stack.apply()
        stack.sql("UPDATE parts SET internal = 'mapped by now' WHERE id = 2")
        items = stack.simulator.items
        wait_until(lambda: any(one["fields"].get("Internal") for one in items()), "the new column arrives")
        done = "SELECT state FROM rowtide.reconcile WHERE sync = 'parts'"
        wait_until(lambda: stack.state(done) == [("done",)], "the pass of the new mapping ends")


@pytest.mark.long
def test_a_writer_that_lost_its_rows_ends_the_process_and_the_next_one_delivers(stack: Stack) -> None:
    process = stack.start(failpoints=f"{failpoints.LOOP_GRAPH}=fault")
    stack.wait_ready(process)
    stack.sql("UPDATE parts SET name = 'lost by the writer' WHERE id = 1")
    assert process.wait(60) == 1
    assert "writer_failed" in stack.logged()
    with running(stack):
        wait_until(lambda: "lost by the writer" in titles(stack), "the next process delivers it")
        assert len(titles(stack)) == 3


@pytest.mark.long
def test_a_tenant_that_is_added_leaves_every_thread_at_work(stack: Stack) -> None:
    with definition_restored(stack) as text, running(stack):
        arrives(stack, "before the tenant")
        section = text[text.index("  contoso:") : text.index("syncs:")]
        added = SYNC.replace("parts:", "copies:", 1).replace("graph: contoso", "graph: fabrikam")
        added = added.replace("list: Parts", "list: Copies")
        stack.config.write_text(text.replace(section, section + section.replace("contoso:", "fabrikam:", 1)) + added)
        stack.apply()
        wait_until(lambda: len(titles(stack)) == 6, "the first load of the added tenant")
        stack.sql("UPDATE parts SET name = 'in both tenants' WHERE id = 1")
        wait_until(lambda: titles(stack).count("in both tenants") == 2, "a change arrives in both tenants")


# --- waiting ------------------------------------------------------------------------------------------------------

FOREVER = "Fri, 31 Dec 9999 23:59:59 GMT"


@pytest.mark.long
@pytest.mark.parametrize("status", [429, 503])
def test_no_word_of_graph_stops_delivery(stack: Stack, status: int) -> None:
    with running(stack) as process:
        rule = {"path": r"\$batch$", "level": "request", "status": status, "count": 1}
        for word in ("inf", "-5"):
            stack.simulator.set_faults([{**rule, "headers": {"Retry-After": word}}])
            arrives(stack, f"{status} with {word}")
        stack.simulator.set_faults([{**rule, "headers": {"Retry-After": FOREVER}}])
        stack.sql("UPDATE parts SET name = 'waits an hour' WHERE id = 1")
        gate = "SELECT (health #>> '{graph,contoso,gate_until}')::timestamptz - seen_at FROM rowtide.process"
        long = f"SELECT g FROM ({gate}) AS p (g) WHERE g > interval '1 minute'"
        [(left,)] = wait_until(lambda: stack.state(long), "the gate is shut")
        assert 3500 < left.total_seconds() <= 3600
        beats = "SELECT seen_at FROM rowtide.process WHERE pid = %s"
        before = stack.state(beats, process.pid)
        wait_until(lambda: stack.state(beats, process.pid) > before, "the process beats on")
    with running(stack):  # it finds the gate as it was
        wait_until(lambda: stack.state(long) != [], "the gate is shut")
        stack.command("resume", "--target", "contoso")
        wait_until(lambda: "waits an hour" in titles(stack), "it asks again when a person says so")


@pytest.mark.long
def test_a_quota_that_is_applied_takes_effect_and_a_spent_day_outlives_a_restart(stack: Stack) -> None:
    spent = "SELECT coalesce(sum(ru), 0)::float8 FROM rowtide.spent"
    waits = "SELECT (health #>> '{graph,contoso,quota_wait_s}')::float8 > 60 FROM rowtide.process WHERE pid = %s"
    with definition_restored(stack) as without:
        with running(stack) as process:
            arrives(stack, "without a quota")
            assert stack.state(spent) == [(0.0,)]
            stack.config.write_text(without.replace("quota: off", "licences: 1000"))
            stack.apply()
            arrives(stack, "with a quota")
            wait_until(lambda: stack.state(spent)[0][0] >= 2, "what was spent is on record")
            stack.state("UPDATE rowtide.spent SET ru = ru + 2000000")
            wait_until(lambda: stack.state(waits, process.pid) == [(True,)], "the day is spent")
        with running(stack) as process:
            stack.sql("UPDATE parts SET name = 'in a day that was spent' WHERE id = 1")
            wait_until(lambda: stack.state(waits, process.pid) == [(True,)], "the next process knows it")
            wait_until(lambda: stack.state("SELECT count(*) FROM rowtide.outbox") == [(1,)], "the row is staged")
            assert "in a day that was spent" not in titles(stack)
            stack.state("DELETE FROM rowtide.spent")
            wait_until(lambda: "in a day that was spent" in titles(stack), "it arrives on the next day")


@contextmanager
def definition_restored(stack: Stack) -> Iterator[str]:
    """Whatever is applied meanwhile, afterwards the definition is what it was: its text."""
    before = stack.config.read_text()
    try:
        yield before
    finally:
        stack.state("DELETE FROM rowtide.spent")
        stack.config.write_text(before)
        stack.apply()


# --- clocks -------------------------------------------------------------------------------------------------------

LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), *Path("/usr/lib/faketime").glob("libfaketimeMT*")]
needs_faketime = pytest.mark.skipif(not LIBRARIES, reason="needs Debian's libfaketime: make deps")


@contextmanager
def under_clock(stack: Stack, ahead_s: int) -> Iterator[Path]:
    """A process whose machine's clock is so many seconds ahead; the file that sets it, by `set_clock`."""
    clock = stack.directory / "clock"
    set_clock(clock, ahead_s)
    variables = {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    with running(stack, FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_RESET="1", **variables):
        yield clock


def set_clock(clock: Path, ahead_s: int) -> None:
    """Set it so many seconds ahead, all at once."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(f"{ahead_s:+d}s\n")
    fresh.replace(clock)


@needs_faketime
@pytest.mark.long
@pytest.mark.parametrize("ahead_s", [-900, 900])
def test_a_clock_that_is_minutes_wrong_does_no_harm(stack: Stack, ahead_s: int) -> None:
    before = len(stack.logged())
    with under_clock(stack, ahead_s):
        arrives(stack, f"by a clock {ahead_s} s ahead")
        [said, *_] = re.findall(r"timestamp=(\S+)", stack.logged()[before:])
        assert abs((datetime.fromisoformat(said) - datetime.now(UTC)).total_seconds() - ahead_s) < 200
        settled = "SELECT count(*) FROM rowtide.outbox"
        wait_until(lambda: stack.state(settled) == [(0,)], "it is settled")


@needs_faketime
def test_a_clock_that_is_set_back_or_ahead_stops_nothing(stack: Stack) -> None:
    with under_clock(stack, 0) as clock:
        arrives(stack, "before the step")
        for ahead_s in (-300, 600, -30):
            set_clock(clock, ahead_s)
            arrives(stack, f"set to {ahead_s}")
            [(end,)] = stack.sql("SELECT pg_current_wal_lsn() - '0/0'")
            query = "SELECT confirmed_flush_lsn - '0/0' >= %s FROM pg_replication_slots WHERE slot_name = %s"
            wait_until(lambda: stack.sql(query, end, stack.slot) == [(True,)], "the slot is confirmed")  # noqa: B023
        assert "the clock of this machine was set back" in stack.logged()


@needs_faketime
@pytest.mark.long
def test_doctor_names_the_skew(stack: Stack) -> None:
    before, stack.environment = (
        stack.environment,
        {
            **stack.environment,
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME": "-150s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    try:
        said = stack.spawn("doctor", check=False).stdout
    finally:
        stack.environment = before
    found = re.findall(r"(\d+) s behind its clock", said.replace("\n", " "))
    assert len(found) == 2  # the source's and the state database's
    assert all(149 <= int(seconds) <= 151 for seconds in found)
