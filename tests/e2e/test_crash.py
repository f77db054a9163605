"""Nothing lost, nothing doubled under SIGKILL: a seeded, pairwise sample of kills, faults, outages and wiped stores.

``ROWTIDE_CRASH_BUDGET_S`` sets how long the sample may take (60 s in `make test`), ``ROWTIDE_CRASH_SEED`` which one is
drawn. A failing history is saved under tests/histories/ and run again by ``make replay FILE=...``.
"""

import os
import random
import shutil
from collections.abc import Callable

import pytest

from demo.postgres import Cluster
from tests.conftest import reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.crash import history
from tests.e2e.crash.history import History
from tests.e2e.crash.plan import ROLES, Plan, pairwise
from tests.e2e.crash.rounds import Verdict

ROUNDS_A_HISTORY = 12


def live(plan: Plan, budget_s: float, simulator: Simulator, new_cluster: Callable[..., Cluster]) -> Verdict:
    """One history, saved when it fails."""
    directory = reachable_directory("rowtide-crash-")
    try:
        verdict = History(plan, directory, simulator, new_cluster).run(budget_s)
        if verdict.findings:
            log = directory / "run.log"
            path = history.save(plan, verdict, history.SAVED, log.read_text(errors="replace") if log.exists() else "")
            print(f"saved as {path}; run it again with: make replay FILE={path}")
        return verdict
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    return Plan(seed, tuple(pairwise(seed)[:ROUNDS_A_HISTORY]), roles=ROLES[seed % 2])


@pytest.mark.timeout(600)
def test_a_sample_of_kills_loses_and_doubles_nothing(
    new_simulator: Callable[..., Simulator], new_cluster: Callable[..., Cluster]
) -> None:
    seed = int(os.environ.get("ROWTIDE_CRASH_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"ROWTIDE_CRASH_SEED={seed}")
    budget_s = float(os.environ.get("ROWTIDE_CRASH_BUDGET_S", "60"))
    verdict = live(draw(seed), budget_s / 2, new_simulator("--tier", "max", "--window-s", "2"), new_cluster)
    print(dict(verdict.figures))
    assert verdict.figures["kills"] >= 1
    assert verdict.findings == []
