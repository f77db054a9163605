"""Who wins when both sides changed, what is recorded of it, and what a deletion on one side asks of the other.

In: a `Conflict`, the policies of a sync and, for ``latest_wins``, when each side was changed. Out: the `Winner`, a
`ConflictRecord`. Rules (docs/design.md section 19): nothing else in the core knows who wins; a push-only sync knows
``postgres_wins`` alone; a conflict is recorded once for each version of an item and the values that met.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal, assert_never

from rowtide.change import JsonValue
from rowtide.deciding.records import ItemId, ListId

Policy = Literal["postgres_wins"]
"""What a push-only sync may say under ``conflicts``."""

TwoWayPolicy = Literal["postgres_wins", "sharepoint_wins", "latest_wins", "merge", "manual"]
"""What a two-way sync may say. ``merge``: a field that both sides changed goes by its column's own policy."""

Deletes = Literal["propagate", "ignore"]
"""What a sync may say under ``deletes``: the item of a deleted row is deleted too, or stays where it is."""

SAME_MOMENT = timedelta(seconds=2)
"""Clocks of two sides tell moments that are further apart."""


class Conflict(Enum):
    """What can be wrong when a change meets the other side, by the names of PostgreSQL 18 and of EDB's PGD."""

    UPDATE_DIFFERING = "an item that should hold something else was edited"
    UPDATE_DELETED = "an item that should be there was deleted"
    DELETE_UPDATED = "an item that should be gone was edited"
    INSERT_EXISTS = "a new item has the key of a row that holds something else"
    MOVED_DIFFERING = "an item was moved to one list and its row to another"
    UNIQUE_VIOLATION = "a value is there already in a unique column"
    TYPE_UNREPRESENTABLE = "a value has no place in a column of the other side"
    REFUSED_BY_SOURCE = "the table does not take what an item says"


class Winner(Enum):
    """Whose value both sides hold afterwards. A new member is a type error wherever it has to be acted upon."""

    POSTGRES = "the item is made what the row says"
    SHAREPOINT = "the row is made what the item says"
    NOBODY = "both stay as they are until a person decides"


def winner(conflict: Conflict, policy: Policy) -> Literal[Winner.POSTGRES]:
    """Who wins ``conflict`` in a push-only sync."""
    match policy:
        case "postgres_wins":
            match conflict:
                case (
                    Conflict.UPDATE_DIFFERING
                    | Conflict.UPDATE_DELETED
                    | Conflict.DELETE_UPDATED
                    | Conflict.INSERT_EXISTS
                    | Conflict.MOVED_DIFFERING
                    | Conflict.UNIQUE_VIOLATION
                    | Conflict.TYPE_UNREPRESENTABLE
                    | Conflict.REFUSED_BY_SOURCE
                ):
                    return Winner.POSTGRES
                case _:
                    assert_never(conflict)
        case _:
            assert_never(policy)


# --- the policies of a two-way sync -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policies:
    """The sync's policy, and those of single fields of its lists where they have their own."""

    sync: TwoWayPolicy = "postgres_wins"
    fields: Mapping[str, TwoWayPolicy] = field(default_factory=dict)

    def of_field(self, name: str) -> TwoWayPolicy:
        """The policy for a field that both sides changed."""
        return self.fields.get(name, self.sync)

    def uses(self, policy: TwoWayPolicy) -> bool:
        """Whether anything goes by that policy."""
        return policy == self.sync or policy in self.fields.values()


@dataclass(frozen=True, slots=True)
class Times:
    """When each side was changed, both by the source's clock; None: nobody can say."""

    postgres: datetime | None = None
    sharepoint: datetime | None = None


UNKNOWN_TIMES = Times()


def who_wins(policy: TwoWayPolicy, times: Times) -> Winner:
    """Who wins under ``policy``. A field, or a row, for which ``merge`` names no other policy stays PostgreSQL's."""
    match policy:
        case "postgres_wins" | "merge":
            return Winner.POSTGRES
        case "sharepoint_wins":
            return Winner.SHAREPOINT
        case "latest_wins":
            return _latest(times)
        case "manual":
            return Winner.NOBODY
        case _:
            assert_never(policy)


def _latest(times: Times) -> Winner:
    if times.postgres is None or times.sharepoint is None:
        return Winner.POSTGRES
    return Winner.SHAREPOINT if times.sharepoint - times.postgres > SAME_MOMENT else Winner.POSTGRES


# --- what deletions ask -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """A row whose item was deleted stays, with this text in this column."""

    column: str
    text: str


@dataclass(frozen=True, slots=True)
class MarkItem:
    """An item whose row was deleted stays, with this value in this field."""

    field: str
    value: JsonValue


DeletesBack = Deletes | Mark
"""What an item's deletion asks of its row."""

DeletesForward = Deletes | MarkItem
"""What a row's deletion asks of its item."""


# --- what is recorded ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Values:
    """A field on both sides, what was agreed of it before (None also: nothing was), and whose value holds now."""

    base: JsonValue
    postgres: JsonValue
    sharepoint: JsonValue
    winner: Winner


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """A conflict as it is recorded; without fields it is about the row as a whole, which ``winner`` then tells.

    ``sentence``: why the table does not take what the item says; no policy has a say in that.
    """

    kind: Conflict
    list_id: ListId
    item_id: ItemId
    version: int
    policy: TwoWayPolicy
    winner: Winner
    fields: Mapping[str, Values] = field(default_factory=dict)
    sentence: str | None = None

    @property
    def open(self) -> bool:
        """Whether a person has to decide."""
        return self.winner is Winner.NOBODY


# --- what a person decided ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OtherValue:
    """A value that a person gave in place of both."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class Choice:
    """A person's answer to an open conflict: a side for the row, or for single fields a side or a value.

    ``saw``: field -> PostgreSQL's and SharePoint's value, as they were shown. A field that is no longer so is asked
    again.
    """

    row: Winner | None = None
    fields: Mapping[str, Winner | OtherValue] = field(default_factory=dict)
    saw: Mapping[str, tuple[JsonValue, JsonValue]] = field(default_factory=dict)

    def of_field(self, name: str, postgres: JsonValue, sharepoint: JsonValue) -> Winner | OtherValue | None:
        """What was chosen for a field that holds these values; None: nothing, or for others."""
        if self.saw.get(name) != (postgres, sharepoint):
            return None
        return self.fields.get(name, self.row)
