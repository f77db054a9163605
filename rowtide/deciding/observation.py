"""What a look at an item says: the item is unchanged, or holds an attempt of ours, or a person's edit.

In: the pair as the ledger has it, the attempts whose end nobody knows (`Sent`), the item as seen. Out: the pair as it
is now known, whether a foreign edit was met, and until when an attempt may still arrive. Rule
(docs/design.md section 7): an item equal to the base has only another version; one equal to the base overlaid with an
attempt is ours; anything else is a foreign edit. A version is taken only from an item that is one of these.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from rowtide.change import Fields, JsonValue
from rowtide.deciding.answers import Item
from rowtide.deciding.records import (
    Held,
    ItemId,
    LeftItem,
    Leftover,
    ListId,
    LostPost,
    NoItem,
    PairedItem,
    Sent,
    is_next_version,
)


class FieldMapping(Protocol):
    """What deciding and writing need of a compiled sync (`rowtide.mapping.compiled_sync.CompiledSync`)."""

    def wire_fields(self, fields: Fields) -> Mapping[str, JsonValue]:
        """The ``fields`` object of a POST or PATCH."""
        ...

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        """Canonical values of every mapped field of an item's ``fields``; None for those it lacks."""
        ...

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        """Fields of ``desired`` that differ from the base's value and from the kept one."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """The pair after a look; ``pending_until``: an attempt that would change the item may arrive until then."""

    pair: Held
    foreign: bool
    pending_until: datetime | None


def interpret_look(
    pair: Held, sent: Sequence[Sent], item: Item, mapping: FieldMapping, patience: timedelta
) -> Observation:
    """What is known once the pair's own item was looked at."""
    known = pair.item
    overlays = _overlays(known, sent)
    pending = _pending_until(known.list_id, sent, item, mapping, patience)
    if is_base(known, item.fields, mapping):
        # Only the version moved, or not even that.
        fields = {name: value for name, value in item.fields.items() if name not in known.base}
        same = replace(known, etag=item.etag, base={**fields, **known.base})
        return Observation(replace(pair, item=same), False, pending)
    for expected in overlays:
        # One of our attempts got through and its answer was lost.
        if not mapping.differing(expected, item.fields, {}):
            return Observation(replace(pair, item=_as_agreed(known, expected, item, mapping)), False, pending)
    # Ours as well, but kept otherwise than sent. Nobody can say which attempt it was, so it counts as merely seen.
    ours = bool(overlays) and known.etag is not None and is_next_version(item.etag, known.etag) and item.by_app
    return Observation(replace(pair, item=_as_seen(known, item, mapping)), not ours, pending)


def interpret_readback(pair: Held, item: Item, mapping: FieldMapping) -> Held:
    """The pair after a look that follows our own write, whose answer showed no version.

    If the item is one version above the one we wrote over (the first, for a new item) and by our app, it is what we
    wrote, however it is kept. Otherwise its version is taken only if it holds nothing else, so that the next write
    meets the edit.
    """
    known = pair.item
    if item.by_app and is_next_version(item.etag, known.etag):
        return replace(pair, item=_as_agreed(known, known.base, item, mapping))
    return replace(pair, item=replace(known, etag=item.etag)) if is_base(known, item.fields, mapping) else pair


def adopt_found(
    pair: NoItem | Held, list_id: ListId, sent: Sequence[Sent], item: Item, mapping: FieldMapping, patience: timedelta
) -> Observation:
    """What is known once our own POST's item was found by its RowtideKey; an item held elsewhere becomes a leftover."""
    leftovers = without_item(pair.leftovers, list_id, item.item_id)
    if isinstance(pair, Held) and (pair.item.list_id, pair.item.item_id) != (list_id, item.item_id):
        leftovers = (*leftovers, left_behind(pair.item))
    adopted = PairedItem(list_id, item.item_id, item.etag, dict(item.fields), {})
    attempts = [one.fields for one in sent if one.op == "u" and one.list_id == list_id and one.fields]
    ours = not attempts or any(not mapping.differing(fields, item.fields, {}) for fields in attempts)
    # The item may have been a leftover, whose removal an earlier claim asked for.
    pending = [
        _pending_until(list_id, sent, item, mapping, patience),
        *(one.until for one in pair.leftovers if isinstance(one, LeftItem) and is_item(one, list_id, item.item_id)),
    ]
    until = max((one for one in pending if one is not None), default=None)
    return Observation(Held(pair.as_of, adopted, leftovers=leftovers), not ours, until)


