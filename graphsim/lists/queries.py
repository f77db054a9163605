"""Queries over the items of a list: which items, in which order, page by page.

In: the options of a query. Out: a page of items with the link to the next, or GraphError. Rules: a column without an
index needs the `Prefer` header and fails on a list over the list view threshold; one indexed column serves a filter,
the first that it names, and fails when that one alone matches more items than the threshold; so no query of a long list
looks at more items than the threshold allows.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import tzinfo
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

import orjson

from graphsim.http import errors
from graphsim.http.odata import QueryOptions, bad_request, check_options, read_options, to_query
from graphsim.http.request import ApiCall, JsonObject
from graphsim.lists.entity_types import LIST_ITEM
from graphsim.lists.filters import Condition, Filter, bad_filter, parse_filter, read_date
from graphsim.lists.list_store import LIVE, ListItem, SimList
from graphsim.lists.representations import check_selected, full_item, items_context, system_fields, to_fragment
from graphsim.lists.value_index import to_index_key
from graphsim.switches import to_zone
from graphsim.tenant import Tenant

COLLECTION_OPTIONS = frozenset({"expand", "select", "filter", "orderby", "top", "skiptoken"})
_IDS = frozenset({"id", "ID"})
_ID = re.compile(r"-?[0-9]{1,18}")
_ITEM_DATES = {"createdDateTime": "Created", "lastModifiedDateTime": "Modified"}
_PREFER = "honornonindexedqueriesmayfailrandomly", "honornonindexedquerieswarningmayfailrandomly"
_TEXT_FACETS, _NUMBER_FACETS = frozenset({"text", "choice", "dateTime"}), frozenset({"number", "currency"})


def collection_page(tenant: Tenant, call: ApiCall, lst: SimList, query: Mapping[str, str]) -> JsonObject:
    """A page of items, and the link to the next; one item more is looked for, to know whether there is one."""
    check_options(query, COLLECTION_OPTIONS)
    options = read_options(query, LIST_ITEM)
    check_selected(lst, options.fields or (), tenant.switches)
    size = options.page_size(tenant.switches.page_size, tenant.switches.page_cap)
    found, token = _Search(tenant, call, lst, options).page(size, _Place.read(query.get("skiptoken")))
    label = tenant.references.label
    value = [to_fragment(options.selected(full_item(call.base, lst, item, options.fields, label))) for item in found]
    suffix = "" if options.fields is None else "(fields())"
    page: JsonObject = {"@odata.context": items_context(call.base, lst) + suffix, "value": value}
    if token is not None:
        keep = ("expand", "select", "filter", "orderby", "top")
        link_query = to_query(query, keep, _skiptoken=token.to_text())
        page["@odata.nextLink"] = f"{call.base}/sites/{lst.site_id}/lists/{lst.id}/items?{link_query}"
    return page


class _Place:
    """Where a page ends: behind the item `after`, in an ordered query behind its value too, or after `skip` items."""

    def __init__(self, after: int = 0, value: Any = None, skip: int = 0) -> None:
        self.after, self.value, self.skip = after, value, skip

    def to_text(self) -> str:
        plain = f"Paged=TRUE&p_ID={self.after}&p_Skip={self.skip}&p_Value={quote(orjson.dumps(self.value))}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str | None) -> "_Place | None":
        if text is None:
            return None
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            parts = dict(part.split("=", 1) for part in plain.split("&"))
            return cls(int(parts["p_ID"]), orjson.loads(unquote(parts["p_Value"])), int(parts["p_Skip"]))
        except (ValueError, KeyError):
            raise errors.invalid("The skip token is not valid", "invalidQueryOption") from None


class _Search:
    """One query: its filter and order, judged before anything is looked for."""

    def __init__(self, tenant: Tenant, call: ApiCall, lst: SimList, options: QueryOptions) -> None:
        self._switches = tenant.switches
        self._lst = lst
        self._prefer = call.headers.get("prefer", "").lower()
        names = _Names(lst, to_zone(tenant.switches.site_time_zone))
        resolve = names.resolve
        self._filter = None if options.filter is None else parse_filter(options.filter, resolve, names.read)
        self._order = [(resolve(name), descending) for name, descending in options.order_by]
        for name in sorted({*(self._filter.fields if self._filter else ()), *(name for name, _ in self._order)}):
            self._check_indexed(name)
        lag_s = self._switches.filter_lag_s
        self._seen = lst.log.position_at(tenant.now() - lag_s) if lag_s and self._filter else None

    def _check_indexed(self, name: str) -> None:
        column = self._lst.names.get(name)
        if name in _IDS or (column is not None and column.indexed):
            return
        if not any(wish in self._prefer for wish in _PREFER):
            raise errors.not_indexed(name)
        if self._is_long():
            raise errors.too_large()

    def _is_long(self) -> bool:
        return self._lst.live > self._switches.threshold

    def page(self, size: int, place: _Place | None) -> tuple[list[ListItem], _Place | None]:
        """The items of a page, and the place of the next, if there is one."""
        if self._order and self._switches.orderby_paging == "whole":
            return self._ordered_page(size, place or _Place())
        found = list(islice(self._matching(place.after if place else 0), size + 1))
        token = _Place(found[size - 1].id) if len(found) > size else None
        found = found[:size]
        self._sort(found)
        return found, token

    def _ordered_page(self, size: int, place: _Place) -> tuple[list[ListItem], _Place | None]:
        name, descending = self._order[0]
        if self._filter is None and len(self._order) == 1 and name in self._lst.indexes:
            return self._index_page(name, descending, size, place)
        if self._filter is None and name in _IDS and len(self._order) == 1 and not descending:
            found = list(islice(self._lst.live_items(place.after), size + 1))
            return found[:size], _Place(found[size - 1].id) if len(found) > size else None
        if self._filter is None and self._is_long():
            raise errors.too_large()
        found = list(self._matching(0))
        self._sort(found)
        rest = found[place.skip :]
        return rest[:size], _Place(skip=place.skip + size) if len(rest) > size else None

    def _index_page(
        self, name: str, descending: bool, size: int, place: _Place
    ) -> tuple[list[ListItem], _Place | None]:
        after = (place.value, place.after) if place.after else None
        rows, ids = self._lst.rows, self._lst.indexes[name].in_order(after, descending=descending)
        live = (item for number in ids if (item := rows[number - 1]) is not None and item.state == LIVE)
        found = list(islice(live, size + 1))
        if len(found) <= size:
            return found, None
        last = found[size - 1]
        return found[:size], _Place(last.id, to_index_key(self._lst.values(last).get(name)))

    def _sort(self, found: list[ListItem]) -> None:
        for name, descending in reversed(self._order):
            held = {item.id: self._judged(item).get(name) for item in found}
            found.sort(key=lambda item, held=held: _sort_key(held[item.id]), reverse=descending)  # type: ignore[misc]

    def _matching(self, after: int) -> Iterable[ListItem]:
        wanted = self._filter
        if wanted is None:
            return self._lst.live_items(after)
        candidates = self._candidates(wanted, after)
        return (item for item in candidates if self._is_seen(item) and wanted.test(self._judged(item)))

    def _is_seen(self, item: ListItem) -> bool:
        return self._seen is None or item.position <= self._seen

    def _judged(self, item: ListItem) -> JsonObject:
        """What a filter sees: the values, the system's fields, and the id as a number."""
        values = self._lst.values(item)
        return {**values, **system_fields(item, values), "id": item.id, "ID": item.id}

    def _candidates(self, wanted: Filter, after: int) -> Iterator[ListItem]:
        """Through the first index that the filter names; a long list has no other way."""
        for condition in wanted.conditions:
            if condition.operator == "ne" or not self._can_serve(condition):
                continue
            ids = self._find(condition)
            if ids is None:
                raise errors.too_large()
            rows = self._lst.rows
            return (item for i in ids if i > after and (item := rows[i - 1]) is not None and item.state == 0)
        if self._is_long():
            raise errors.too_large()
        return self._lst.live_items(after)

    def _can_serve(self, condition: Condition) -> bool:
        """Whether the field has an index whose values are of the literal's type."""
        value, operator = condition.value, condition.operator
        if condition.field in _IDS:
            return operator != "startswith" and value is not None
        column = self._lst.names.get(condition.field)
        if column is None or condition.field not in self._lst.indexes:
            return False
        if value is None:
            return operator == "eq"
        if column.lookup_name:
            return operator == "eq" and _ID.fullmatch(str(value)) is not None
        if column.facet in _TEXT_FACETS:
            return isinstance(value, str)
        if column.facet in _NUMBER_FACETS:
            return isinstance(value, int | float) and not isinstance(value, bool)
        return isinstance(value, bool) and operator == "eq"

    def _find(self, condition: Condition) -> Iterable[int] | None:
        """The ids that fulfil the condition; None when they are too many for a long list."""
        most = self._switches.threshold if self._is_long() else len(self._lst.rows)
        if condition.field in _IDS:
            return _find_ids(condition, len(self._lst.rows), most)
        index, value = self._lst.indexes[condition.field], condition.value
        if condition.operator != "eq":
            return index.find_range(condition.operator, value, most)
        if self._lst.names[condition.field].lookup_name and value is not None:
            value = str(value)
        if index.count(value) > most:
            return None
        return index.find_missing() if value is None else index.find(value)


