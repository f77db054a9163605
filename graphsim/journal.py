"""What must outlive the process: the seam between the tenant and `--data FILE`.

In: notices of what was written. Out: nothing, or rows in a file (`file_journal`). Rule: an answered write is kept.
"""

from typing import Protocol

from graphsim.lists.list_store import ListItem, SimList


class Journal(Protocol):
    """What the tenant tells of each change; notices may wait in memory until `flush`."""

    def item(self, lst: SimList, item: ListItem, now: float) -> None:
        """An item was created, changed, deleted or purged."""

    def list(self, lst: SimList) -> None:
        """A list was made, renamed, or got other columns."""

    def list_gone(self, lst: SimList) -> None:
        """A list was deleted with all its items."""

    def record(self, kind: str, key: str, value: object | None) -> None:
        """A small thing changed (a person, an app, a grant, a token); None says that it is gone."""

    def flush(self) -> None:
        """Called before an answer leaves: what was noted must outlive the process from now on."""

    def close(self) -> None:
        """Called once, when the process ends."""


class MemoryJournal:
    """Keeps nothing, which is the default: every notice is taken and forgotten."""

    def item(self, lst: SimList, item: ListItem, now: float) -> None: ...
    def list(self, lst: SimList) -> None: ...
    def list_gone(self, lst: SimList) -> None: ...
    def record(self, kind: str, key: str, value: object | None) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
