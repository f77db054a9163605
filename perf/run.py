"""`make perf [ONLY=family]`: run the families one after the other and write perf/results/latest.json.

In: ``--only``, ``--repetitions``, ``--slowed`` (failpoints in every process: does the gate see it?). Out: a line for
each metric, the results files; exit code 1 when a family failed, 2 when it was refused. Rule: a benchmark speaks to
nothing but this machine; Microsoft does not allow load tests of its services.
"""

import argparse
import sys
import traceback
from collections.abc import Callable

from perf import capture, claiming, curves, delivery, neighbours, overheads, pulling, simulator, wide
from perf.figures import RESULTS, SLOWED, Measurements
from rowtide.errors import UserError

FAMILIES: dict[str, Callable[[Measurements, int], None]] = {
    "capture": capture.run,
    "deliver": delivery.deliver,
    "deep": delivery.deep,
    "latency": delivery.latency,
    "noop": delivery.noop,
    "coalescing": delivery.coalescing,
    "restart": delivery.restart,
    "quiet": delivery.quiet,
    "claim": claiming.claiming,
    "fairness": claiming.fairness,
    "isolation": neighbours.isolation,
    "gated": neighbours.gated,
    "peer_death": neighbours.peer_death,
    "pull": pulling.polling,
    "pull_webhook": pulling.webhook,
    "pull_converging": pulling.converging,
    "simulator": simulator.run,
    "memory": wide.memory,
    "overhead": overheads.overhead,
    "recording": overheads.recording,
    "load_curve": overheads.load_curve,
    "drain_curve": curves.drain,
    "memory_curve": curves.memory,
    "table_curve": curves.table,
}


SLOWABLE = frozenset({"capture", "deliver", "deep", "latency", "noop", "coalescing", "restart", "quiet"})
"""Families whose processes have the failpoints of ``--slowed``."""


def main(arguments: list[str]) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="perf", description=__doc__)
    parser.add_argument("--only", choices=sorted(FAMILIES), action="append")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--up-to", type=int, default=1_000_000, help="the largest size of a curve")
    parser.add_argument("--slowed", default="", metavar="NAME=pause:SECONDS")
    options = parser.parse_args(arguments)
    if options.slowed and not (options.only and SLOWABLE.issuperset(options.only)):
        parser.error(f"--slowed needs --only with some of {', '.join(sorted(SLOWABLE))}")
    figures = Measurements(options.slowed, up_to=options.up_to)
    done: list[str] = []
    failed: list[str] = []
    for name in options.only or FAMILIES:
        figures.begin()
        try:
            FAMILIES[name](figures, options.repetitions)
            done.append(name)
        except UserError as refused:
            print(f"{refused.code}: {refused.sentence} {refused.remedy}", file=sys.stderr)
            return 2
        except Exception:
            traceback.print_exc()
            failed.append(name)
        figures.write(SLOWED if options.slowed else RESULTS, done, failed)
    if not options.slowed:
        figures.keep(RESULTS.parent / "runs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
