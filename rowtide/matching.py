"""Which rows and which items belong together, where both were there before the sync: by the values of some columns.

In: the values of the columns of `match:` in a row or an item; then the two sets by these. Out: pairs, and groups of
which nobody can tell. Called by flows.matching. Rules (docs/design.md section 9): a value is compared as a list keeps
it; what lacks one of the values is paired with nothing; only one row and one item make a pair, nothing is guessed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rowtide.change import Fields, JsonValue
from rowtide.deciding import sides
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.records import ETag, ItemId, ListId, PairedItem
from rowtide.deciding.sides import NO_BASE, FieldChange
from rowtide.keys import ROWTIDE_KEY

Likeness = bytes
"""What rows and items have in common that may belong together: a digest, because there may be a million."""


class ItemPlace(NamedTuple):
    """An item, whose number is its list's own."""

    list_id: ListId
    item_id: ItemId


def likeness(values: Sequence[JsonValue]) -> Likeness | None:
    """The likeness of these values; None where one of them is empty."""
    texts = [_text(one) for one in values]
    if None in texts:
        return None
    return hashlib.sha256(json.dumps(texts).encode(errors="replace")).digest()[:16]


def _text(value: JsonValue) -> str | None:
    """A value as a list keeps it: text without blanks at its ends, a number with 15 digits."""
    match value:
        case None:
            return None
        case bool():
            return str(value)
        case int() | float():
            return f"{float(value):.15g}"
        case str():
            return value.replace("\r\n", "\n").replace("\r", "\n").strip() or None
        case _:
            return json.dumps(value, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows and items of one likeness, too many to tell which belong together."""

    keys: tuple[str, ...]
    items: tuple[ItemPlace, ...]


@dataclass(frozen=True, slots=True)
class Matched:
    """The pairs, by row key, and the groups that are left alone."""

    pairs: Mapping[str, ItemPlace]
    groups: Sequence[Group]


def match(rows: Mapping[Likeness, Sequence[str]], items: Mapping[Likeness, Sequence[ItemPlace]]) -> Matched:
    """What belongs together of rows and items without a partner; what has none on the other side is in neither."""
    pairs: dict[str, ItemPlace] = {}
    groups: list[Group] = []
    for like, keys in rows.items():
        places = items.get(like, ())
        if len(keys) == len(places) == 1:
            pairs[keys[0]] = places[0]
        elif keys and places:
            groups.append(Group(tuple(sorted(keys)), tuple(sorted(places))))
    return Matched(pairs, groups)


# --- what a pair is agreed on ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UnkeyedItem:
    """An item without a RowtideKey, as an enumeration has seen it."""

    place: ItemPlace
    etag: ETag
    fields: Fields


@dataclass(frozen=True, slots=True)
class Joined:
    """The item of a new pair with what is agreed of it. ``by_policy``: values differ, and who wins the policy says."""

    item: PairedItem
    by_policy: bool


def join(
    row: Fields | None, seen: UnkeyedItem, two_ways: bool, push_only: frozenset[str], mapping: FieldMapping
) -> Joined:
    """What is agreed of a row and its item: what both say alike. ``row`` None: it cannot be carried as it is.

    Of other values the item's is the base, so that the row's is written over it; in a sync of two ways nothing is
    agreed yet where the row would have to take a value, or both have one.
    """
    place = seen.place
    if row is None:
        base = sides.Base(dict(seen.fields))
    else:
        found = sides.changes(NO_BASE, row, seen.fields, mapping)
        differing = {name for name, one in found.items() if one in (FieldChange.ITEM, FieldChange.DIFFERING)}
        if two_ways and differing - push_only:
            return Joined(PairedItem(place.list_id, place.item_id, seen.etag, {}, {}), by_policy=True)
        base = sides.agree(NO_BASE, found, row, seen.fields, mapping)
    agreed: Fields = {**base.agreed, ROWTIDE_KEY: None}
    return Joined(PairedItem(place.list_id, place.item_id, seen.etag, agreed, base.kept), by_policy=False)
