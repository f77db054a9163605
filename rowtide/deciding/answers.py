"""The result of a command, as facts.

In: Graph's answers, read by `connectors.graph.batch`. Out: what push decides on. Rule: an answer says only what is
certain; whatever may or may not have happened is `Unknown`.
"""

from dataclasses import dataclass

from rowtide.change import Fields
from rowtide.deciding.records import ETag, ItemId


@dataclass(frozen=True, slots=True)
class Item:
    """An item as Graph showed it: ``fields`` are canonical values of the mapped fields (None for those it lacks)."""

    item_id: ItemId
    etag: ETag
    fields: Fields
    by_app: bool = False  # last modified by our own application
    row_key: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """201 or 200: the write is done; ``fields`` are the mapped fields the answer shows (None: it shows none)."""

    item_id: ItemId
    etag: ETag | None
    fields: Fields | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """204."""


@dataclass(frozen=True, slots=True)
class Missing:
    """404 for the item (not for its list)."""


@dataclass(frozen=True, slots=True)
class Changed:
    """412: the eTag is no longer the item's."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look saw: no item, one, or several."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class NotApplied:
    """The command did nothing: 429, 401, a failed connect, a 409 without a change. Try again after ``after_s``.

    ``of_row``: it is said of this row alone, which waits longer each time.
    """

    after_s: float
    reason: str
    of_row: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """5xx, time-out, reset, an unreadable answer: the command may or may not have been carried out.

    ``of_row``: others may have been answered, and this row waits longer each time.
    """

    reason: str
    of_row: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """A 4xx that blames this row (or its list): ``code`` is Graph's or ours, ``sentence`` for the operator."""

    status: int
    code: str
    sentence: str
    duplicate: bool = False  # the answer names a violated unique column


Fact = Written | Deleted | Missing | Changed | Found
"""The command was carried out, or the item is not as the command assumed."""

Answer = Fact | NotApplied | Unknown | Rejected
