"""`make perf [ONLY=family]`: run the families one after the other and write perf/results/latest.json.

In: ``--only``, ``--repetitions``. Out: a line for each metric, the results file; exit code 1 when a family failed.
Rule: a benchmark speaks to nothing but 127.0.0.1.
"""

import argparse
import sys
import traceback
from collections.abc import Callable

from perf import capture, claiming, delivery, neighbours, pulling, simulator, wide
from perf.figures import Measurements

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
}


def main(arguments: list[str]) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="perf", description=__doc__)
    parser.add_argument("--only", choices=sorted(FAMILIES), action="append")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args(arguments)
    figures, failed = Measurements(), 0
    for name in options.only or FAMILIES:
        try:
            FAMILIES[name](figures, options.repetitions)
        except Exception:
            traceback.print_exc()
            failed = 1
        figures.write()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
