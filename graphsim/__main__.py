"""Entry of `python -m graphsim`: hands the command line to `graphsim.cli` and its exit code to the shell."""

import sys

from graphsim.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
