"""The command line of the simulator.

In: arguments. Out: an exit code: 0 after a clean end, 2 for a command that cannot be carried out, said in one sentence
on stderr. Rule: no traceback for what the person at the keyboard can mend.
"""

import sys

from graphsim.settings import UsageError, read_settings


def main(arguments: list[str]) -> int:
    try:
        settings = read_settings(arguments)
        # A bad command is refused before the server is imported, at once.
        from graphsim.server import run

        return run(settings)
    except UsageError as error:
        sys.stderr.write(f"graphsim: {error}\n")
        return 2
