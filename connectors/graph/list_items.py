"""The items of a list, page by page: delta without a token, then rounds with the link that it ended with.

In: answers for an `Enumeration`'s link, the sync's mapping; `list_changes` reads the same pages otherwise. Out:
`ItemsPage`s; `TooOld` when Graph does not go on from a link any more. Rules (docs/facts.md section 2): links are
followed as they are; an item may come more than once in a page, and its last state counts; every request is paid for
before it is sent, and none is repeated here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, assert_never

import orjson

from connectors.graph import batch, retry_after
from connectors.graph.batch import Throttled, Unauthorized
from connectors.graph.client import NoAnswer, NotSent, Reply
from rowtide.deciding.observation import FieldMapping
from rowtide.enumeration import ItemsPage, SeenItem
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.pacing import ITEM_RU, PAGE_ITEMS, QUERY_RU

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TooOld:
    """410: the list has to be read from its beginning.

    ``upload``: what the list lacks then is to be written to it again, and not taken for deleted.
    """

    upload: bool = False


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The page would fill the memory: fewer items at a time are to be asked for, which a link does not allow."""

    error: GraphUnavailable


@dataclass(frozen=True, slots=True)
class DeltaPage(Generic[T]):
    """A page: by item id its last state, None for a deleted one; the link that goes on. ``is_last``: of the round."""

    items: Mapping[str, T | None]
    link: str
    is_last: bool


NoPage = TooOld | TooLarge | Throttled | Unauthorized | GraphUnavailable | GraphRefused
PageReading = ItemsPage | NoPage


def first_link(site_id: str, list_id: str, page_items: int = PAGE_ITEMS) -> str:
    """Where the enumeration of a list begins. Every field is read, since Graph refuses to select one that is gone."""
    return f"/sites/{site_id}/lists/{list_id}/items/delta?$top={page_items}&$expand=fields"


def units_of(link: str | None, ended: int) -> int:
    """What a page costs: those of the first round are queries, later ones have a token."""
    return QUERY_RU if link is None or not ended else ITEM_RU


def to_page(answer: Reply | NotSent | NoAnswer, list_id: str, mapping: FieldMapping, client_id: str) -> PageReading:
    """What the answer to a page's request says."""
    page = read_page(answer, list_id, lambda entry: _to_seen(entry, mapping, client_id))
    if not isinstance(page, DeltaPage):
        return page
    items = [one for one in page.items.values() if one is not None]
    return ItemsPage(items, [item_id for item_id, one in page.items.items() if one is None], page.link, page.is_last)


def read_page(
    answer: Reply | NotSent | NoAnswer, list_id: str, to_item: Callable[[Mapping[str, Any]], T | None]
) -> DeltaPage[T] | NoPage:
    """What the answer says; ``to_item`` makes an item of an entry that is not deleted, None of one that is none."""
    match answer:
        case NoAnswer(error) if error.code == graph_errors.GRAPH_ANSWER_TOO_LARGE.code:
            return TooLarge(error)
        case NotSent(error) | NoAnswer(error):
            return error
        case Reply():
            return _to_page(answer, list_id, to_item)
        case _:
            assert_never(answer)


def _to_page(reply: Reply, list_id: str, to_item: Callable[[Mapping[str, Any]], T | None]) -> DeltaPage[T] | NoPage:
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = None
    if reply.status == 200:
        page = _read(body, to_item)
        return graph_errors.ITEMS_UNREADABLE(status=200, code="") if page is None else page
    code, message = batch.error_of(body)
    match reply.status:
        case 410:
            return TooOld(batch.inner_code_of(body) in _UPLOAD)
        case 429:
            return Throttled(retry_after.retry_after_s(reply.headers))
        case 401:
            return Unauthorized()
        case status if status >= 500:
            return graph_errors.ITEMS_UNREADABLE(status=status, code=code)
        case status:
            return graph_errors.ITEMS_REFUSED(list_id=list_id, status=status, code=code, message=message)


_UPLOAD = frozenset({"resyncchangesuploaddifferences", "resyncuploaddifferences"})
"""Inner codes of a 410, in lower case: Graph's own pages spell them in two ways."""


def _read(body: Any, to_item: Callable[[Mapping[str, Any]], T | None]) -> DeltaPage[T] | None:
    """The page of a body; None when it holds none."""
    if not isinstance(body, dict) or not isinstance(body.get("value"), list):
        return None
    further, last = body.get("@odata.nextLink"), body.get("@odata.deltaLink")
    link = further or last
    if not isinstance(link, str):
        return None
    found: dict[str, T | None] = {}
    for entry in body["value"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str | int):
            return None
        item_id = str(entry["id"])
        found[item_id] = None if "deleted" in entry else to_item(entry)
        if found[item_id] is None and "deleted" not in entry:
            return None
    return DeltaPage(found, link, further is None)


def _to_seen(entry: Mapping[str, Any], mapping: FieldMapping, client_id: str) -> SeenItem | None:
    item = batch.to_item(entry, mapping, client_id)
    return None if item is None else SeenItem(item, batch.is_by_app(entry.get("createdBy"), client_id))
