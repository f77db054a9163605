"""The versions of an item: which came after what was agreed, and what attempts of ours have to do with them.

In: versions as Graph shows them, the item, what was agreed of it, what was sent. Out: versions, `Attempts`. Called by
`rowtide.deciding.hand_over`, where somebody else wrote an item while an attempt is unexplained. Rules (docs/design.md
section 19): versions are numbered without what SharePoint does to an item by itself, which raises its eTag alone; what
is not certain counts as not arrived.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rowtide.change import Fields
from rowtide.deciding.answers import Item
from rowtide.deciding.observation import FieldMapping, is_base
from rowtide.deciding.records import ItemId, ListId, PairedItem, Sent, version_of
from rowtide.deciding.sides import Base, edited


@dataclass(frozen=True, slots=True)
class ReadVersions:
    """GET the item's versions, each with its author and its fields; one request."""

    list_id: ListId
    item_id: ItemId


@dataclass(frozen=True, slots=True)
class ItemVersion:
    """A version of an item: its number among the item's versions, whether our application wrote it, its fields."""

    number: int
    by_app: bool
    fields: Fields


@dataclass(frozen=True, slots=True)
class Versions:
    """What `ReadVersions` saw; empty where the list keeps none."""

    versions: tuple[ItemVersion, ...]


def made_since(own: PairedItem, item: Item, seen: Sequence[ItemVersion], mapping: FieldMapping) -> list[ItemVersion]:
    """The versions that are newer than the ledger's.

    A version's eTag is its number, or more than that by at most what the newest one's is now; among those that may be
    the ledger's it is the newest that holds what was agreed.
    """
    noted = version_of(own.etag)
    shown = [one.number for one in seen if not mapping.differing(one.fields, item.fields, {})]
    lag = max(0, version_of(item.etag) - max(shown)) if shown else 0
    agreed = [
        one.number for one in seen if one.number <= noted <= one.number + lag and is_base(own, one.fields, mapping)
    ]
    return [one for one in seen if one.number > max(agreed, default=noted)]


@dataclass(frozen=True, slots=True)
class Attempts:
    """What attempts would have written into an item. ``base``: what was agreed of it; None: it is not the row's yet."""

    asked: Sequence[Fields]
    base: Fields | None

    def that_made(self, version: ItemVersion, mapping: FieldMapping) -> Fields | None:
        """What a version of ours was to hold: SharePoint may keep it otherwise. None: nobody can say which it was.

        A version above the ledger's is an attempt's; one of an item that is only now adopted may be older than all.
        """
        alike = [one for one in self.asked if self._holds(version, one, mapping)]
        fits = alike[-1:] or (self.asked if len(self.asked) == 1 and self.base is not None else [])
        return {**(self.base or {}), **fits[0]} if fits else None

    def asked_for(self, version: ItemVersion, mapping: FieldMapping) -> bool:
        """Whether a version holds what one was to write, whoever is named by it: then both sides said the same."""
        return any(
            mapping.differing(one, self.base or {}, {}) and self._holds(version, one, mapping) for one in self.asked
        )

    def agreed_at(self, version: ItemVersion, mapping: FieldMapping) -> Base:
        """What is agreed at a version of ours; where nobody can say which attempt made it, what it shows."""
        attempt = self.that_made(version, mapping)
        if attempt is None:
            return Base(version.fields)
        kept = {name: version.fields.get(name) for name in mapping.differing(attempt, version.fields, {})}
        return Base({**version.fields, **attempt}, kept)

    def _holds(self, version: ItemVersion, asked: Fields, mapping: FieldMapping) -> bool:
        return not edited(Base({**(self.base or {}), **asked}), version.fields, mapping)


def attempts_on(list_id: ListId, sent: Sequence[Sent], own: PairedItem | None) -> Attempts:
    """What was sent that would have written into items of the list; ``own``: the row's item, if it is that one."""
    asked = [one.fields for one in sent if one.op == "u" and one.list_id == list_id and one.fields]
    return Attempts(asked, None if own is None else own.base)
