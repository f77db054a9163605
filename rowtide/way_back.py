"""What a deep pass over a sync of two ways leaves to the way back, of a pair that differs from its item.

In: the pair and its item as seen, what differs, whether the item's list was restored to earlier. Out: `Edited`,
`Doubted`, `Renumbered`, or None: the pass mends it. Called by `flows.handed_back`. Rules (docs/design.md section 19): a
person's edit of an item is applied, not overwritten; what our own application wrote last was in the row; of what
anybody else wrote into a list that was restored nobody can tell whether it is old or new, so that a person decides.
"""

from dataclasses import dataclass, replace

from rowtide.deciding.records import Held, NoItem, version_of
from rowtide.deciding.taken import etag_of_version
from rowtide.enumeration import Compared, Finding, Kind
from rowtide.keys import ROWTIDE_KEY


@dataclass(frozen=True, slots=True)
class Edited:
    """Its values were edited, or it is missing: the inbox says so."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """A person decides. ``pair``: with what was agreed, one version below the item's, so that its entry is news."""

    pair: Held


@dataclass(frozen=True, slots=True)
class Renumbered:
    """Somebody made the item after the restore; its number was another one's. ``pair``: the row makes its own anew."""

    pair: NoItem


HandedBack = Edited | Doubted | Renumbered


def hand_back(compared: Compared, finding: Finding, restored: bool) -> HandedBack | None:
    """What is left to the way back; None: the item yields to the row."""
    item, has_edits = compared.item, any(name != ROWTIDE_KEY for name in finding.fields)
    if item is None:
        return Edited() if finding.kind is Kind.MISSING else None
    if item.by_app:
        return None
    if compared.is_gone:
        return Renumbered(NoItem(compared.pair.as_of, compared.pair.item, compared.pair.leftovers))
    if not restored:
        return Edited() if finding.kind is Kind.EDITED and has_edits else None
    pair = compared.pair
    if item.row_key != compared.row_key:
        return Renumbered(NoItem(pair.as_of, pair.item, pair.leftovers))
    if not has_edits:
        return None
    etag = etag_of_version(item.etag, version_of(item.etag) - 1)
    return Doubted(replace(pair, item=replace(pair.item, etag=etag)))