def is_base(known: PairedItem, fields: Fields, mapping: FieldMapping) -> bool:
    """Whether an item's fields are what was last agreed, as PostgreSQL gave it or as SharePoint keeps it."""
    return all(_keeps(known, name, fields, mapping) for name in mapping.differing(known.base, fields, {}))


# --- leftovers ----------------------------------------------------------------------------------------------------


def left_behind(item: PairedItem) -> LeftItem:
    """The item, once the row has left its list; what was agreed of it tells an edit of it that comes later."""
    return LeftItem(item.list_id, item.item_id, item.etag, None, item.base, item.kept)


def is_item(leftover: Leftover, list_id: ListId, item_id: ItemId) -> bool:
    """Whether the leftover is this item. Ids are the list's own: an item of another list may have the same."""
    return isinstance(leftover, LeftItem) and (leftover.list_id, leftover.item_id) == (list_id, item_id)


def without_item(leftovers: Iterable[Leftover], list_id: ListId, item_id: ItemId) -> tuple[Leftover, ...]:
    """The leftovers once the key has item ``item_id`` in ``list_id``.

    The item explains a lost POST, and the unique RowtideKey rules out another one; but not an item that was there
    before the POST was sent.
    """
    leftovers = tuple(leftovers)
    was_there = any(is_item(one, list_id, item_id) for one in leftovers)
    return tuple(
        one
        for one in leftovers
        if one.list_id != list_id or (was_there if isinstance(one, LostPost) else one.item_id != item_id)
    )


# --- how the item differs from what was agreed --------------------------------------------------------------------


def _keeps(known: PairedItem, name: str, fields: Fields, mapping: FieldMapping) -> bool:
    return name in known.kept and not mapping.differing({name: known.kept[name]}, fields, {})


def _overlays(known: PairedItem, sent: Sequence[Sent]) -> list[Fields]:
    """What the item would hold if an attempt got through: each alone, and each upon those before it; newest first."""
    overlays: list[Fields] = []
    together = known.base
    for one in sent:
        if one.op == "u" and one.fields and one.list_id == known.list_id:
            together = {**together, **one.fields}
            overlays.extend(({**known.base, **one.fields}, together))
    return overlays[::-1]


def _pending_until(
    list_id: ListId, sent: Sequence[Sent], item: Item, mapping: FieldMapping, patience: timedelta
) -> datetime | None:
    """Until when an attempt may still change the item; an attempt that asks for what the item holds does no harm."""
    moments = [
        one.at + patience
        for one in sent
        if one.op == "d"
        or (one.op == "u" and one.list_id == list_id and mapping.differing(one.fields, item.fields, {}))
    ]
    return max(moments, default=None)


def _as_agreed(known: PairedItem, expected: Fields, item: Item, mapping: FieldMapping) -> PairedItem:
    kept = {name: item.fields.get(name) for name in mapping.differing(expected, item.fields, {})}
    return replace(known, etag=item.etag, base={**item.fields, **expected}, kept=kept)


def _as_seen(known: PairedItem, item: Item, mapping: FieldMapping) -> PairedItem:
    """The item with a foreign edit in it; fields that the person left alone stay as agreed."""
    edited = mapping.differing(known.base, item.fields, {})
    agreed = {
        name: value
        for name, value in known.base.items()
        if name not in edited or _keeps(known, name, item.fields, mapping)
    }
    kept = {name: value for name, value in known.kept.items() if name in agreed}
    return replace(known, etag=item.etag, base={**item.fields, **agreed}, kept=kept)
