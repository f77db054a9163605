"""`rowtide demo`, from an empty directory to the verdict.

In: `Options`. Out: the live view, a `Summary` of how it ended. Rule: whatever happens, processes are ended first and
the directory is removed last; what a SIGKILL leaves, the next demo clears.
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg

from demo import summary, workdir
from demo.comparison import Verdict, settle
from demo.definition import QUOTA_SHARE
from demo.environment import Stage
from demo.figures import Meter
from demo.interrupts import Interrupted, Interrupts
from demo.live_view import Figures, View
from demo.options import TIERS, Options
from demo.shop.workload import Tally, Workload, reprice
from demo.summary import FirstLoad, Summary
from demo.workdir import Home
from rowtide.error_catalogue import command_errors
from rowtide.errors import RowtideError

_LOOK_S = 0.25
_BULK_ARTICLES = 24
_STANDSTILL_S = 90.0
_BEAT_S = 1.2  # the flow adds up its counts each second


def run_demo(options: Options, publish: Callable[[dict[str, Any]], None]) -> Summary:
    """Run the demo; how it ended. With ``options.json`` the summary's document goes to ``publish`` instead of the view.

    To be called from the main thread, whose children the demo's processes are.
    """
    if options.rate <= 0:
        raise command_errors.DEMO_RATE()
    interrupts = Interrupts()
    with interrupts.installed():
        # With --json stdout is the document's alone; the view goes to stderr.
        stream = sys.stderr if options.json else sys.stdout
        with View(stream, live=stream.isatty()) as view:
            for path in workdir.clear_dead(options.directory):
                view.note(f"cleared what a demo that was killed had left in {path}")
            made = Home.make(options.directory)
            try:
                return _Story(options, made, interrupts, view, publish).tell()
            finally:
                made.remove()


def _stop(workload: Workload) -> None:
    try:
        workload.stop()
    except psycopg.Error as error:
        raise command_errors.DEMO_WORKLOAD(problem=error) from error


class _Story:
    """The acts, one after the other; `tell` plays them and clears the stage."""

    def __init__(
        self,
        options: Options,
        made: Home,
        interrupts: Interrupts,
        view: View,
        publish: Callable[[dict[str, Any]], None],
    ) -> None:
        self._options = options
        self._publish = publish
        self._interrupts = interrupts
        self._view = view
        self._stage = Stage(made, options, interrupts.wait)
        self._meter: Meter | None = None
        self._tally = Tally()
        self._figures = Figures("starting")
        self._first_load: FirstLoad | None = None
        self._verdict: Verdict | None = None

    def tell(self) -> Summary:
        """Play everything; processes have ended when it returns or raises."""
        try:
            self._play()
        except Interrupted:
            self._say_summary()
        except RowtideError:
            # A part that Ctrl-C reached before us is no failure.
            if not self._interrupts.asked:
                raise
            self._say_summary()
        finally:
            self._interrupts.patience = sys.maxsize
            if self._view.live:
                self._show(replace(self._figures, phase="ending", share=1.0))
            if self._meter is not None:
                self._meter.close()
            self._stage.end()
        return self._summary()

    def _play(self) -> None:
        self._set_up()
        # From here on Ctrl-C ends the act that is on, and the rest of the story is told quickly.
        self._interrupts.patience = 1
        self._load()
        if not self._interrupts.asked:
            self._turn_quota_on()
            self._live()
        self._compare()
        self._say_summary()
        if self._options.keep and not self._interrupts.asked:
            self._stay()

    # --- the acts -----------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        stage = self._stage
        self._show(Figures("starting PostgreSQL and the Graph simulator"))
        rows = stage.open_shop()
        self._view.note("shop: " + ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in rows.items()))
        self._show(Figures("rowtide apply: making lists and columns", 0.5))
        stage.define()
        self._view.note(f"definition: {stage.config}")
        stage.start_flow()
        self._meter = Meter(stage.state_dsn, stage.control_url)

    def _load(self) -> None:
        """The first load, with the simulator's quota off, so that nobody has to wait for it."""
        began, total = time.monotonic(), sum(self._stage.rows.values())
        meter, moved, figures = self._read(), time.monotonic(), Figures("first load")
        while not self._interrupts.asked:
            reading, before = meter.read(), figures.writes
            figures = meter.figures(reading, "first load", reading.counts.writes / total, self._tally)
            self._show(figures)
            if not reading.loading and not reading.waiting:
                break
            moved = moved if figures.writes == before else time.monotonic()
            if time.monotonic() - moved > _STANDSTILL_S:
                why = "; ".join(f"{name}: {sync.reason}" for name, sync in figures.syncs.items())
                raise command_errors.DEMO_STANDSTILL(why=why)
            self._wait(_LOOK_S)
        seconds = time.monotonic() - began
        self._first_load = FirstLoad(figures.writes, seconds)
        tier = self._options.tier
        self._view.note(
            f"first load: {figures.writes:,} items in {seconds:.1f} s, the simulator's quota being off; "
            + summary.slow_load(figures.writes, tier, TIERS[tier], QUOTA_SHARE)
        )

    def _turn_quota_on(self) -> None:
        """The tenant gets its quota, and the flow is started anew with the definition that says so."""
        self._show(Figures("turning the tenant's quota on"))
        self._settle_counts()
        pid, meter, tier = self._stage.set_quota(), self._read(), self._options.tier
        while not self._interrupts.asked and not meter.read().streaming(pid):
            self._wait(0.1)
        self._view.note(f"quota on: tier {tier}, of which Rowtide takes {QUOTA_SHARE:.0%}; the shop opens")

    def _live(self) -> None:
        """The shop's day, under the tenant's quota."""
        self._read().mark()
        workload = Workload(self._stage.source_dsn, self._options.seed, self._options.rate)
        self._tally = workload.tally
        workload.start()
        began, seconds, bulk = time.monotonic(), self._options.seconds, False
        try:
            while (passed := time.monotonic() - began) < seconds and not self._interrupts.asked:
                if workload.problem is not None:
                    break
                if passed > seconds / 2 and not bulk:
                    bulk = True
                    workload.ask_for(self.bulk_reprice)
                self._look("live workload", passed / seconds)
                self._wait(min(_LOOK_S, seconds - passed))
        finally:
            _stop(workload)
        if self._interrupts.asked:
            self._view.note("the shop closes; comparing (Ctrl-C again ends at once)")

    def bulk_reprice(self, connection: psycopg.Connection, rng: random.Random) -> int:
        """The bulk statement at half-time."""
        changed = reprice(connection, rng, _BULK_ARTICLES)
        self._view.note(f"bulk: one statement gave {changed:,} order lines new prices; small changes overtake them")
        return changed

    def _compare(self) -> None:
        """Wait until what was committed has arrived, and compare."""
        stage, began = self._stage, time.monotonic()

        def seen(verdict: Verdict) -> None:
            phase = f"draining: {len(verdict.differences):,} rows on their way"
            self._look(phase, min(1.0, (time.monotonic() - began) / 60))

        self._verdict = settle(
            stage.compiled(), stage.source_dsn, stage.control_url, seen=seen, wait=self._wait, most_s=300.0
        )
        self._settle_counts()
        self._look("compared", 1.0)

    def _stay(self) -> None:
        """Up until Ctrl-C."""
        for line in summary.invitation(self._stage):
            self._view.note(line)
        while not self._interrupts.asked:
            if self._view.live:
                self._look("running; try it out", 1.0)
            self._wait(1.0)

    # --- what the acts share ------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Sleep; raises when the demo is to end at once, or when a part has ended by itself."""
        self._interrupts.wait(seconds)
        self._stage.check()

    def _settle_counts(self) -> None:
        """Let the flow's last counts come in: it adds them up once a second."""
        self._wait(_BEAT_S)

    def _read(self) -> Meter:
        assert self._meter is not None
        return self._meter

    def _look(self, phase: str, share: float) -> None:
        meter = self._read()
        self._figures = meter.figures(meter.read(), phase, share, self._tally)
        self._show(self._figures)

    def _show(self, figures: Figures) -> None:
        self._view.show(figures)

    def _summary(self) -> Summary:
        return Summary(self._options, self._figures, self._tally, self._first_load, self._verdict)

    def _say_summary(self) -> None:
        told = self._summary()
        if self._options.json:
            self._publish(told.document())
        else:
            for line in told.lines():
                self._view.note(line)
