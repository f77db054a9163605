"""What a person sees while the demo runs: a live picture on a terminal, a plain line every few seconds elsewhere.

In: `Figures`, several times a second, and notes. Out: the terminal, or lines on a stream. Rule: nothing is measured or
decided here; with ``--json`` everything goes to stderr, since stdout belongs to the document.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINE_EVERY_S = 3.0


@dataclass(frozen=True, slots=True)
class SyncFigures:
    """One row of the picture's lower half."""

    waiting: int
    delivered: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PeopleFigures:
    """What people did in SharePoint: their edits, how many are in PostgreSQL and after how long, and conflicts."""

    made: int = 0
    arrived: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    decided: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Where the demo stands.

    ``committed`` are row changes that the workload made; ``changes`` are what the stream brought of them (a new key is
    two). Each change is ``coalesced`` (a newer one of its row overtook it), ``suppressed`` (no mapped column differs),
    written, or still waits; ``delivered`` are the suppressed and the written ones. ``writes`` are requests: a row that
    moves to another list takes two.
    """

    phase: str
    share: float = 0.0  # of the phase, 0 to 1
    committed: int = 0
    changes: int = 0
    delivered: int = 0
    waiting: int = 0
    in_flight: int = 0
    parked: int = 0
    writes: int = 0
    coalesced: int = 0
    suppressed: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    ru_used: float = 0.0
    ru_per_minute: float | None = None
    throttled: int = 0
    acts: Mapping[str, int] = field(default_factory=dict)
    syncs: Mapping[str, SyncFigures] = field(default_factory=dict)
    people: PeopleFigures = PeopleFigures()

    @property
    def written(self) -> int:
        """Rows that were delivered by at least one write."""
        return self.delivered - self.suppressed


def milliseconds(value: float | None) -> str:
    """A latency for people."""
    if value is None:
        return "-"
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


class LiveView:
    """The picture; a context manager that restores the terminal."""

    def __init__(self, stream: TextIO, live: bool) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=not live)
        self._live = (
            Live(console=self._console, refresh_per_second=8, transient=True, redirect_stdout=False) if live else None
        )
        self.live = live
        self._last_line = 0.0
        self._last_phase = ""

    def __enter__(self) -> "LiveView":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """A line that stays, above the picture."""
        self._console.print(text, markup=False)

    def show(self, figures: Figures) -> None:
        """Redraw; without a terminal, print a line every few seconds and at each new phase."""
        if self._live is not None:
            self._live.update(picture(figures))
            return
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S or figures.phase != self._last_phase:
            self._last_line, self._last_phase = now, figures.phase
            self._console.print(line(figures), markup=False)


def line(figures: Figures) -> str:
    """The figures in one plain line."""
    if not figures.syncs:
        return figures.phase
    return (
        f"{figures.phase}: committed={figures.committed} delivered={figures.delivered} waiting={figures.waiting}"
        f" p50={milliseconds(figures.p50_ms)} p95={milliseconds(figures.p95_ms)} ru={figures.ru_used:.0f}"
        f" writes={figures.writes} coalesced={figures.coalesced} suppressed={figures.suppressed}"
        f" edits={figures.people.made} arrived={figures.people.arrived}"
    )


def picture(figures: Figures) -> RenderableType:
    """The figures as a panel."""
    below = [*_acts(figures), *_people(figures.people)]
    parts = [Text(), _numbers(figures), Text(), _syncs(figures), *below] if figures.syncs else []
    return Panel(
        Group(_bar(figures), *parts),
        title="Rowtide: PostgreSQL <-> SharePoint lists",
        subtitle="Ctrl-C ends",
        width=86,
    )


def _bar(figures: Figures) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    row.add_column(width=44)
    row.add_column()
    bar = ProgressBar(total=1.0, completed=min(1.0, figures.share), width=34)
    row.add_row(Text(figures.phase, style="bold"), bar)
    return row


def _numbers(figures: Figures) -> RenderableType:
    quota = "-" if figures.ru_per_minute is None else f"{figures.ru_per_minute:,.0f}/min"
    columns = (
        {
            "committed": f"{figures.committed:,}",
            "delivered": f"{figures.delivered:,}",
            "waiting": f"{figures.waiting:,}",
            "in flight": f"{figures.in_flight:,}",
        },
        {
            "latency p50": milliseconds(figures.p50_ms),
            "latency p95": milliseconds(figures.p95_ms),
            "RU used": f"{figures.ru_used:,.0f}",
            "RU quota": quota,
        },
        {
            "writes": f"{figures.writes:,}",
            "saved by coalescing": f"{figures.coalesced:,}",
            "saved as no-ops": f"{figures.suppressed:,}",
            "throttled (429)": f"{figures.throttled:,}",
        },
    )
    table = Table.grid(padding=(0, 2))
    for style in ("green", "cyan", "yellow"):
        table.add_column(style="dim")
        table.add_column(justify="right", style=f"bold {style}", min_width=9)
    for cells in zip(*(column.items() for column in columns), strict=True):
        table.add_row(*(text for cell in cells for text in cell))
    return table


def _syncs(figures: Figures) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("sync", "waiting", "delivered", ""):
        table.add_column(name, justify="right" if name in ("waiting", "delivered") else "left")
    for name, sync in figures.syncs.items():
        table.add_row(name, f"{sync.waiting:,}", f"{sync.delivered:,}", Text(sync.reason, "dim"))
    return table


def edits(people: PeopleFigures) -> str:
    """What became of people's edits, in words."""
    took = f": p50 {_seconds(people.p50_s)}, p95 {_seconds(people.p95_s)}" if people.arrived else ""
    return f"{people.made:,} made by people in SharePoint, {people.arrived:,} in PostgreSQL{took}"


def conflicts(people: PeopleFigures) -> str:
    """What became of fields that both sides changed, in words."""
    return f"{people.decided:,} decided by policy, {people.waiting:,} waiting for a person"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _people(people: PeopleFigures) -> list[RenderableType]:
    if not people.made:
        return []
    lines = (f"edits: {edits(people)}", f"conflicts: {conflicts(people)}")
    return [Text(), *(Text(line, "magenta") for line in lines)]


def _acts(figures: Figures) -> list[RenderableType]:
    if not figures.acts:
        return []
    done = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(figures.acts.items()))
    return [Text(), Text(f"the shop so far: {done}", "dim")]
