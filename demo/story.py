"""What the demo plays: first load, quota, a day in the shop and in its lists, and the comparison that proves it.

In: `DemoOptions`, a working directory, a view. Out: a `Summary`. Rules: the acts come one after the other; Ctrl-C ends
the act that is on and the rest is played quickly; whatever happens, every process has ended before `play` returns.
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg

from demo import quota, summary
from demo.comparison import Difference, Verdict, compare_until_equal
from demo.environment import Environment, EnvironmentSettings
from demo.figures import NOBODY, Meter
from demo.interrupts import Interrupted, Interrupts
from demo.live_view import Figures, LiveView
from demo.options import TIERS, DemoOptions
from demo.shop.definition import QUOTA_SHARE, shop_definition
from demo.shop.people import BY_A_PERSON, BY_POLICY, CUSTOMERS, People, add_contested
from demo.shop.schema import create_shop
from demo.shop.workload import Workload, WorkloadTally, reprice
from demo.summary import FirstLoad, Summary
from demo.workdir import Workdir
from rowtide.error_catalogue import command_errors
from rowtide.errors import RowtideError

_LATENCY_MS = 60
_LOOK_S = 0.25
_BULK_ARTICLES = 24
_STANDSTILL_S = 180.0
_COMPARE_S = 300.0
_ARRIVE_S = 60.0
_WAITS = Difference(CUSTOMERS, str(BY_A_PERSON), "differing", "Segment")
"""What both sides say differently until a person decides."""


class Story:
    """The acts of one demo; ``publish`` gets the summary as soon as it is known."""

    def __init__(
        self,
        options: DemoOptions,
        workdir: Workdir,
        interrupts: Interrupts,
        view: LiveView,
        publish: Callable[[Summary], None],
    ) -> None:
        self._options = options
        self._interrupts = interrupts
        self._view = view
        self._publish = publish
        settings = EnvironmentSettings(source="shop", latency_ms=_LATENCY_MS, seed=options.seed)
        self._environment = Environment(workdir, settings, interrupts.wait)
        self._running_meter: Meter | None = None
        self._shop_rows = 0
        self._tally = WorkloadTally()
        self._people: People | None = None
        self._contested = [self._contest_by_policy, self._contest_for_a_person]
        self._figures = Figures("starting")
        self._first_load: FirstLoad | None = None
        self._verdict: Verdict | None = None

    def play(self) -> Summary:
        """Play every act; processes have ended when it returns or raises."""
        try:
            self._play_acts()
        except Interrupted:
            self._publish(self._summary())
        except RowtideError:
            # A part that Ctrl-C reached before us is no failure.
            if not self._interrupts.asked:
                raise
            self._publish(self._summary())
        finally:
            self._interrupts.patience = sys.maxsize
            if self._view.live:
                self._view.show(replace(self._figures, phase="ending", share=1.0))
            if self._people is not None:
                self._people.stop()
            if self._running_meter is not None:
                self._running_meter.close()
            self._environment.end()
        return self._summary()

    def _play_acts(self) -> None:
        self._set_up()
        # From here on Ctrl-C ends the act that is on, and the rest of the story is told quickly.
        self._interrupts.patience = 1
        self._load()
        if not self._interrupts.asked:
            self._turn_quota_on()
            self._open_shop()
        self._compare()
        self._publish(self._summary())
        if self._options.keep and not self._interrupts.asked:
            self._stay()

    # --- the acts -----------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """Start everything, fill the shop, apply the definition."""
        environment, view = self._environment, self._view
        view.show(Figures("starting PostgreSQL and the Graph simulator"))
        addresses = environment.start()
        with psycopg.connect(addresses.source_dsn, autocommit=True) as connection:
            rows = create_shop(connection, self._options.seed)
            rows[CUSTOMERS] += add_contested(connection)
        self._shop_rows = sum(rows.values())
        view.note("shop: " + ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in rows.items()))
        view.show(Figures("rowtide apply: making lists and columns", 0.5))
        environment.define(self._definition(quota=False))
        environment.apply()
        view.note(f"definition: {environment.config}")
        environment.start_flow()
        self._running_meter = Meter(addresses.state_dsn, environment.simulator)

    def _load(self) -> None:
        """The first load, with the simulator's quota off, so that nobody has to wait for it."""
        began, moved, figures = time.monotonic(), time.monotonic(), Figures("first load")
        while not self._interrupts.asked:
            reading, before = self._meter.read(), figures.writes
            share = reading.totals.writes / self._shop_rows
            figures = self._meter.figures(reading, "first load", share, self._tally)
            self._view.show(figures)
            if not reading.loading and not reading.waiting:
                break
            moved = moved if figures.writes == before else time.monotonic()
            if time.monotonic() - moved > _STANDSTILL_S:
                why = "; ".join(f"{name}: {sync.reason}" for name, sync in figures.syncs.items())
                raise command_errors.DEMO_STANDSTILL(why=why)
            self._wait(_LOOK_S)
        seconds, tier = time.monotonic() - began, self._options.tier
        self._first_load = FirstLoad(figures.writes, seconds)
        self._view.note(
            f"first load: {figures.writes:,} items in {seconds:.1f} s, the simulator's quota being off; "
            + summary.slow_load(figures.writes, tier, TIERS[tier], QUOTA_SHARE)
        )

    def _turn_quota_on(self) -> None:
        """The tenant gets its quota, and the flow is started anew with the definition that says so."""
        tier = self._options.tier
        self._view.show(Figures("turning the tenant's quota on"))
        pid = quota.turn_quota_on(self._environment, self._definition(quota=True), tier)
        while not self._interrupts.asked and not self._meter.read().streaming(pid):
            self._wait(0.1)
        self._view.note(f"quota on: tier {tier}, of which Rowtide takes {QUOTA_SHARE:.0%}; the shop opens")

    def _open_shop(self) -> None:
        """The shop's day, under the tenant's quota: programs change its tables, people its lists."""
        self._meter.mark()
        environment, seed = self._environment, self._options.seed
        workload = Workload(environment.addresses.source_dsn, seed, self._options.rate)
        self._tally = workload.tally
        workload.start()
        self._people = People(environment.addresses.source_dsn, environment.simulator, seed, self._view.note)
        self._people.start()
        began, seconds, bulk = time.monotonic(), self._options.seconds, False
        try:
            while (passed := time.monotonic() - began) < seconds and not self._interrupts.asked:
                if workload.problem is not None:
                    break
                if passed > seconds / 2 and not bulk:
                    bulk = True
                    workload.ask_for(self.bulk_reprice)
                if self._contested and passed > seconds / (2 + len(self._contested)):
                    self._contested.pop(0)(self._people)
                self._look("live workload", passed / seconds)
                self._wait(min(_LOOK_S, seconds - passed))
        finally:
            self._people.leave()
            _stop(workload)
        if self._interrupts.asked:
            self._view.note("the shop closes; comparing (Ctrl-C again ends at once)")

    def bulk_reprice(self, connection: psycopg.Connection, rng: random.Random) -> int:
        """The bulk statement at half-time; an act of the workload, which is counted under this name."""
        changed = reprice(connection, rng, _BULK_ARTICLES)
        self._view.note(f"bulk: one statement gave {changed:,} order lines new prices; small changes overtake them")
        return changed

    def _contest_by_policy(self, people: People) -> None:
        people.contest(BY_POLICY, "notes", "Notes", "The list says: pays at once.", "The table says: pays late.")
        self._view.note("conflict: both sides changed the notes of Contested & Sons; sharepoint_wins decides")

    def _contest_for_a_person(self, people: People) -> None:
        people.contest(BY_A_PERSON, "segment", "Segment", "Enterprise", "Public sector")
        self._view.note("conflict: both sides changed the segment of Undecided Optics; it waits for a person")

    def _await_people(self) -> None:
        """Wait until what they typed is in PostgreSQL, and what a person has to decide is in the inbox."""
        people, began = self._people, time.monotonic()
        if people is None:
            return
        while time.monotonic() - began < _ARRIVE_S:
            waits = self._meter.read().conflicts.get(CUSTOMERS, (0, 0))[0]
            if people.all_arrived and (waits or self._contested):
                break
            self._look("people's edits are on their way", min(1.0, (time.monotonic() - began) / 10))
            self._wait(_LOOK_S)

    def _compare(self) -> None:
        """Wait until what was committed and typed has arrived, and compare."""
        self._await_people()
        began = time.monotonic()

        def seen(verdict: Verdict) -> None:
            phase = f"draining: {len(verdict.differences):,} rows on their way"
            self._look(phase, min(1.0, (time.monotonic() - began) / 60))

        self._verdict = compare_until_equal(
            self._environment.compiled_syncs(),
            self._environment.addresses.source_dsn,
            self._environment.simulator,
            waiting=() if self._contested else (_WAITS,),
            seen=seen,
            wait=self._wait,
            most_s=_COMPARE_S,
        )
        self._look("compared", 1.0)

    def _stay(self) -> None:
        """Stay up until Ctrl-C."""
        for line in summary.invitation(self._environment):
            self._view.note(line)
        while not self._interrupts.asked:
            if self._view.live:
                self._look("running; try it out", 1.0)
            self._wait(1.0)

    # --- what the acts share ------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Sleep; raises when the demo is to end at once, or when a part has ended by itself."""
        self._interrupts.wait(seconds)
        self._environment.check()

    def _definition(self, quota: bool) -> str:
        return shop_definition(self._environment.draft(), TIERS[self._options.tier], quota)

    @property
    def _meter(self) -> Meter:
        assert self._running_meter is not None, "_set_up comes first"
        return self._running_meter

    def _look(self, phase: str, share: float) -> None:
        """Read the figures anew and show them."""
        people = NOBODY if self._people is None else self._people.tally
        self._figures = self._meter.figures(self._meter.read(), phase, share, self._tally, people)
        self._view.show(self._figures)

    def _summary(self) -> Summary:
        return Summary(self._options, self._figures, self._tally, self._first_load, self._verdict)


def _stop(workload: Workload) -> None:
    try:
        workload.stop()
    except psycopg.Error as error:
        raise command_errors.DEMO_WORKLOAD(problem=error) from error
