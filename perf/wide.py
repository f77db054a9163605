"""Measures the memory that wide rows take.

In: the whole product on real processes against the simulator, a table with rows of a megabyte. Out: ``memory.*``. Rule:
memory is the process's own peak, as the kernel knows it, over a first load, changes of every row and a deep pass.
"""

from functools import partial
from pathlib import Path

from perf.figures import Measurements
from perf.stand import SYNC, Stand, stand, until

ROWS = 200
NOTES = [f"n{number}" for number in range(16)]
"""Sixteen columns of 62 kB: one holds at most 64 kB."""

TABLE = f"CREATE TABLE wide (id bigint PRIMARY KEY, name text NOT NULL, {', '.join(f'{note} text' for note in NOTES)})"
FIELDS = ", ".join(f"{note}: {{field: {note.upper()}, as: note}}" for note in NOTES)
WIDE_SYNC = f"""
  wide:
    source: {{postgres: erp, table: public.wide}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: Wide
    fields: {{name: Title, {FIELDS}}}
"""
FILL = f"""
INSERT INTO wide SELECT n, 'first', {", ".join(f"repeat(md5(n || '{note}'), 1950)" for note in NOTES)}
  FROM generate_series(1, {ROWS}) n
"""
CHANGE = f"UPDATE wide SET name = 'second', {', '.join(f'{note} = reverse({note})' for note in NOTES)}"


def memory(figures: Measurements, repetitions: int) -> None:
    """Measure the peak of one process with both roles."""
    peaks = []
    for _ in range(repetitions):
        with stand("--tier", "off", graph_options="quota: off", syncs=SYNC + WIDE_SYNC, tables=[TABLE]) as bench:
            bench.stack.sql(FILL)
            process = bench.stack.start()
            until(partial(_are_there, bench, "first"))
            bench.stack.sql(CHANGE)
            until(partial(_are_there, bench, "second"))
            bench.stack.command("reconcile", "wide", "--deep")
            until(lambda: bench.stack.state("SELECT state FROM rowtide.reconcile WHERE sync = 'wide'") == [("done",)])
            peaks.append(_peak_mib(process.pid))
    figures.add("memory.wide_rss_mib", peaks, "MiB", f"{ROWS} rows of 1 MB: first load, changes, a deep pass")


def _are_there(bench: Stand, name: str) -> bool:
    rows = "SELECT count(*) FROM rowtide.ledger WHERE sync = 'wide' AND base ->> 'Title' = %s"
    return bench.stack.state(rows, name) == [(ROWS,)]


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024