def _find_ids(condition: Condition, last: int, most: int) -> range | None:
    number = int(condition.value)
    first = {"eq": number, "gt": number + 1, "ge": number}.get(condition.operator, 1)
    end = {"eq": number, "lt": number - 1, "le": number}.get(condition.operator, last)
    found = range(max(1, first), min(end, last) + 1)
    return found if len(found) <= most else None


def _sort_key(value: Any) -> tuple[int, Any]:
    """Empty first, then numbers, then text without case."""
    if value is None:
        return (0, 0)
    return (1, value) if isinstance(value, int | float) else (2, str(to_index_key(value)))


class _Names:
    """Paths of a query: `fields/Title` is a column, a bare name is a property of the item itself.

    Beside a date stands a date, beside an id a number: anything else would be compared as text and find nothing.
    """

    def __init__(self, lst: SimList, zone: tzinfo) -> None:
        self._lst = lst
        self._zone = zone

    def read(self, name: str, literal: Any) -> Any:
        if name in _IDS:
            if literal is not None and not _ID.fullmatch(str(literal)):
                raise bad_filter(f"'{literal}' is no id.")
            return literal
        column = self._lst.names.get(name)
        return read_date(literal, self._zone) if column is not None and column.facet == "dateTime" else literal

    def resolve(self, path: str) -> str:
        head, slash, name = path.partition("/")
        if slash and head.lower() == "fields":
            if name not in self._lst.names and name not in _IDS:
                raise bad_filter(f"the field '{name}' does not exist in the list.")
            return name
        if path in _ITEM_DATES:
            return _ITEM_DATES[path]
        if path == "id":
            return path
        raise bad_request(
            f"Invalid filter clause: Could not find a property named '{path}' on type 'microsoft.graph.listItem'."
        )
