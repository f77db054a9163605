"""Items of an enumeration that no live pair has: which of them are copies, and which nothing of ours explains.

In: the items as seen, ledger and outbox. Out: `Unpaired`. Rule (docs/design.md section 9): nothing is said of an item
whose key is about to move.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rowtide.deciding.observation import is_item
from rowtide.deciding.records import Held, ItemId, ListId, Pair
from state import ledger
from state.database import Connection
from state.enumeration import Purpose
from state.reconcile import items
from state.reconcile.items import Loose


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Items that no live pair has, unless something of ours explains them.

    ``copies``: their key has another item; ``rest``: all others; ``unsettled``: keys of whose items nothing can be
    said, with each whether nobody but a later look can.
    """

    copies: Sequence[Loose]
    rest: Sequence[Loose]
    unsettled: Mapping[str, bool]


def read_unpaired(conn: Connection, sync: str, purpose: Purpose, waiting: bool = True) -> Unpaired:
    """Those of an enumeration; ``waiting``: nothing is said of keys for which something waits."""
    loose = items.read_loose(conn, sync, purpose)
    keys = {one.key for one in loose if one.ours and one.key is not None}
    pairs = ledger.read_places(conn, sync, sorted(keys)) if keys else {}
    moves = items.read_unsettled(conn, sync, purpose, keys, waiting)
    copies: list[Loose] = []
    rest: list[Loose] = []
    unsettled: dict[str, bool] = {}
    for one in loose:
        pair = pairs.get(one.key) if one.ours and one.key is not None else None
        if one.ours and _is_explained(pair, one):
            continue
        if one.ours and one.key in moves:
            unsettled[one.key] = moves[one.key]
        else:
            (copies if isinstance(pair, Held) else rest).append(one)
    return Unpaired(copies, rest, unsettled)


def _is_explained(pair: Pair | None, one: Loose) -> bool:
    """Whether the row knows the item: left behind and still to be removed, or left there on purpose."""
    list_id, item_id = ListId(one.list_id), ItemId(one.item_id)
    if pair is None:
        return False
    own = isinstance(pair, Held) and (pair.item.list_id, pair.item.item_id) == (list_id, item_id)
    return own or any(is_item(left, list_id, item_id) for left in pair.leftovers)


def first_of_key(loose: Collection[Loose]) -> dict[str, Loose]:
    """Per row key the oldest item that carries it."""
    found: dict[str, Loose] = {}
    for one in loose:
        if one.ours and one.key is not None:
            found.setdefault(one.key, one)
    return found


def by_key(loose: Collection[Loose]) -> dict[str, list[Loose]]:
    """Per row key the items that carry it."""
    found: dict[str, list[Loose]] = {}
    for one in loose:
        if one.ours and one.key is not None:
            found.setdefault(one.key, []).append(one)
    return found
