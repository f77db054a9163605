"""Who wins when both sides changed, and what a deletion in PostgreSQL asks of SharePoint.

In: a `Conflict` and the sync's policy. Out: the `Winner`. Rule: nothing else in the core knows who wins; the
definition refuses a policy that is not built yet.
"""

from enum import Enum
from typing import Literal, assert_never

Policy = Literal["postgres_wins"]
"""What a sync may say under ``conflicts``; the definition knows more names and answers them with "not yet"."""

Deletes = Literal["propagate", "ignore"]
"""What a sync may say under ``deletes``: the item of a deleted row is deleted too, or stays where it is."""


class Conflict(Enum):
    """A change in SharePoint that PostgreSQL does not know of, by the names of PostgreSQL 18."""

    UPDATE_DIFFERING = "an item that should hold something else was edited"
    UPDATE_DELETED = "an item that should be there was deleted"
    DELETE_UPDATED = "an item that should be gone was edited"


class Winner(Enum):
    """Whose value both sides hold afterwards. A new member is a type error wherever it has to be acted upon."""

    POSTGRES = "the item is made what the row says"


def winner(conflict: Conflict, policy: Policy) -> Winner:
    """Who wins ``conflict`` under ``policy``."""
    match policy:
        case "postgres_wins":
            match conflict:
                case Conflict.UPDATE_DIFFERING | Conflict.UPDATE_DELETED | Conflict.DELETE_UPDATED:
                    return Winner.POSTGRES
                case _:
                    assert_never(conflict)
        case _:
            assert_never(policy)
