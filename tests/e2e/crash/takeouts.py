"""`make takeouts`: take each rule out of the product, and see whether the histories of administration find it.

In: ``--rule``, ``--seed``, ``--histories``. Out: a Markdown table of rule, histories needed and finding; exit code 1
when a rule that was taken out was not found. Rule: the product is never changed; a rule is taken out of a copy of the
tree, by replacing lines that have to be there exactly once.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines of a file, and what is there instead of them where the rule does not hold."""

    file: str
    lines: str
    without: str

    def apply(self, tree: Path) -> None:
        """Replace the lines in a copy of the tree."""
        path = tree / self.file
        text = path.read_text()
        assert text.count(self.lines) == 1, f"{self.file} has these lines {text.count(self.lines)} times: {self.lines}"
        path.write_text(text.replace(self.lines, self.without))


@dataclass(frozen=True, slots=True)
class TakeOut:
    """A rule, the cards that need it, and how it is taken out: of each place that keeps it."""

    rule: str
    cards: tuple[str, ...]
    edits: tuple[Edit, ...]


TAKE_OUTS = (
    TakeOut(
        "the fence: changes of an earlier era are not staged",
        ("sleep_through_an_era",),
        (
            Edit(
                "state/outbox/staging_sql.py",
                "        kept = []\n        for batch in batches:\n            lsn = self.since.get",
                "        return list(batches)\n"
                "        kept = []\n        for batch in batches:\n            lsn = self.since.get",
            ),
        ),
    ),
    TakeOut(
        "the mark: no pass reads before older changes are staged",
        ("fall_behind",),
        (
            Edit(
                "flows/reconcile_pass.py",
                "        if cursor_lsn < record.mark_lsn:\n",
                "        if cursor_lsn < 0:\n",
            ),
        ),
    ),
    TakeOut(
        "the shape: a change of table or publication asks for a pass",
        ("unpublish_for_a_moment", "convert", "swap_by_rename"),
        (
            Edit(
                "state/shapes.py",
                "        if what:\n            record.request",
                "        if not conn:\n            record.request",
            ),
        ),
    ),
    TakeOut(
        "the proof: a session on another server is not used",
        ("start_astray",),
        (
            Edit(
                "connectors/postgres/server_proof.py",
                "    deadline, expected = time.monotonic() + PATIENCE_S, expect()\n",
                "    deadline, expected = time.monotonic() + PATIENCE_S, None\n",
            ),
        ),
    ),
    TakeOut(
        "lists by target: a list is its target's, whatever it is called",
        ("rename_a_list",),
        (
            Edit(
                "connectors/graph/list_targets.py",
                "    own = next((one for one in applied if set(one.targets) & set(wanted.targets)), None)\n",
                "    own = None\n",
            ),
        ),
    ),
    TakeOut(
        "holds as rows: the end of one kind lifts no other",
        ("pause_over_a_stop",),
        (
            Edit(
                "state/holds.py",
                "         WHERE scope = %s AND object = %s AND kind = %s AND (%s::text[]",
                "         WHERE scope = %s AND object = %s AND length(%s) > 0 AND (%s::text[]",
            ),
        ),
    ),
    TakeOut(
        "definitions: none is stored that was planned on an older one",
        ("change_it_beside_another",),
        (
            Edit(
                "control/operations/apply.py",
                "    if applied is None or applied.version == plan.applied_version:\n        return\n",
                "    if plan is not None:\n        return\n",
            ),
            Edit(
                "control/operations/apply.py",
                "    if version != plan.applied_version:\n",
                "    if plan is None:\n",
            ),
            Edit(
                "state/definitions.py",
                "        if latest_version(conn) != based_on:\n",
                "        if latest_version(conn) is None and based_on is not None:\n",
            ),
        ),
    ),
    TakeOut(
        "column ids: a column made anew is empty in the base",
        ("make_a_column_anew", "change_a_columns_kind"),
        (
            Edit(
                "state/lists.py",
                "        if not names:\n            continue\n",
                "        if True:\n            continue\n",
            ),
        ),
    ),
    TakeOut(
        "key changes: the old key is read again",
        ("restart", "pause_for_a_moment"),
        (
            Edit(
                "rowtide/mapping/binding.py",
                "        return [Change(old_key, ",
                "        return [upsert] or [Change(old_key, ",
            ),
        ),
    ),
    TakeOut(
        "TRUNCATE asks for a pass",
        ("truncate",),
        (
            Edit(
                "flows/steps/capture.py",
                "self._acts.request_reconcile(compiled.sync,",
                "print(",
            ),
        ),
    ),
    TakeOut(
        "visibility: a page never replaces a change that its snapshot did not see",
        ("read_it_all",),
        (
            Edit(
                "state/reconcile/backfill.py",
                '    return f"({row}.era < %(era)s OR ({row}.era = %(era)s AND ({visible})))"\n',
                '    return f"({row}.era <= %(era)s OR ({visible}))"\n',
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    """In which history a rule was missed, and how; None: in none of ``histories``."""

    rule: str
    histories: int
    finding: str | None


def miss(one: TakeOut, words: Sequence[str]) -> Found:
    """Run histories without the rule until one finds something; ``words``: which histories."""
    tree = Path(tempfile.mkdtemp(prefix="rowtide-takeout-"))
    try:
        copy = tree / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", "histories"))
        for edit in one.edits:
            edit.apply(copy)
        command = [sys.executable, "-m", "tests.e2e.crash.administration", *words]
        done = subprocess.run(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout, flush=True)
        said = re.findall(r"^history (\d+): (.*)$", done.stdout, re.MULTILINE)
        assert said, "the histories did not run"
        number, finding = said[-1]
        return Found(one.rule, int(number) + 1, None if finding == "equal" else finding)
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """`make takeouts`."""
    parser = argparse.ArgumentParser(prog="takeouts", description=__doc__)
    parser.add_argument("--rule", default="", help="only rules whose name holds this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--histories", type=int, default=3)
    parser.add_argument("--steps", type=int, default=18)
    parser.add_argument("--directed", action="store_true", help="play only the cards that need the rule")
    options = parser.parse_args(arguments)
    seed = options.seed or random.SystemRandom().randrange(1 << 30)
    found = []
    for one in TAKE_OUTS:
        if options.rule in one.rule:
            print(f"without: {one.rule}; seed {seed}", flush=True)
            words = ["--seed", str(seed), "--histories", str(options.histories), "--steps", str(options.steps)]
            found.append(miss(one, [*words, "--cards", *one.cards] if options.directed else words))
    print(f"seed {seed}\n\n| rule taken out | found in history | by |\n|---|---|---|")
    for each in found:
        print(f"| {each.rule} | {each.histories if each.finding else 'none'} | {(each.finding or '')[:400]} |")
    return 1 if any(each.finding is None for each in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
