"""``python -m tests.property.both_ways --histories 40000 --seed N``: random histories; the first bad one is printed.

In: how many, a seed, rules to leave out. Out: a line of figures, exit code 1 if one was bad. Rule: the same seed plays
the same histories.
"""

import argparse
import time

from tests.property.both_ways.playing import bad_history, without


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.both_ways")
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    rules = "inbox, one_side, applied_at, applied, versions, again, restored"
    parser.add_argument("--without", default="", help=f"a rule to leave out: {rules}")
    arguments = parser.parse_args()
    began = time.perf_counter()
    bad = bad_history(arguments.histories, arguments.seed, without(arguments.without))
    took_s = time.perf_counter() - began
    if bad is None:
        print(f"{arguments.histories} histories, seed {arguments.seed}: none bad ({took_s:.0f} s)")
        return 0
    print(f"history {bad.place} of seed {arguments.seed}: {bad.why}\nnumbers = {bad.numbers}")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
