"""What pull did to a row, as the ledger remembers it beside the pair.

In: what was applied. Out: `Pulled`, by which a break in the source's history is mended (`rowtide.deciding.lost_edits`).
Rule (docs/design.md section 19): no value is kept; a digest is enough to tell that a field says again what pull had
overwritten, or that a row is there again that pull had deleted.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from rowtide.change import JsonValue
from rowtide.deciding.records import ItemId, ListId

MOST_OVERWRITTEN = 5
"""So many values of a field are remembered that pull has overwritten: the newest ones."""

PulledOperation = Literal["insert", "update", "delete", "none"]


@dataclass(frozen=True, slots=True)
class Overwritten:
    """A field got another value in the source's transaction ``xid``; ``digest``: of the one that it had."""

    xid: int
    digest: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The row was put into another list in the source's transaction ``xid``, because a person had moved its item."""

    xid: int
    from_list: ListId


@dataclass(frozen=True, slots=True)
class Pulled:
    """What pull last did to a row: of which item, in which version, in which transaction of the source.

    ``over``: by field what pull has overwritten, the oldest first. ``inserted``: the transaction in which it made the
    row. ``gone``: the item was deleted, and that was applied to a row with this digest (empty: there was none).
    ``modified_at``: when the item got its version, as its list says.
    """

    list_id: ListId
    item_id: ItemId
    version: int
    op: PulledOperation
    xid: int = 0
    over: Mapping[str, tuple[Overwritten, ...]] = field(default_factory=dict)
    inserted: int | None = None
    moved: Moved | None = None
    gone: str | None = None
    modified_at: datetime | None = None

    @property
    def place(self) -> tuple[ListId, ItemId]:
        """The item."""
        return self.list_id, self.item_id

    @property
    def written(self) -> frozenset[str]:
        """The fields of the row that it wrote."""
        return frozenset(name for name, ones in self.over.items() if ones and ones[-1].xid == self.xid)


def digest(value: JsonValue | Mapping[str, JsonValue]) -> str:
    """By it a value, or a row's fields, are known again; it does not say what they are."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
