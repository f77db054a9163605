"""The items of a list, page by page: delta without a token, then rounds with the link that it ended with.

In: an `Enumeration`'s link, the sync's mapping. Out: `ItemsPage`s; `TooOld` when Graph does not go on from a link any
more. Rules (docs/facts.md section 2): links are followed as they are; an item may come more than once in a page, and
its last state counts; every request is paid for before it is sent, and none is repeated here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import orjson

from connectors.graph import batch, retry_after
from connectors.graph.batch import Throttled, Unauthorized
from connectors.graph.client import NoAnswer, NotSent, Reply
from rowtide.deciding.observation import FieldMapping
from rowtide.enumeration import ItemsPage, SeenItem
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.pacing import ITEM_RU, PAGE_ITEMS, QUERY_RU


@dataclass(frozen=True, slots=True)
class TooOld:
    """410: the list has to be read from its beginning."""


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The page would fill the memory: fewer items at a time are to be asked for, which a link does not allow."""

    error: GraphUnavailable


PageReading = ItemsPage | TooOld | TooLarge | Throttled | Unauthorized | GraphUnavailable | GraphRefused


def first_link(site_id: str, list_id: str, page_items: int = PAGE_ITEMS) -> str:
    """Where the enumeration of a list begins. Every field is read, since Graph refuses to select one that is gone."""
    return f"/sites/{site_id}/lists/{list_id}/items/delta?$top={page_items}&$expand=fields"


def units_of(link: str | None, ended: int) -> int:
    """What a page costs: those of the first round are queries, later ones have a token."""
    return QUERY_RU if link is None or not ended else ITEM_RU


def to_page(answer: Reply | NotSent | NoAnswer, list_id: str, mapping: FieldMapping, client_id: str) -> PageReading:
    """What the answer to a page's request says."""
    match answer:
        case NoAnswer(error) if error.code == graph_errors.GRAPH_ANSWER_TOO_LARGE.code:
            return TooLarge(error)
        case NotSent(error) | NoAnswer(error):
            return error
        case Reply():
            return _to_page(answer, list_id, mapping, client_id)
        case _:
            assert_never(answer)


def _to_page(reply: Reply, list_id: str, mapping: FieldMapping, client_id: str) -> PageReading:
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = None
    if reply.status == 200:
        page = _read(body, mapping, client_id)
        return graph_errors.ITEMS_UNREADABLE(status=200, code="") if page is None else page
    code, message = batch.error_of(body)
    match reply.status:
        case 410:
            return TooOld()
        case 429:
            return Throttled(retry_after.retry_after_s(reply.headers))
        case 401:
            return Unauthorized()
        case status if status >= 500:
            return graph_errors.ITEMS_UNREADABLE(status=status, code=code)
        case status:
            return graph_errors.ITEMS_REFUSED(list_id=list_id, status=status, code=code, message=message)


def _read(body: Any, mapping: FieldMapping, client_id: str) -> ItemsPage | None:
    """The page of a body; None when it holds none."""
    if not isinstance(body, dict) or not isinstance(body.get("value"), list):
        return None
    further, last = body.get("@odata.nextLink"), body.get("@odata.deltaLink")
    link = further or last
    if not isinstance(link, str):
        return None
    found: dict[str, SeenItem | None] = {}
    for entry in body["value"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str | int):
            return None
        item_id = str(entry["id"])
        found[item_id] = None if "deleted" in entry else _to_seen(entry, mapping, client_id)
        if found[item_id] is None and "deleted" not in entry:
            return None
    items = [one for one in found.values() if one is not None]
    return ItemsPage(items, [item_id for item_id, one in found.items() if one is None], link, further is None)


def _to_seen(entry: Mapping[str, Any], mapping: FieldMapping, client_id: str) -> SeenItem | None:
    item = batch.to_item(entry, mapping, client_id)
    return None if item is None else SeenItem(item, batch.is_by_app(entry.get("createdBy"), client_id))
