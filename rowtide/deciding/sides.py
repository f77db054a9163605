"""What each side did to a field since both last agreed on it, and what they agree on afterwards.

In: the base (PostgreSQL's value, and `kept` where SharePoint keeps it otherwise), the row's values, the item's. Out: a
`FieldChange` for each field. Rules (docs/design.md section 19): each side is compared with its own value of the base; a
value that differs only by the form SharePoint gives it is learnt, not an edit; without a base an equal field is
agreed, an empty one takes the other's value, and anything else was changed on both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from rowtide.change import Fields, JsonValue
from rowtide.deciding.observation import FieldMapping


class FieldChange(Enum):
    """What happened to a field since it was last agreed."""

    NONE = "neither side changed it"
    ROW = "the row alone changed"
    ITEM = "the item alone changed"
    SAME = "both changed, to one value"
    DIFFERING = "both changed, to different values"


@dataclass(frozen=True, slots=True)
class Base:
    """What was last agreed: per field PostgreSQL's value, and SharePoint's where it keeps the value otherwise."""

    agreed: Fields = field(default_factory=dict)
    kept: Fields = field(default_factory=dict)


NO_BASE = Base()


def changes(base: Base, row: Fields, item: Fields, mapping: FieldMapping) -> dict[str, FieldChange]:
    """What happened to each field of ``item``; one that ``row`` lacks was not changed there."""
    return {name: _change(name, base, row, value, mapping) for name, value in item.items()}


def _change(name: str, base: Base, row: Fields, shown: JsonValue, mapping: FieldMapping) -> FieldChange:
    if name not in base.agreed:
        return _without_base(name, row.get(name), shown, mapping)
    agreed = base.agreed[name]
    by_row = name in row and is_other(name, row[name], agreed, mapping) and not _is_form(row[name], agreed)
    by_item = item_changed(name, base, shown, mapping)
    if not by_item:
        return FieldChange.ROW if by_row else FieldChange.NONE
    if not by_row:
        return FieldChange.ITEM
    return FieldChange.DIFFERING if is_other(name, shown, row[name], mapping) else FieldChange.SAME


def doubted(base: Base, found: Mapping[str, FieldChange]) -> dict[str, FieldChange]:
    """The same where the base may be newer than the item: what only the item shows may be old as well as new."""
    return {
        name: FieldChange.DIFFERING if change is FieldChange.ITEM and name in base.agreed else change
        for name, change in found.items()
    }


def _without_base(name: str, held: JsonValue, shown: JsonValue, mapping: FieldMapping) -> FieldChange:
    if not is_other(name, shown, held, mapping) or _is_form(held, shown):
        return FieldChange.SAME
    if _is_empty(shown):
        return FieldChange.ROW
    return FieldChange.ITEM if _is_empty(held) else FieldChange.DIFFERING


def item_changed(name: str, base: Base, shown: JsonValue, mapping: FieldMapping) -> bool:
    """Whether the item's value is another than the base's, on SharePoint's side of it."""
    if name in base.kept and not is_other(name, shown, base.kept[name], mapping):
        return False
    return is_other(name, shown, base.agreed.get(name), mapping) and not (
        name not in base.kept and _is_form(base.agreed.get(name), shown)
    )


def edited(base: Base, item: Fields, mapping: FieldMapping) -> frozenset[str]:
    """The fields that the item shows otherwise than was agreed; one without a base counts when it holds something."""
    return frozenset(
        name
        for name, value in item.items()
        if (item_changed(name, base, value, mapping) if name in base.agreed else not _is_empty(value))
    )


def changed_in_row(base: Base, row: Fields, mapping: FieldMapping) -> frozenset[str]:
    """The fields that the row holds otherwise than was agreed."""
    return frozenset(name for name, value in row.items() if is_other(name, value, base.agreed.get(name), mapping))


def is_other(name: str, left: JsonValue, right: JsonValue, mapping: FieldMapping) -> bool:
    """Whether two values of a field are different ones to SharePoint."""
    return bool(mapping.differing({name: left}, {name: right}, {}))


def _is_empty(value: JsonValue) -> bool:
    return value is None or value == ""


def _is_form(agreed: JsonValue, shown: JsonValue) -> bool:
    """Whether SharePoint may show ``shown`` for ``agreed`` by itself: trimmed, with its own line breaks."""
    if not isinstance(agreed, str) or not (shown is None or isinstance(shown, str)):
        return False
    return _as_form(agreed) == _as_form(shown or "")


def _as_form(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


# --- what is agreed afterwards ------------------------------------------------------------------------------------


def agree(base: Base, found: Mapping[str, FieldChange], row: Fields, item: Fields, mapping: FieldMapping) -> Base:
    """The base once an item was applied: the item's fields whoever won, so that PostgreSQL's own change travels.

    A field that the item did not change stays as agreed; where it is only kept otherwise, that is learnt.
    """
    agreed, kept = dict(base.agreed), dict(base.kept)
    for name, change in found.items():
        shown = item[name]
        match change:
            case FieldChange.NONE | FieldChange.ROW if name in agreed:
                learn(name, agreed, kept, shown, mapping)
            case FieldChange.SAME:
                agreed[name] = row.get(name, shown)
                learn(name, agreed, kept, shown, mapping)
            case _:
                agreed[name] = shown
                kept.pop(name, None)
    return Base(agreed, kept)


def learn(name: str, agreed: Fields, kept: Fields, shown: JsonValue, mapping: FieldMapping) -> None:
    """Notes in ``kept`` how SharePoint keeps a field that it did not change."""
    kept.pop(name, None)
    if is_other(name, shown, agreed[name], mapping):
        kept[name] = shown


def learnt(base: Base, item: Fields, mapping: FieldMapping) -> Base:
    """The base after a look at exactly its version: whatever the item shows is how SharePoint keeps it."""
    kept: Fields = {}
    for name, agreed in base.agreed.items():
        if name in item and is_other(name, item[name], agreed, mapping):
            kept[name] = item[name]
    return Base(dict(base.agreed), kept)
