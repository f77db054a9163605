"""What an item that was looked at says about our own attempts: ours, unchanged, or a person's edit.

In: the pair as the ledger has it, the attempts nobody knows the end of (`Sent`), the item as seen. Out: the pair as it
is now known, whether a foreign edit was met, and until when an attempt may still arrive. Rule
(docs/design.md section 7): equal to base, only the version moved; base overlaid with an attempt, ours; anything else, a
foreign edit. A version is taken only from an item that met one of these.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from rowtide.change import Fields, JsonValue
from rowtide.deciding.answers import Item
from rowtide.deciding.records import Leftover, Pair, Sent, version_of
from rowtide.position import Position


class FieldMapping(Protocol):
    """What deciding and writing need of a compiled sync (`rowtide.mapping.compiled_sync.CompiledSync`)."""

    def wire_fields(self, fields: Fields) -> Mapping[str, JsonValue]:
        """The ``fields`` object of a POST or PATCH."""
        ...

    def item_fields(self, wire: Mapping[str, object]) -> Fields:
        """Canonical values of every mapped field of an item's ``fields``; None for those it lacks."""
        ...

    def differing(self, desired: Fields, base: Fields, kept: Fields) -> Fields:
        """Those of ``desired`` that are the same as neither the base's value nor the kept one."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """The pair after a look; ``pending_until``: an attempt that would change the item may arrive until then."""

    pair: Pair
    foreign: bool
    pending_until: datetime | None


def holds_item(pair: Pair) -> bool:
    """Whether the key has an item in a list, whatever the pair's state is called."""
    return pair.item_id is not None and pair.state != "tombstone"


def blank_pair(mapping_version: int) -> Pair:
    """What is known of a key the ledger does not have."""
    return Pair("tombstone", None, None, None, {}, {}, Position(0, 0, 0), 0, mapping_version)


def interpret_look(
    pair: Pair, sent: Sequence[Sent], item: Item, mapping: FieldMapping, patience: timedelta
) -> Observation:
    """What is known once the pair's own item was looked at."""
    overlays = _overlays(pair, sent)
    pending = _pending_until(pair.list_id, sent, item, mapping, patience)
    if is_base(pair, item.fields, mapping):
        # Only the version moved, or not even that.
        fields = {name: value for name, value in item.fields.items() if name not in pair.base}
        return Observation(replace(pair, etag=item.etag, base={**fields, **pair.base}), False, pending)
    for expected in overlays:
        # One of our attempts got through, its answer was lost.
        if not mapping.differing(expected, item.fields, {}):
            return Observation(_as_agreed(pair, expected, item, mapping), False, pending)
    # Ours as well, kept otherwise than it was sent; which attempt it was nobody can say, so it counts as merely seen.
    one_up = pair.etag is not None and version_of(item.etag) == version_of(pair.etag) + 1
    ours = bool(overlays) and one_up and item.by_app
    return Observation(_as_seen(pair, item, mapping), not ours, pending)


def interpret_readback(pair: Pair, item: Item, mapping: FieldMapping) -> Pair:
    """The pair once a look follows our own write whose answer showed no version.

    One version up from the one we wrote over (the first, for a new item) and by our app, the item is what we wrote,
    however it is kept. Else its version is taken only if nothing else is in it: the next write meets the edit.
    """
    if item.by_app and version_of(item.etag) == version_of(pair.etag or "") + 1:
        return _as_agreed(pair, pair.base, item, mapping)
    return replace(pair, etag=item.etag) if is_base(pair, item.fields, mapping) else pair


def adopt_found(
    pair: Pair, list_id: str, sent: Sequence[Sent], item: Item, mapping: FieldMapping, patience: timedelta
) -> Observation:
    """What is known once our own POST's item was found by its RowtideKey; an item held elsewhere becomes a leftover."""
    place = (list_id, item.item_id)
    removals = [one.until for one in pair.leftovers if (one.list_id, one.item_id) == place and one.until is not None]
    leftovers = without_list(pair.leftovers, list_id, item.item_id)
    if holds_item(pair) and pair.list_id is not None and (pair.list_id, pair.item_id) != place:
        leftovers = (*leftovers, Leftover(pair.list_id, pair.item_id, None, pair.etag))
    adopted = replace(
        pair,
        state="live",
        list_id=list_id,
        item_id=item.item_id,
        etag=item.etag,
        base=dict(item.fields),
        kept={},
        leftovers=leftovers,
    )
    attempts = [one.fields for one in sent if one.op == "u" and one.list_id == list_id and one.fields]
    ours = not attempts or any(not mapping.differing(fields, item.fields, {}) for fields in attempts)
    # An earlier claim may have asked for the removal of what was a leftover.
    pending = [one for one in (_pending_until(list_id, sent, item, mapping, patience), *removals) if one is not None]
    return Observation(adopted, not ours, max(pending, default=None))


def is_base(pair: Pair, fields: Fields, mapping: FieldMapping) -> bool:
    """Whether an item's fields are what was last agreed, as PostgreSQL gave it or as SharePoint keeps it."""
    return all(_keeps(pair, name, fields, mapping) for name in mapping.differing(pair.base, fields, {}))


def without_list(leftovers: Iterable[Leftover], list_id: str, item_id: str | None) -> tuple[Leftover, ...]:
    """The leftovers once the key has item ``item_id`` in ``list_id``: the unique RowtideKey rules out a lost POST."""
    return tuple(one for one in leftovers if one.list_id != list_id or one.item_id not in (None, item_id))


def _keeps(pair: Pair, name: str, fields: Fields, mapping: FieldMapping) -> bool:
    return name in pair.kept and not mapping.differing({name: pair.kept[name]}, fields, {})


def _overlays(pair: Pair, sent: Sequence[Sent]) -> list[Fields]:
    """What the item would hold had an attempt got through: each alone, and each on those before it; newest first."""
    overlays: list[Fields] = []
    together = pair.base
    for one in sent:
        if one.op == "u" and one.fields and one.list_id == pair.list_id:
            together = {**together, **one.fields}
            overlays.extend(({**pair.base, **one.fields}, together))
    return overlays[::-1]


def _pending_until(
    list_id: str | None, sent: Sequence[Sent], item: Item, mapping: FieldMapping, patience: timedelta
) -> datetime | None:
    """Until when an attempt may still change the item; one that asks for what it already holds does no harm."""
    moments = [
        one.at + patience
        for one in sent
        if one.op == "d"
        or (one.op == "u" and one.list_id == list_id and mapping.differing(one.fields or {}, item.fields, {}))
    ]
    return max(moments, default=None)


def _as_agreed(pair: Pair, expected: Fields, item: Item, mapping: FieldMapping) -> Pair:
    kept = {name: item.fields.get(name) for name in mapping.differing(expected, item.fields, {})}
    return replace(pair, etag=item.etag, base={**item.fields, **expected}, kept=kept)


def _as_seen(pair: Pair, item: Item, mapping: FieldMapping) -> Pair:
    """The pair with a foreign edit in it: fields the person left alone stay as agreed."""
    edited = mapping.differing(pair.base, item.fields, {})
    agreed = {
        name: value
        for name, value in pair.base.items()
        if name not in edited or _keeps(pair, name, item.fields, mapping)
    }
    kept = {name: value for name, value in pair.kept.items() if name in agreed}
    return replace(pair, etag=item.etag, base={**item.fields, **agreed}, kept=kept)
