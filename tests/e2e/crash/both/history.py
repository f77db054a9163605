"""One crash history of a sync that goes both ways: a seed in, a verdict out.

In: `Plan`, directories. Out: `Verdict`: figures, and findings (empty: nothing lost, nothing doubled, no conflict
invented). Called by the soak and the replay. Rule: as for `tests.e2e.crash.history`; people change rows and items all
the time, and deletions in lists wait for nobody (the breaker is open).
"""

import re
from collections.abc import Callable
from pathlib import Path

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.e2e.crash.both import trail
from tests.e2e.crash.both.judge import judge
from tests.e2e.crash.both.people import People
from tests.e2e.crash.ground import Ground
from tests.e2e.crash.plan import RANDOM, Plan, Round
from tests.e2e.crash.rounds import Rounds, Verdict
from tests.e2e.crash.world import GRAPH_OPTIONS, TIMEOUT
from tests.e2e.stack import Stack

SYNC = """
  wares:
    source: {postgres: erp, table: public.wares}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    lists: {by: shard, map: {a: Wares A, b: Wares B}, default: Wares Other}
    direction: both
    conflicts: {columns: {note: sharepoint_wins}}
    poll: 1s..1s
    breaker: {share: 1.0, rows: 1000000}
    fields: {title: Title, note: {field: Note, as: note}}
"""


class BothWays(Ground):
    """Two servers, the lists, the people."""

    def __init__(self, plan: Plan, directory: Path, simulator: Simulator, new_cluster: Callable[..., Cluster]) -> None:
        super().__init__(directory, simulator, new_cluster, plan.state)
        source_dsn, state_dsn = self.source.create_database("source"), self.state.create_database("state")
        self.stack = Stack(
            directory, source_dsn, state_dsn, simulator.ready, SYNC, GRAPH_OPTIONS, "rowtide_0",
            request_timeout=TIMEOUT,
        )  # fmt: skip
        self.stack.simulator = simulator
        self.people = People(self.stack, plan.seed, plan.rows)


class BothHistory(Rounds):
    """Runs a plan on servers of its own."""

    def __init__(self, plan: Plan, directory: Path, simulator: Simulator, new_cluster: Callable[..., Cluster]) -> None:
        self.world = BothWays(plan, directory, simulator, new_cluster)
        super().__init__(plan, self.world)

    def run(self, budget_s: float) -> Verdict:
        """Prepare, live through the rounds (as many as begin within ``budget_s``), judge."""
        world = self.world
        try:
            world.people.prepare()
            world.stack.apply()
            trail.watch(world.stack)
            world.people.start()
            try:
                self.play(budget_s)
            finally:
                world.people.stop()
                world.simulator.clear_faults()
            self._end()
        except AssertionError as failed:
            self.verdict.findings.append(f"the history ended early: {failed}")
        finally:
            world.people.stop()
            world.stack.close()
        return self.verdict

    def _follow(self) -> None:
        """Save what became of the records of each row that a finding names."""
        keys = {key for one in self.verdict.findings for key in re.findall(r"\b(?:of|row|item) (\d+)\b", one)}
        for key in sorted(keys):
            self.verdict.trail += trail.of_row(self.world.stack, key)

    def _end(self) -> None:
        world, figures = self.world, self.verdict.figures
        lives = self.start(Round(RANDOM, 1, 0.0, "none", "none", "kept"))
        try:
            for life in lives.values():
                world.stack.wait_ready(life.process)
            self.verdict.findings += judge(world, world.people.lineage)
            self._follow()
        finally:
            codes = [world.stack.stop(life.process) for life in lives.values()]
        if any(codes):
            self.verdict.findings.append(f"exit codes {codes} after SIGTERM")
        stats = world.simulator.stats()
        figures.update(
            histories=1, transactions=world.people.done["rows"], edits=world.people.done["items"],
            conflicts=int(world.stack.state("SELECT count(*) FROM rowtide.conflict")[0][0]), faults=stats["faults"],
            requests=sum(sum(by.values()) for by in stats["requests"].values()),
        )  # fmt: skip
