"""The hash by which a row stands in log lines, keyed by the installation's id.

In: the id, from `state.instance` whenever it reads it; a `LogRow`, from whoever writes a line. Out: its ``key_hash``.
Rule (docs/design.md section 26): one row has one hash in all processes of an installation, and `rowtide explain` says
it; before a process has read the id it has no row to log of either.
"""

from rowtide.log_row import LogRow

_instance_id = ""


def learn(instance_id: str) -> None:
    """From now on hashes are of this installation."""
    global _instance_id
    _instance_id = instance_id


def to_hash(row: LogRow) -> str:
    """The row's ``key_hash``; empty while the installation is not known."""
    return row.to_hash(_instance_id) if _instance_id else ""
