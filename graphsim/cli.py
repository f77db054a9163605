"""The command line of the simulator.

In: arguments. Out: an exit code: 0 after a clean end; 2, and one sentence on stderr, for a command that cannot be
carried out. Rule: a mistake of the person at the keyboard never ends in a traceback.
"""

import sys

from graphsim.settings import UsageError, read_settings


def console() -> int:
    """The command `graphsim`, where the simulator is installed by itself."""
    return main(sys.argv[1:])


def main(arguments: list[str]) -> int:
    """Runs the simulator until a signal ends it; the exit code of the process."""
    try:
        settings = read_settings(arguments)
        # A bad command is refused before the server is imported, at once.
        from graphsim.server import run

        return run(settings)
    except UsageError as error:
        sys.stderr.write(f"graphsim: {error}\n")
        return 2
