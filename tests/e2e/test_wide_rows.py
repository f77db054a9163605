"""Rows of a megabyte and values of two hundred: memory stays bounded, neighbours are delivered, the process obeys.

In: one stack whose state database is on a server of its own; a process a test. Rule: memory is the process's own peak,
as the kernel knows it.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import shared_stack
from tests.e2e.stack import Stack, wait_until

NOTES = [f"n{number}" for number in range(16)]
"""Sixteen columns of 62 kB make a row of a megabyte; one holds at most 64 kB."""

TABLES = f"""
CREATE TABLE wide (id bigint PRIMARY KEY, name text NOT NULL, {", ".join(f"{note} text" for note in NOTES)});
CREATE TABLE narrow (id bigint PRIMARY KEY, name text NOT NULL)
"""

SYNCS = f"""
  wide:
    source: {{postgres: erp, table: public.wide}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: Wide
    fields:
      name: Title
      {" ".join(f"{note}: {{field: {note.upper()}, as: note}}" + chr(10) + "     " for note in NOTES)}
  narrow:
    source: {{postgres: erp, table: public.narrow}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: Narrow
    fields: {{name: Title}}
"""

INSERT = f"""
INSERT INTO wide SELECT n, 'wide ' || n, {", ".join(f"repeat(md5(n || '{note}'), 1950)" for note in NOTES)}
  FROM generate_series(%s::int, %s::int) n
"""
CHANGE = f"""
UPDATE wide SET name = name || ' again', {", ".join(f"{note} = repeat(md5(id || '{note} x'), 1950)" for note in NOTES)}
"""
ROWS = 120
MOST_MIB = 300
MOST_S, MOST_PARKED_S = 2.0, 10.0
"""Within which the process ends, whatever it reads, and a huge value is parked; on a busy machine more, by some times
what an idle process takes to end."""


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_server: Cluster) -> Iterator[Stack]:
    """Applied, no rows."""
    with shared_stack(pg, state_server, "wide", [TABLES], SYNCS) as stack:
        yield stack


@contextmanager
def running(stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    """A process at work."""
    process = stack.start()
    try:
        stack.wait_ready(process)
        yield process
    finally:
        process.kill()
        process.wait(20)


def peak_mib(process: subprocess.Popen[bytes], what: str = "VmHWM") -> float:
    """The most memory that the process has had; ``VmRSS``: what it has now."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith(f"{what}:")]
    return int(peak) / 1024


def stop_s(process: subprocess.Popen[bytes]) -> float:
    """Seconds that the process takes to end."""
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(60) == 0
    return time.monotonic() - began


def delivered(stack: Stack, sync: str) -> set[str]:
    return {name for (name,) in stack.state("SELECT base ->> 'Title' FROM rowtide.ledger WHERE sync = %s", sync)}


def wide_pass(stack: Stack) -> list[tuple[str]]:
    return stack.state("SELECT state FROM rowtide.reconcile WHERE sync = 'wide'")


@pytest.mark.long
def test_rows_of_a_megabyte_fit_into_little_memory(stack: Stack) -> None:
    stack.sql(INSERT, 1, ROWS)
    with running(stack) as process:
        wait_until(lambda: len(delivered(stack, "wide")) == ROWS, "the first load", 300)
        assert peak_mib(process) < MOST_MIB, "first load"
        stack.sql(CHANGE)
        changed = {f"wide {number} again" for number in range(1, ROWS + 1)}
        wait_until(lambda: delivered(stack, "wide") == changed, "every change", 300)
        assert peak_mib(process) < MOST_MIB, "changes"
        stack.command("reconcile", "wide", "--deep")
        wait_until(lambda: wide_pass(stack) == [("done",)], "the deep pass", 300)
        assert peak_mib(process) < MOST_MIB, "deep pass"
        assert "list is read in smaller pages" in stack.logged()


@pytest.mark.long
def test_a_value_of_two_hundred_megabytes_is_parked_and_holds_nothing_back(stack: Stack) -> None:
    parked = "SELECT reason_code FROM rowtide.outbox WHERE sync = 'wide' AND key = '1000' AND state = 'parked'"
    with running(stack) as process:
        stack.sql("INSERT INTO wide (id, name, n1) VALUES (1000, 'huge', repeat('x', 200000000))")
        began = time.monotonic()
        stack.sql("INSERT INTO narrow VALUES (1, 'beside it')")
        stack.sql("INSERT INTO wide (id, name) VALUES (1001, 'behind it')")
        wait_until(lambda: "beside it" in delivered(stack, "narrow"), "the neighbour in another table")
        wait_until(lambda: "behind it" in delivered(stack, "wide"), "the neighbour in the same table")
        wait_until(lambda: stack.state(parked) == [("value_too_long",)], "it is parked")
        parked_s = time.monotonic() - began
        hint = "`rowtide parked list wide` says why"
        wait_until(lambda: hint in stack.command("status", "--wide").stdout, "status names it")
        assert "longer than the 63999 characters" in stack.command("parked", "list", "wide", check=False).stdout
        # The process is asked to end while it has the value in hand.
        stack.command("reconcile", "wide", check=False)
        before_mib = peak_mib(process, "VmRSS")
        stack.sql("UPDATE wide SET name = 'huge again', n1 = n1 || 'y' WHERE id = 1000")
        wait_until(lambda: peak_mib(process, "VmRSS") > before_mib + 190, "it has the value")
        busy_s = stop_s(process)
    with running(stack) as process:
        wait_until(lambda: wide_pass(stack) == [("done",)], "the pass reads past it")
        assert stack.state(parked) == [("value_too_long",)]
        idle_s = stop_s(process)
    assert parked_s < MOST_PARKED_S + 10 * idle_s, f"parked after {parked_s:.1f} s, {idle_s:.2f} s idle"
    assert busy_s < MOST_S + 3 * idle_s, f"{busy_s:.2f} s with the value, {idle_s:.2f} s idle"
