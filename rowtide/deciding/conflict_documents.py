"""Conflicts and choices as JSON documents: what `conflict` and ``rowtide_pull.applied`` hold of them.

In: `ConflictRecord`, `Choice`. Out: documents, and the same values back. Called by state.conflicts, and by whoever
writes the source's record. Rule: what was written is read back as the same value; names are those of `Winner`.
"""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

from rowtide.change import JsonValue
from rowtide.deciding.conflicts import Choice, Conflict, ConflictRecord, OtherValue, TwoWayPolicy, Values, Winner
from rowtide.deciding.records import ItemId, ListId

WinnerName = Literal["postgres", "sharepoint"]

_NAMES: Mapping[Winner, WinnerName | None] = {
    Winner.POSTGRES: "postgres",
    Winner.SHAREPOINT: "sharepoint",
    Winner.NOBODY: None,
}
_WINNERS = {name: winner for winner, name in _NAMES.items()}


class ValuesDocument(TypedDict):
    """A field's three values, and whose holds now (None: a person has to decide)."""

    base: JsonValue
    postgres: JsonValue
    sharepoint: JsonValue
    winner: WinnerName | None


class ConflictDocument(TypedDict):
    """A conflict; without fields it is about the row as a whole."""

    kind: str
    list_id: str
    item_id: str
    version: int
    policy: TwoWayPolicy
    winner: WinnerName | None
    fields: Mapping[str, ValuesDocument]
    sentence: NotRequired[str | None]


class ChosenValue(TypedDict):
    """A value that a person gave in place of both."""

    value: JsonValue


class ChoiceDocument(TypedDict):
    """What a person chose, and the two values of each field that they saw, PostgreSQL's first."""

    row: WinnerName | None
    fields: Mapping[str, WinnerName | ChosenValue]
    saw: Mapping[str, list[JsonValue]]


def name_of(winner: Winner) -> WinnerName | None:
    """How a winner is stored; None: nobody."""
    return _NAMES[winner]


def winner_of(name: WinnerName | None) -> Winner:
    """The winner of that name."""
    return _WINNERS[name]


def kind_of(name: str) -> Conflict:
    """The kind of conflict of that stored name."""
    return Conflict[name.upper()]


def name_of_kind(kind: Conflict) -> str:
    """How a kind of conflict is stored."""
    return kind.name.lower()


def to_fields(fields: Mapping[str, Values]) -> dict[str, ValuesDocument]:
    """Each field's values."""
    return {
        name: {
            "base": one.base, "postgres": one.postgres, "sharepoint": one.sharepoint, "winner": name_of(one.winner),
        }
        for name, one in fields.items()
    }  # fmt: skip


def from_fields(stored: Mapping[str, ValuesDocument]) -> dict[str, Values]:
    """The values that `to_fields` wrote."""
    return {
        name: Values(one["base"], one["postgres"], one["sharepoint"], winner_of(one["winner"]))
        for name, one in stored.items()
    }


def to_document(record: ConflictRecord) -> ConflictDocument:
    """A conflict, with its values."""
    return {
        "kind": name_of_kind(record.kind), "list_id": record.list_id, "item_id": record.item_id,
        "version": record.version, "policy": record.policy, "winner": name_of(record.winner),
        "fields": to_fields(record.fields), "sentence": record.sentence,
    }  # fmt: skip


def from_document(stored: ConflictDocument) -> ConflictRecord:
    """The conflict that `to_document` wrote."""
    return ConflictRecord(
        kind_of(stored["kind"]), ListId(stored["list_id"]), ItemId(stored["item_id"]), stored["version"],
        stored["policy"], winner_of(stored["winner"]), from_fields(stored["fields"]), stored.get("sentence"),
    )  # fmt: skip


def to_choice(choice: Choice) -> ChoiceDocument:
    """A person's choice."""
    return {
        "row": None if choice.row is None else name_of(choice.row),
        "fields": {name: _to_chosen(one) for name, one in choice.fields.items()},
        "saw": {name: list(both) for name, both in choice.saw.items()},
    }


def from_choice(stored: ChoiceDocument) -> Choice:
    """The choice that `to_choice` wrote."""
    return Choice(
        None if stored["row"] is None else winner_of(stored["row"]),
        {name: _from_chosen(one) for name, one in stored["fields"].items()},
        {name: (both[0], both[1]) for name, both in stored["saw"].items()},
    )


def _to_chosen(one: Winner | OtherValue) -> WinnerName | ChosenValue:
    if isinstance(one, OtherValue):
        return {"value": one.value}
    name = name_of(one)
    assert name is not None, "a person chooses a side or a value"
    return name


def _from_chosen(stored: WinnerName | ChosenValue) -> Winner | OtherValue:
    return winner_of(stored) if isinstance(stored, str) else OtherValue(stored["value"])
