"""How a row stands in a line of the log: for the command line, which sets the log up.

In: a `LogRow`. Out: its ``key_hash``. Rule: the same in the log of every process of an installation and in
`rowtide explain`.
"""

from rowtide.log_row import LogRow
from state import row_hashes


def key_hash(row: LogRow) -> str:
    """The hash; empty while the installation is not known."""
    return row_hashes.to_hash(row)
