"""Items of a list as an enumeration sees them, and what each says about its row.

In: pages of a list; a pair of the ledger with its item as seen. Out: a `Verdict`, with what the ledger has to record.
Rules (docs/design.md section 9): an item is compared with the base, never with the row, so that an edit is told from a
change that is still on its way; what moved while it was read is judged again; only an enumeration may lower a version.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from rowtide.deciding.answers import Item
from rowtide.deciding.observation import FieldMapping, interpret_look
from rowtide.deciding.records import Held, NoItem, is_same_item, version_of
from rowtide.keys import ROWTIDE_KEY


@dataclass(frozen=True, slots=True)
class SeenItem:
    """An item, and whether our own application made it."""

    item: Item
    made_by_app: bool


@dataclass(frozen=True, slots=True)
class ItemsPage:
    """A page of a round: items in their last state, ids of deleted ones, and the link that goes on from here.

    ``is_last``: the round has ended, and the link begins the next one.
    """

    items: Sequence[SeenItem]
    deleted: Sequence[str]
    link: str
    is_last: bool


class Kind(Enum):
    """What a comparison of source, ledger and lists can find; the value is the word in reports."""

    EDITED = "edited"  # the item differs from what was last agreed: somebody changed it
    OLDER = "older"  # the item shows an older version than was written: the list was restored
    MISSING = "missing"  # the item is not in its list any more
    STALE = "stale"  # the row differs from what was last agreed, and nothing waits
    UNSENT = "unsent"  # the row has no item, and nothing waits
    LEFT = "left"  # the row is gone, its item is there, and nothing waits
    UNKNOWN = "unknown"  # an item carries the key of a row that has none in the ledger
    COPY = "copy"  # an item carries the key of a row that has another item
    ORPHAN = "orphan"  # an item carries a key of this sync that no row has
    STRANGER = "stranger"  # an item that is not of this sync
    MOVING = "moving"  # it changed whenever it was looked at


APART = frozenset({Kind.STRANGER, Kind.MOVING})
"""What is reported and is no difference: strangers belong to somebody else, what moves could not be judged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found; ``fields``: names of those that differ, RowtideKey among them."""

    kind: Kind
    key: str | None
    list_id: str | None = None
    item_id: str | None = None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """A live pair and its item as seen, or another item that has its number since a restore took it away.

    ``moved``: the pair was settled after the round began. ``young``: it was settled so shortly before that Graph may
    show an older state of the item. ``row_key``: the RowtideKey that the item should have.
    """

    key: str
    pair: Held
    item: Item | None
    row_key: str
    moved: bool
    young: bool

    @property
    def is_gone(self) -> bool:
        """Whether the pair's own item is not in its list."""
        return self.item is None or not is_same_item(self.item.etag, self.pair.item.etag)


@dataclass(frozen=True, slots=True)
class Equal:
    """Item and base agree; ``pair`` with the item's version if that is another one, else None."""

    pair: Held | None


@dataclass(frozen=True, slots=True)
class Differs:
    """Item and base differ, or there is no item; ``pair`` is what the ledger has to say for the row to mend it."""

    finding: Finding
    pair: Held | NoItem


@dataclass(frozen=True, slots=True)
class Moving:
    """Nothing can be said yet."""


Verdict = Equal | Differs | Moving


def judge(compared: Compared, mapping: FieldMapping) -> Verdict:
    """What is to be said of the pair."""
    pair, item, known = compared.pair, compared.item, compared.pair.item
    if compared.moved:
        return Moving()
    if item is None or compared.is_gone:
        missing = Finding(Kind.MISSING, compared.key, known.list_id, known.item_id)
        return Moving() if compared.young else Differs(missing, NoItem(pair.as_of, known, pair.leftovers))
    is_older = version_of(item.etag) < version_of(known.etag)
    if is_older and compared.young:
        return Moving()
    observation = interpret_look(pair, (), item, mapping, timedelta(0))
    fields = _edited(compared, item, mapping) if observation.foreign else ()
    found = observation.pair
    if item.row_key != compared.row_key:
        found = replace(found, item=replace(found.item, base={**found.item.base, ROWTIDE_KEY: item.row_key}))
        fields = (*fields, ROWTIDE_KEY)
    if fields or is_older:
        kind = Kind.OLDER if is_older else Kind.EDITED
        return Differs(Finding(kind, compared.key, known.list_id, known.item_id, fields), found)
    return Equal(None if item.etag == known.etag else found)


def _edited(compared: Compared, item: Item, mapping: FieldMapping) -> tuple[str, ...]:
    known = compared.pair.item
    return tuple(
        sorted(
            name
            for name in mapping.differing(known.base, item.fields, {})
            if name not in known.kept or mapping.differing({name: known.kept[name]}, item.fields, {})
        )
    )
