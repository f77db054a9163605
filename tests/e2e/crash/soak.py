"""`make soak`: histories until so many kills, with the figures as a table.

In: ``--kills``, ``--ways``, ``--seed``, ``--budget-s``, ``--out FILE``. Out: for each way a Markdown table on stdout
(and in the file), exit code 1 when anything was lost or doubled. `make test-long` runs a share of it. Rule: what is
printed is what was counted, failures included; each failing history is saved.
"""

import argparse
import itertools
import json
import os
import platform
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from state import failpoints
from tests.conftest import reachable_directory
from tests.e2e.crash import administration, history
from tests.e2e.crash.acts import ACTS
from tests.e2e.crash.administration import Course
from tests.e2e.crash.both.history import BothHistory
from tests.e2e.crash.deck import deal
from tests.e2e.crash.ground import OWN, SHARED
from tests.e2e.crash.history import History
from tests.e2e.crash.plan import BOTH, PUSH, ROLES, WAYS, Plan, Round, pairwise, with_acts, with_random_kills
from tests.e2e.crash.rounds import Verdict
from tests.e2e.crash.servers import servers

ROWS = {PUSH: 150, BOTH: 40}
FAILPOINTS_A_HISTORY = 12
"""Rounds that are aimed at a failpoint; each is followed by one at a random moment."""


def live(plan: Plan, budget_s: float) -> Verdict:
    """One history on servers of its own."""
    directory = reachable_directory("rowtide-crash-")
    try:
        with servers() as (simulator, clusters):
            kind = BothHistory if plan.ways == BOTH else History
            verdict = kind(plan, directory, simulator, clusters).run(budget_s)
        if verdict.findings:
            log = directory / "run.log"
            text = log.read_text(errors="replace") if log.exists() else ""
            print(f"saved: {history.save(plan, verdict, history.SAVED, text)}", flush=True)
        return verdict
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def aimed(seed: int, number: int) -> list[Round]:
    """Rounds at the failpoints whose turn it is in history ``number``, so that all come up in every second history."""
    names = sorted(failpoints.NAMES)
    turn = [names[(number * FAILPOINTS_A_HISTORY + place) % len(names)] for place in range(FAILPOINTS_A_HISTORY)]
    drawn = pairwise(seed)
    random.Random(seed).shuffle(turn)
    return [next(one for one in drawn if one.point == name) for name in turn]


def _has_acts(number: int) -> bool:
    """Whether history ``number`` has acts of administration: beside roles and places, which take turns."""
    return bool((number + number // 2 + number // 4) % 2)


def draw(seed: int, number: int, ways: str = PUSH) -> Plan:
    """History ``number`` of a soak: roles, place of the state database and acts take turns; one deck has all acts."""
    rounds = with_random_kills(seed + number, aimed(seed + number, number))
    if ways == PUSH and _has_acts(number):
        dealt = sum(map(_has_acts, range(number))) * (len(rounds) // 2)
        rounds = with_acts(rounds, itertools.islice(deal(seed, tuple(ACTS)), dealt, None))
    state = (OWN, SHARED)[number // 2 % 2]
    return Plan(seed + number, tuple(rounds), ROWS[ways], ROLES[number % 2], state, ways)


OF_ONE_WAY = frozenset({"acts of administration", "row changes committed", "conflicts recorded"}) | {
    "items whose key a person deleted before they were on record",
    "edits of items by people",
}


def table(figures: Counter[str], findings: list[str], seed: int, seconds: float) -> str:
    """The figures as Markdown."""
    lost = sum("not equal" in one or "was confirmed" in one or ": lost: " in one for one in findings)
    doubled = sum("items with key" in one or "items created" in one or "rows hold" in one for one in findings)
    invented = sum("invented conflict" in one for one in findings)
    rows = [
        ("histories", figures["histories"]),
        ("kills (SIGKILL) of a process that had staged or settled", figures["working kills"]),
        ("- at a failpoint", figures["kills at a failpoint"]),
        ("- at a random moment", figures["kills at a random moment"]),
        ("writes of the lives that ended so", figures["writes of these lives"]),
        ("kills during start, before any work", figures["kills during start"]),
        ("acts of administration", figures["acts of administration"]),
        ("recovery stores wiped", figures["recovery stores wiped"]),
        ("state database killed", figures["state killed"]),
        ("source killed", figures["source killed"]),
        ("slot dropped", figures["slot dropped"]),
        ("transactions committed", figures["transactions"]),
        ("row changes committed", figures["rows"]),
        ("edits of items by people", figures["edits"]),
        ("conflicts recorded", figures["conflicts"]),
        ("requests to Graph", figures["requests"]),
        ("faults injected", figures["faults"]),
        ("items whose key a person deleted before they were on record", figures["items of nobody"]),
        ("rows or values lost", lost),
        ("items or rows doubled", doubled),
        ("conflicts invented", invented),
        ("other findings", len(findings) - lost - doubled - invented),
    ]
    shown = [(name, value) for name, value in rows if value or name not in OF_ONE_WAY]
    lines = ["| figure | value |", "|---|---|", *(f"| {name} | {value:,} |" for name, value in shown)]
    points = (f"| `{name}` | {figures[f'at {name}']:,} |" for name in sorted(failpoints.NAMES))
    lines += ["", "| killed at failpoint | times |", "|---|---|", *points]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[1]:.1f}"
    return "\n".join([*lines, "", f"seed {seed}, {seconds / 60:.0f} minutes, {machine}"])


def run(kills: int, seed: int, budget_s: float, ways: str = PUSH) -> tuple[str, list[str]]:
    """Histories until the kills are done or the budget is spent: the table, and every finding."""
    seed = seed or random.SystemRandom().randrange(1 << 30)
    print(f"{ways}, seed {seed}", flush=True)
    figures: Counter[str] = Counter()
    findings: list[str] = []
    started = time.monotonic()
    for number in range(10_000):
        left = budget_s - (time.monotonic() - started)
        if figures["working kills"] >= kills or left < 30:
            break
        verdict = live(draw(seed, number, ways), left - 20)
        figures.update(verdict.figures)
        findings += [f"seed {seed + number}: {said}" for said in verdict.findings]
        said = f"working kills {figures['working kills']}, findings {verdict.findings}"
        print(f"history {number}: seed {seed + number}, {said}", flush=True)
    if not figures["working kills"]:
        findings.append("no process was killed while it worked")
    return table(figures, findings, seed, time.monotonic() - started), findings


def replay(text: str) -> int:
    """A saved history once more, of kills or of administration: exit code 1 when it finds something."""
    if "cards" in json.loads(text):
        findings = administration.run(Course.from_json(text))
    else:
        verdict = live(Plan.from_json(text), float("inf"))
        print(dict(verdict.figures))
        findings = verdict.findings
    print("\n".join(findings))
    return 1 if findings else 0


def main(arguments: list[str]) -> int:
    """`make soak` and `make replay`."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--ways", choices=WAYS, action="append", help="which histories; default: push")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget-s", type=float, default=float("inf"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one saved history and nothing else")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return replay(options.replay.read_text())
    texts, found = [], []
    for ways in options.ways or [PUSH]:
        text, findings = run(options.kills, options.seed, options.budget_s, ways)
        print(text)
        print("\n".join(findings))
        texts.append(text)
        found += findings
    if options.out is not None:
        options.out.write_text("\n\n".join(texts) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    sys.exit(main(sys.argv[1:]))
