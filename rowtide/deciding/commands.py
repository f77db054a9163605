"""What deliver wants done to a list: one request each.

In: what push decides. Out: what `connectors.graph.batch` puts on the wire. Rule: PATCH and DELETE name the version they
were decided on.
"""

from dataclasses import dataclass

from rowtide.change import Fields
from rowtide.deciding.records import Leftover


@dataclass(frozen=True, slots=True)
class CreateItem:
    """POST an item; ``fields`` are all mapped fields, the writer adds RowtideKey."""

    list_id: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class UpdateItem:
    """PATCH only these fields, If-Match ``etag``."""

    list_id: str
    item_id: str
    etag: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class MoveItem:
    """POST the item in the new list; the old one becomes a leftover, deleted after that is settled."""

    list_id: str
    fields: Fields
    old: Leftover


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """DELETE, If-Match ``etag`` unless None (a leftover is deleted whatever it holds)."""

    list_id: str
    item_id: str
    etag: str | None


@dataclass(frozen=True, slots=True)
class LookAtItem:
    """GET the item by id with its fields."""

    list_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class LookForKey:
    """Query the list for items with this row's RowtideKey."""

    list_id: str


Command = CreateItem | UpdateItem | MoveItem | DeleteItem | LookAtItem | LookForKey
