"""One look at an item by a command: a single GET, with the id under which Microsoft finds that request.

In: the settings of a tenant, where to look, the sync's mapping. Out: `ItemLook`. Called by control.operations.explain.
Rules: nothing is repeated and nothing is written; whatever keeps the item from being read is said, never raised; an
item is gone only if its list answers.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from connectors.graph import batch, list_changes, list_columns
from connectors.graph.auth import TokenSource
from connectors.graph.batch import Address, ListRefused, Member, Throttled
from connectors.graph.client import Client, Reply
from connectors.graph.settings import GraphSettings
from rowtide.deciding.answers import Found, Item, Missing, NotApplied, Unknown
from rowtide.deciding.commands import LookAtItem, LookForKey
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.records import ListId
from rowtide.errors import RowtideError
from rowtide.explaining import ItemNotThere, ItemSide, ItemThere, Unread

GONE: Final = ItemNotThere(was=True)
_THROTTLED: Final = "Graph is throttling the app"
_REFUSED: Final = "Graph answered {status} to the look at the item"


@dataclass(frozen=True, slots=True)
class ItemLook:
    """What was seen, who changed the item last and when, and Graph's id of the request (None: there was no answer)."""

    seen: ItemSide
    list_id: ListId | None = None
    editor: str | None = None
    modified_at: datetime | None = None
    request_id: str | None = None


def look(
    settings: GraphSettings, command: LookAtItem | LookForKey, address: Address, mapping: FieldMapping
) -> ItemLook:
    """The item of a known id, or the one that carries the row's RowtideKey."""
    try:
        return asyncio.run(_look(settings, command, address, mapping))
    except RowtideError as error:  # there is no token
        return ItemLook(Unread(error.sentence), command.list_id)


async def _look(
    settings: GraphSettings, command: LookAtItem | LookForKey, address: Address, mapping: FieldMapping
) -> ItemLook:
    client = Client(settings, TokenSource(settings))
    try:
        answer = await client.get(str(batch.to_member(1, command, address, mapping)["url"]))
        if not isinstance(answer, Reply):
            return ItemLook(Unread(answer.error.sentence), command.list_id)
        found = _to_look(command, answer, mapping, settings.client_id)
        if found.seen != GONE:
            return found
        # An item of a list that is away, or not to be read, answers like one that is deleted.
        columns = await client.get(list_columns.link_of(address.site_id, command.list_id))
        match list_columns.to_columns(columns, command.list_id):
            case RowtideError() as error:
                return replace(found, seen=Unread(error.sentence))
            case Throttled():
                return replace(found, seen=Unread(_THROTTLED))
            case _:
                return found
    finally:
        await client.close()


def _to_look(command: LookAtItem | LookForKey, reply: Reply, mapping: FieldMapping, client_id: str) -> ItemLook:
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = None
    reading = batch.to_reading(command, Member(reply.status, reply.headers, body), mapping, client_id)
    request_id = reply.headers.get("request-id")
    match reading:
        case Found((one, *_)):
            return _there(command, one, body, request_id)
        case Found():
            return ItemLook(ItemNotThere(was=False), command.list_id, request_id=request_id)
        case Missing():
            return ItemLook(GONE, command.list_id, request_id=request_id)
        case ListRefused(_, _, why) | Unknown(why) | NotApplied(_, why):
            return ItemLook(Unread(why), command.list_id, request_id=request_id)
        case Throttled():
            return ItemLook(Unread(_THROTTLED), command.list_id, request_id=request_id)
        case _:
            return ItemLook(Unread(_REFUSED.format(status=reply.status)), command.list_id, request_id=request_id)


def _there(command: LookAtItem | LookForKey, item: Item, body: Any, request_id: str | None) -> ItemLook:
    shown = body if isinstance(command, LookAtItem) else body["value"][0]
    editor = list_changes.word_of_editor(shown.get("lastModifiedBy"), "displayName")
    modified_at = list_changes.to_time(shown.get("lastModifiedDateTime"))
    return ItemLook(ItemThere(command.list_id, item), command.list_id, editor, modified_at, request_id)
