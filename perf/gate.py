"""`make perf-gate` holds the newest result against the accepted one; `make perf-accept` makes it the accepted one.

In: perf/results/latest.json and perf/results/accepted.json (or those that ``--latest`` and ``--accepted`` name). Out: a
table; exit code 0 when the gate is open, 1 when it is closed, 2 when there is nothing to compare. Rule: a result is
accepted by a person's command alone, and one of a build that was slowed on purpose never.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perf import judging
from perf.figures import RESULTS, read, replace

ACCEPTED = RESULTS.parent / "accepted.json"


def main(arguments: Sequence[str]) -> int:
    """Compare, or accept."""
    parser = argparse.ArgumentParser(prog="perf.gate", description=__doc__)
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--only", action="append", help="accept this metric, or those whose names begin so, alone")
    parser.add_argument("--latest", type=Path, default=RESULTS)
    parser.add_argument("--accepted", type=Path, default=ACCEPTED)
    options = parser.parse_args(arguments)
    if not options.latest.exists():
        print(f"There is no result at {options.latest}: run `make perf` first.")
        return 2
    latest = read(options.latest)
    if options.accept:
        return accept(options.accepted, latest, options.only or [])
    if not options.accepted.exists():
        print(f"No result was accepted yet ({options.accepted}): `make perf-accept` accepts the newest one.")
        return 2
    accepted = read(options.accepted)
    lines = judging.compare(accepted, latest)
    print(judging.table(lines))
    print(judging.closing(lines, accepted, latest))
    return 0 if judging.is_open(lines, latest) else 1


def accept(path: Path, latest: Mapping[str, Any], only: Sequence[str]) -> int:
    """Write the accepted result anew, and say which promises it misses."""
    chosen = {
        name: metric
        for name, metric in latest["metrics"].items()
        if not only or any(name == one or name.startswith(f"{one}.") for one in only)
    }
    slowed = sorted(name for name, metric in chosen.items() if metric.get("slowed"))
    if slowed or not chosen:
        print(f"Not accepted: measured with a slowed build: {', '.join(slowed)}" if slowed else "No such metric.")
        return 2
    before: dict[str, Any] = read(path)["metrics"] if path.exists() and only else {}
    replace(path, json.dumps({"metrics": before | chosen}, indent=1, sort_keys=True) + "\n")
    print(f"{len(chosen)} figures are accepted in {path}.")
    for name, metric in sorted(chosen.items()):
        said = judging.verdict(name, float(metric["value"]))
        if said.startswith("MISSES"):
            print(f"  {name} = {metric['value']:g} {metric['unit']} {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
