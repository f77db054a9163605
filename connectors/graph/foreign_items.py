"""Whether the lists of a running flow hold items that Rowtide did not make.

In: lists with their sites. Out: the list ids that hold an item without RowtideKey, with one such item. Rule
(docs/design.md section 6): one ``$batch`` of indexed queries for up to twenty lists; Graph's SDK is not imported
(connectors.graph.provisioning asks the same for `apply`).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from connectors.graph.auth import TokenSource
from connectors.graph.client import Client, Reply
from connectors.graph.settings import GraphSettings
from rowtide.error_catalogue import graph_errors
from rowtide.keys import ROWTIDE_KEY

QUERY_RU = 2
_BATCH = 20


def find_foreign_items(settings: GraphSettings, lists: Mapping[str, str]) -> dict[str, str]:
    """List id -> id of an item without RowtideKey, for those of ``lists`` (list id -> site id) that hold one.

    A list that Graph refuses to show (403, 404) counts as holding none; the writer reports what is wrong with it.
    Raises GraphUnavailable, IdentityUnavailable, IdentityRefused.
    """
    return asyncio.run(_ask(settings, dict(lists)))


async def _ask(settings: GraphSettings, lists: dict[str, str]) -> dict[str, str]:
    client = Client(settings, TokenSource(settings))
    foreign_items: dict[str, str] = {}
    try:
        names = sorted(lists)
        for start in range(0, len(names), _BATCH):
            asked = names[start : start + _BATCH]
            reply = await client.post("/$batch", orjson.dumps({"requests": [_query(lists, one) for one in asked]}))
            if not isinstance(reply, Reply):
                raise reply.error
            foreign_items.update(_read(reply))
    finally:
        await client.close()
    return foreign_items


def _query(lists: Mapping[str, str], list_id: str) -> dict[str, str]:
    query = f"$top=1&$expand=fields&$filter=fields/{ROWTIDE_KEY} eq null"
    return {"id": list_id, "method": "GET", "url": f"/sites/{lists[list_id]}/lists/{list_id}/items?{query}"}


def _read(reply: Reply) -> dict[str, str]:
    try:
        members: list[dict[str, Any]] = orjson.loads(reply.body)["responses"] if reply.status == 200 else []
    except (orjson.JSONDecodeError, KeyError, TypeError):
        members = []
    if not members or any(member.get("status") in (429, 500, 502, 503, 504) for member in members):
        raise graph_errors.LISTS_UNSEEN(status=reply.status)
    foreign_items = {}
    for member in members:
        items = (member.get("body") or {}).get("value") if member.get("status") == 200 else None
        for item in items or []:
            if not item.get("fields", {}).get(ROWTIDE_KEY):
                foreign_items[member["id"]] = str(item["id"])
    return foreign_items
