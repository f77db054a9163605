"""Delta of a list: what changed since a token, as last states.

In: `GET .../items/delta` in all the forms clients send. Out: pages with exactly one of nextLink and deltaLink. Rules: a
round ends at the position it began with, so it always ends; every item changed in between comes in the next; order
within a page means nothing; an older state of an item never comes after a newer one; an expired or foreign token is
answered with 410 or 400.
"""

import base64
import re
from dataclasses import dataclass

import orjson

from graphsim.http import errors
from graphsim.http.odata import QueryOptions, read_options, to_query
from graphsim.http.request import ApiCall, ApiReply, JsonObject
from graphsim.lists.entity_types import LIST_ITEM
from graphsim.lists.list_store import LIVE, PENDING, ListItem, SimList
from graphsim.lists.representations import check_selected, deleted_json, full_item, items_context, to_fragment
from graphsim.tenant import Tenant

CALL_FORM = re.compile(r"(?:microsoft\.graph\.)?delta(?:\((?:token='([^']*)')?\))?")
_KEEP = ("expand", "select", "top")
OPTIONS = frozenset({*_KEEP, "token", "skiptoken"})


@dataclass(frozen=True, slots=True)
class DeltaToken:
    """Where a reader stands: after `position`; within a round also its end, and whether it began from nothing."""

    list_id: str
    issued: float
    position: int
    until: int | None = None
    is_first: bool = False

    def to_text(self) -> str:
        """The opaque text that a link carries."""
        until = "" if self.until is None else str(self.until)
        plain = f"3;%234;%231;3;{self.list_id};{self.issued:.3f};{self.position};{until};{int(self.is_first)};%234"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def parse_token(text: str) -> DeltaToken | None:
    """The token of a text; None when it is none of ours."""
    try:
        parts = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(";")
        until = int(parts[7]) if parts[7] else None
        return DeltaToken(parts[4], float(parts[5]), int(parts[6]), until, parts[8] == "1")
    except (ValueError, IndexError):
        return None


def get_delta(tenant: Tenant, call: ApiCall, lst: SimList, call_form: str) -> ApiReply:
    """One page of changes since the token, and the link that goes on from there."""
    tenant.stats.delta_pages += 1
    options = read_options(call.query, LIST_ITEM)
    check_selected(lst, options.fields or (), tenant.switches)
    form = CALL_FORM.fullmatch(call_form)
    text = (form and form.group(1)) or call.query.get("token") or call.query.get("skiptoken")
    seen = lst.log.position_at(tenant.now() - tenant.switches.delta_lag_s) if tenant.switches.delta_lag_s else None
    end = lst.log.position if seen is None else seen
    if text == "latest":
        return ApiReply(200, _with_link(call, lst, [], DeltaToken(lst.id, tenant.now(), end)))
    token = _judge_token(tenant, call, lst, text) if text else DeltaToken(lst.id, tenant.now(), 0, end, True)
    until = token.until if token.until is not None else max(end, token.position)
    if tenant.switches.delta_empty and tenant.chance.random() < tenant.switches.delta_empty:
        return ApiReply(200, _with_link(call, lst, [], _moved(tenant, token, token.position, until)))
    size = options.page_size(tenant.switches.page_size, tenant.switches.page_cap)
    ids, reached, is_end = lst.log.page(token.position, until, size)
    value = _entries(tenant, call, lst, ids, options, skip_deleted=token.is_first)
    after = DeltaToken(lst.id, tenant.now(), until) if is_end else _moved(tenant, token, reached, until)
    return ApiReply(200, _with_link(call, lst, value, after))


def _moved(tenant: Tenant, token: DeltaToken, position: int, until: int) -> DeltaToken:
    return DeltaToken(token.list_id, tenant.now(), position, until, token.is_first)


def _judge_token(tenant: Tenant, call: ApiCall, lst: SimList, text: str) -> DeltaToken:
    token = parse_token(text)
    if token is None or token.list_id != lst.id or token.position > lst.log.position:
        if tenant.switches.delta_bad_token == "410":
            raise resync(tenant, call, lst)
        raise errors.invalid("The provided delta token is not valid")
    now = tenant.now()
    if token.issued < tenant.no_tokens_before or now - token.issued > tenant.switches.delta_token_life_s:
        raise resync(tenant, call, lst)
    return token


def resync(tenant: Tenant, call: ApiCall, lst: SimList) -> errors.GraphError:
    """410 with the address of a fresh enumeration (contrib errors; both spellings of the inner codes exist)."""
    switches = tenant.switches
    middle = "Changes" if switches.delta_resync_spelling == "long" else ""
    inner = f"resync{middle}{switches.delta_resync.capitalize()}Differences"
    query = to_query(call.query, _KEEP)
    location = f"{call.base}/sites/{lst.site_id}/lists/{lst.id}/items/delta" + (f"?{query}" if query else "")
    return errors.GraphError(410, "resyncRequired", "Resync required", inner=inner, headers={"Location": location})


def _entries(
    tenant: Tenant, call: ApiCall, lst: SimList, ids: list[int], options: QueryOptions, *, skip_deleted: bool
) -> list[orjson.Fragment]:
    ids = list(ids)
    if tenant.switches.delta_order == "shuffled":
        tenant.order.shuffle(ids)
    out: list[orjson.Fragment] = []
    for item_id in ids:
        item = lst.rows[item_id - 1]
        if item is None or item.state == PENDING or (skip_deleted and item.state != LIVE):
            continue
        if tenant.switches.delta_repeat and tenant.chance.random() < tenant.switches.delta_repeat:
            # The same item, once more and earlier in the page: the reader must take the last occurrence.
            out.insert(tenant.chance.randint(0, len(out)), _entry(tenant, call, lst, _older(item), options))
        out.append(_entry(tenant, call, lst, item, options))
    return out


def _older(item: ListItem) -> ListItem:
    """An earlier state of a living item, or the same state."""
    if item.state != LIVE or not item.history:
        return item
    before = item.history[-1]
    copy = ListItem(item.id, item.author, item.created, before.fields)
    copy.version, copy.ui = item.version - 1, before.ui
    copy.editor, copy.modified = before.editor, before.modified
    return copy


def _entry(tenant: Tenant, call: ApiCall, lst: SimList, item: ListItem, options: QueryOptions) -> orjson.Fragment:
    if item.state != LIVE:
        return to_fragment(deleted_json(lst, item, as_int=tenant.switches.deleted_id == "int"))
    out = full_item(call.base, lst, item, options.fields, tenant.references.label)
    return to_fragment({**options.selected(out), "id": out["id"]})


def _with_link(call: ApiCall, lst: SimList, value: list[orjson.Fragment], token: DeltaToken) -> JsonObject:
    name = "@odata.deltaLink" if token.until is None else "@odata.nextLink"
    # The pages of a first enumeration are queries without a token: they cost 2 RU, those of a later round 1.
    option = "_skiptoken" if token.until is not None and token.is_first else "token"
    query = to_query(call.query, _KEEP, **{option: token.to_text()})
    context = f"{items_context(call.base, lst)}"
    return {
        "@odata.context": context,
        "value": value,
        name: f"{call.base}/sites/{lst.site_id}/lists/{lst.id}/items/delta?{query}",
    }
