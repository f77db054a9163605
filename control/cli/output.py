"""Prints what commands answer: one JSON document, or text for people; errors as a code, a sentence and a remedy.

In: plain values. Out: stdout for the answer, stderr for errors. Rules: no other module of the command line prints;
with ``--json`` exactly one document goes to stdout and nothing else; tables are drawn by rich on a terminal and are
plain columns when piped; no character of a value, a name or another system's message acts on the terminal
(`rowtide.legible`).
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rowtide.error_catalogue import command_errors, source_errors
from rowtide.errors import DefinitionError, RowtideError, UserError
from rowtide.legible import legible, legible_json

DONE, FAILED, USAGE, FINDINGS = 0, 1, 2, 3
"""Exit codes: done; failed; usage or an invalid definition; done, and there is something to look at."""


def document(value: Any) -> None:
    """Print ``value`` as the one JSON document of this command."""
    text = json.dumps(value, indent=2, default=_plain, ensure_ascii=False)
    sys.stdout.write(legible_json(text) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def say(line: str = "") -> None:
    """Print one line of the answer."""
    sys.stdout.write(legible(line) + "\n")


def script(lines: Iterable[str]) -> None:
    """Print a script that another program reads; on a terminal it is for people to look at."""
    for line in lines:
        sys.stdout.write((legible(line) if sys.stdout.isatty() else line) + "\n")


def warn(line: str) -> None:
    """Print one line for people to stderr; it is not part of the answer."""
    sys.stderr.write(legible(line) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under column heads: drawn on a terminal, in plain aligned columns otherwise."""
    texts = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        Console().print(drawn(columns, texts))
        return
    for line in aligned(columns, texts):
        say(line)


def aligned(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Heads and rows as lines of plain aligned columns."""
    lines = [[name.upper() for name in columns], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def width() -> int | None:
    """How many columns there are to write in: those of the terminal, or of COLUMNS; None when piped."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdecimal():
        return None
    return shutil.get_terminal_size().columns


def drawn(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A rich table of the rows; values are shown as they are, never read as markup."""
    picture = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        picture.add_column(name, overflow="fold")
    for row in rows:
        picture.add_row(*(escape(_cell(value)) for value in row))
    return picture


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how far something is: how many done so far, and about how many in all (0: not known).

    It writes one line of stderr over and over when stderr is a terminal, and nothing otherwise.
    """
    shown = False

    def show(done: int, estimate: int) -> None:
        nonlocal shown
        if sys.stderr.isatty():
            shown = True
            about = f" of about {estimate:,}" if estimate else ""
            sys.stderr.write(f"\r{done:,}{about} {what}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\n")


def watch(picture: Callable[[], RenderableType], every_s: float) -> None:
    """Show ``picture`` on the terminal and draw it anew every ``every_s`` until Ctrl-C."""
    try:
        with Live(refresh_per_second=4) as live:
            while True:
                live.update(picture())
                time.sleep(every_s)
    except KeyboardInterrupt:
        return


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return legible(str(value))


def error(problem: RowtideError, as_json: bool) -> int:
    """Print what went wrong to stderr, and with ``--json`` as the document; the exit code to end with."""
    joined = isinstance(problem, DefinitionError) or problem.code == source_errors.SOURCE_UNFIT.code
    lines = (problem.sentence.split("\n") if joined else [problem.sentence]) or [""]
    if isinstance(problem, DefinitionError):
        # Each problem has a line of its own, so that editors find file:line at its beginning.
        warn(f"error {problem.code}: {len(lines)} problem{'s' if len(lines) != 1 else ''}")
    else:
        lines[0] = f"error {problem.code}: {lines[0]}"
    for line in lines:
        warn(line)
    for line in (problem.remedy.split("\n") if joined else [problem.remedy]) if problem.remedy else []:
        warn(f"  {line}")
    if as_json:
        document({"error": {"code": problem.code, "sentence": problem.sentence, "remedy": problem.remedy}})
    return USAGE if isinstance(problem, UserError) else FAILED


def confirm(question: str) -> None:
    """Return when a person says yes; UserError when the answer is no, or when there is no terminal to ask on."""
    if not sys.stdin.isatty():
        raise command_errors.NOT_CONFIRMED()
    sys.stderr.write(f"{legible(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise command_errors.NOTHING_DONE()
