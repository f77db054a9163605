"""What deliver asks of a list; each command is one request.

In: what push decides. Out: what `connectors.graph.batch` puts on the wire. Rule: PATCH and DELETE name the item's
version on which they were decided.
"""

from dataclasses import dataclass

from rowtide.change import Fields
from rowtide.deciding.records import ETag, ItemId, LeftItem, ListId


@dataclass(frozen=True, slots=True)
class CreateItem:
    """POST an item; ``fields`` are all mapped fields, the writer adds RowtideKey."""

    list_id: ListId
    fields: Fields


@dataclass(frozen=True, slots=True)
class UpdateItem:
    """PATCH only these fields, If-Match ``etag``."""

    list_id: ListId
    item_id: ItemId
    etag: ETag
    fields: Fields


@dataclass(frozen=True, slots=True)
class MoveItem:
    """POST the item in the new list. The old item becomes a leftover, which is deleted once the POST is settled."""

    list_id: ListId
    fields: Fields
    old: LeftItem


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """DELETE, If-Match ``etag``."""

    list_id: ListId
    item_id: ItemId
    etag: ETag


@dataclass(frozen=True, slots=True)
class LookAtItem:
    """GET the item by id with its fields."""

    list_id: ListId
    item_id: ItemId


@dataclass(frozen=True, slots=True)
class LookForKey:
    """Query the list for items with this row's RowtideKey."""

    list_id: ListId


Command = CreateItem | UpdateItem | MoveItem | DeleteItem | LookAtItem | LookForKey
