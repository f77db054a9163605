"""`$batch` without IO: makes the body of a request from commands, and reads from its answer what each one did.

In: commands with their rows; status, headers and bytes of an answer. Out: bytes; one `Reading` for each command.
Rules (docs/facts.md sections 1.3 and 3): PATCH and DELETE carry If-Match; decisions go by status and Graph's
codes, never by messages; an answer that blames the list, the app or the moment never blames the row; an answer that
cannot be read leaves the outcome unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, assert_never
from urllib.parse import quote

import orjson

from connectors.graph import retry_after
from rowtide.deciding.answers import (
    Answer,
    Changed,
    Deleted,
    Found,
    Item,
    Missing,
    NotApplied,
    Rejected,
    Unknown,
    Written,
)
from rowtide.deciding.commands import Command, CreateItem, DeleteItem, LookAtItem, LookForKey, MoveItem, UpdateItem
from rowtide.deciding.item_versions import ItemVersion, ReadVersions, Versions
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.records import ETag, ItemId
from rowtide.error_catalogue import row_errors
from rowtide.keys import ROWTIDE_KEY, rowtide_key

MEMBERS: Final = 20
"""The most requests that a batch may hold."""
BODY_BYTES: Final = 3_500_000
"""A body above this is sent in halves (the limit is 4 MB)."""

_LIST_AFTER_S: Final = 60.0
_BUSY_AFTER_S: Final = 1.0
"""Seconds until an item that SharePoint has locked, or is still busy with, is written again for the first time."""
_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: nothing happened, and nobody may try for ``after_s`` (None: Graph did not say)."""

    after_s: float | None


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """401: nothing happened; the token is not accepted."""


@dataclass(frozen=True, slots=True)
class ListRefused:
    """Nothing happened because of the list: it is not there, not ours to write, or full."""

    status: int
    code: str
    sentence: str


Reading = Answer | Versions | Throttled | Unauthorized | ListRefused


class Member(NamedTuple):
    """One answer of a batch; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Address(NamedTuple):
    """Where a command goes and which row it is for."""

    site_id: str
    sync: str
    key: str


# --- out ----------------------------------------------------------------------------------------------------------


def to_member(number: int, command: Command | ReadVersions, address: Address, mapping: FieldMapping) -> dict[str, Any]:
    """One request of the batch; ``number`` is its id."""
    items = f"/sites/{address.site_id}/lists/{command.list_id}/items"
    body: dict[str, Any]
    match command:
        case UpdateItem(_, item_id, version, fields):
            headers = {"Content-Type": "application/json", "If-Match": version}
            body = dict(mapping.wire_fields(fields))
            if ROWTIDE_KEY in fields:
                body[ROWTIDE_KEY] = fields[ROWTIDE_KEY]
            url = f"{items}/{item_id}/fields"
            return {"id": str(number), "method": "PATCH", "url": url, "headers": headers, "body": body}
        case CreateItem(_, fields) | MoveItem(_, fields, _):
            # Empty columns are left out of a POST: there is nothing to clear.
            given = {name: value for name, value in mapping.wire_fields(fields).items() if value is not None}
            body = {"fields": {**given, ROWTIDE_KEY: rowtide_key(address.sync, address.key)}}
            return {"id": str(number), "method": "POST", "url": items, "headers": _JSON, "body": body}
        case DeleteItem(_, item_id, etag):
            url = f"{items}/{item_id}"
            return {"id": str(number), "method": "DELETE", "url": url, "headers": {"If-Match": etag}}
        case LookAtItem(_, item_id):
            return {"id": str(number), "method": "GET", "url": f"{items}/{item_id}?$expand=fields"}
        case ReadVersions(_, item_id):
            return {"id": str(number), "method": "GET", "url": f"{items}/{item_id}/versions?$expand=fields"}
        case LookForKey():
            value = quote(rowtide_key(address.sync, address.key).replace("'", "''"), safe="")
            url = f"{items}?$expand=fields&$filter=fields/{ROWTIDE_KEY}%20eq%20'{value}'"
            return {"id": str(number), "method": "GET", "url": url}


def gone_with_list(command: Command | ReadVersions) -> Answer:
    """The answer for a command to a list that SharePoint has no more: whatever was in it is no more."""
    match command:
        case UpdateItem() | DeleteItem() | LookAtItem() | ReadVersions():
            return Missing()
        case LookForKey():
            return Found(())
        case CreateItem() | MoveItem():
            return NotApplied(1.0, "the list is gone; the row is to go to another one")
        case _:
            assert_never(command)


def to_body(members: Sequence[Mapping[str, Any]]) -> bytes:
    """The body of ``POST /$batch``."""
    return orjson.dumps({"requests": members})


# --- back ---------------------------------------------------------------------------------------------------------


def read_members(content: bytes | bytearray) -> dict[str, Member] | None:
    """The answers of a batch by id, whatever its outer status was; None when it holds none or cannot be read."""
    document = _loaded(content)
    responses = document.get("responses") if isinstance(document, dict) else None
    if not isinstance(responses, list):
        return None
    members = {}
    for response in responses:
        if isinstance(response, dict) and isinstance(response.get("status"), int):
            headers = response.get("headers")
            lower = {str(k).lower(): str(v) for k, v in headers.items()} if isinstance(headers, dict) else {}
            members[str(response.get("id"))] = Member(response["status"], lower, response.get("body"))
    return members


def to_envelope(status: int, headers: Mapping[str, str], content: bytes | bytearray) -> dict[str, Member] | Reading:
    """The answers by id; or, when the batch as a whole was refused or lost, what that says about every member.

    Members are read whatever the outer status is: throttled ones come under 200 or 424 (contrib, docs21).
    """
    members = read_members(content)
    if members is not None:
        return members
    if status == 429:
        return Throttled(retry_after.retry_after_s(headers))
    if status == 401:
        return Unauthorized()
    if status >= 500 or 200 <= status < 300:
        return Unknown(f"Graph answered {status}" if status >= 500 else "Graph's answer cannot be read", of_row=False)
    code, sentence = error_of(_loaded(content))
    if status in (400, 413) and code:
        return Rejected(status, code, sentence)
    return NotApplied(_LIST_AFTER_S, f"Graph answered {status} {code}".rstrip() + " to a batch")


def _loaded(content: bytes | bytearray) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def to_reading(command: Command | ReadVersions, member: Member, mapping: FieldMapping, client_id: str) -> Reading:
    """What a member's answer says about its command."""
    status = member.status
    if 200 <= status < 300:
        return _to_success(command, member, mapping, client_id)
    code, sentence = error_of(member.body)
    if status == 429:
        return Throttled(retry_after.retry_after_s(member.headers))
    if status == 401:
        return Unauthorized()
    if (status >= 500 and status != 507) or status < 400 or status in (408, 424, 425):
        return Unknown(f"Graph answered {status} {code}".rstrip())
    if status in (403, 507):
        return ListRefused(status, code, sentence)
    if status == 423:
        return NotApplied(_BUSY_AFTER_S, f"SharePoint has locked the item ({code})", of_row=True)
    if isinstance(command, LookAtItem | LookForKey | ReadVersions):
        return _to_look_refused(command, status, code, sentence)
    return _to_write_refused(command, status, code, _without_values(sentence, command))


def _to_look_refused(command: LookAtItem | LookForKey | ReadVersions, status: int, code: str, sentence: str) -> Reading:
    """What a refused look says. It never blames the row, because it sends no value of the row."""
    if status == 404 and isinstance(command, LookAtItem | ReadVersions):
        return Missing()
    return ListRefused(status, code, sentence)


def _to_write_refused(command: Command, status: int, code: str, sentence: str) -> Reading:
    is_create = isinstance(command, CreateItem | MoveItem)
    modified = status == 412 or (status == 409 and code == "resourceModified")
    if status == 404:
        return ListRefused(status, code, sentence) if is_create else Missing()
    if modified:
        # Without If-Match this only means that SharePoint is still busy with the item.
        busy = NotApplied(_BUSY_AFTER_S, f"Graph answered {status} {code}", of_row=True)
        return busy if is_create else Changed()
    known = code or row_errors.GRAPH_REFUSED_ROW_PLAINLY(status=status, sentence=sentence).code
    return Rejected(status, known, sentence, duplicate=_names_duplicate(status, code, sentence))


def _without_values(sentence: str, command: Command) -> str:
    """Graph's sentence without the row's own values."""
    if isinstance(command, CreateItem | MoveItem | UpdateItem):
        for value in command.fields.values():
            if isinstance(value, str) and len(value) > 1:
                sentence = sentence.replace(value, "…")
    return sentence


def _names_duplicate(status: int, code: str, sentence: str) -> bool:
    """Whether the answer names a unique column. That only chooses words: a search follows any refused POST."""
    text = sentence.lower()
    return (status == 409 and code == "nameAlreadyExists") or "unique" in text or "duplicate" in text


def _to_success(command: Command | ReadVersions, member: Member, mapping: FieldMapping, client_id: str) -> Reading:
    body = member.body
    match command:
        case DeleteItem():
            return Deleted()
        case _ if not isinstance(body, dict):
            return Unknown("Graph's answer cannot be read")
        case UpdateItem(_, item_id, _, _):
            return Written(item_id, etag_of(body), mapping.item_fields(body))
        case CreateItem() | MoveItem():
            made = body.get("id")
            if not isinstance(made, str | int) or not str(made):
                return Unknown("Graph's answer names no item")
            return Written(ItemId(str(made)), etag_of(body))
        case LookAtItem():
            item = to_item(body, mapping, client_id)
            return Unknown("Graph's answer cannot be read") if item is None else Found((item,))
        case LookForKey():
            return _to_found(body, mapping, client_id)
        case ReadVersions():
            return _to_versions(body, mapping, client_id)


def _to_found(body: Mapping[str, Any], mapping: FieldMapping, client_id: str) -> Reading:
    value = body.get("value")
    if not isinstance(value, list):
        return Unknown("Graph's answer cannot be read")
    items = [to_item(entry, mapping, client_id) for entry in value]
    seen = tuple(item for item in items if item is not None)
    # A page that is empty but goes on says nothing about absence.
    unsure = len(seen) < len(items) or ("@odata.nextLink" in body and not seen)
    return Unknown("Graph's answer cannot be read") if unsure else Found(seen)


def _to_versions(body: Mapping[str, Any], mapping: FieldMapping, client_id: str) -> Reading:
    """The versions that the body shows, by the numbers of their ids ("3.0"); one that shows no fields is left out."""
    value = body.get("value")
    if not isinstance(value, list):
        return Unknown("Graph's answer cannot be read")
    found = []
    for one in value:
        number = str(one.get("id", "")).partition(".")[0] if isinstance(one, dict) else ""
        if number.isdigit() and isinstance(one.get("fields"), dict):
            by_app = is_by_app(one.get("lastModifiedBy"), client_id)
            found.append(ItemVersion(int(number), by_app, mapping.item_fields(one["fields"])))
    return Versions(tuple(found))


def inner_code_of(body: Any) -> str:
    """The code inside Graph's error, in lower case; empty when there is none. SharePoint spells its key otherwise."""
    error = body.get("error") if isinstance(body, dict) else None
    inner = error.get("innerError", error.get("innererror")) if isinstance(error, dict) else None
    return str(inner.get("code") or "")[:MOST_CODE].lower() if isinstance(inner, dict) else ""


def is_by_app(identities: Any, client_id: str) -> bool:
    """Whether an ``identitySet`` (``createdBy``, ``lastModifiedBy``) names our own application."""
    app = identities.get("application") if isinstance(identities, dict) else None
    return isinstance(app, dict) and str(app.get("id", "")).lower() == client_id.lower()


def to_item(body: Any, mapping: FieldMapping, client_id: str) -> Item | None:
    """The item of an answer's body; None when the body holds none."""
    if not isinstance(body, dict) or not isinstance(body.get("fields"), dict):
        return None
    fields, item_id = body["fields"], body.get("id")
    etag = etag_of(body)
    if etag is None:
        etag = etag_of(fields)
    if not isinstance(item_id, str | int) or etag is None:
        return None
    by_app = is_by_app(body.get("lastModifiedBy"), client_id)
    key = fields.get(ROWTIDE_KEY)
    return Item(ItemId(str(item_id)), etag, mapping.item_fields(fields), by_app, key if isinstance(key, str) else None)


def etag_of(body: Mapping[str, Any]) -> ETag | None:
    """The eTag that a body holds, in one of its two spellings."""
    for name in ("eTag", "@odata.etag"):
        etag = body.get(name)
        if isinstance(etag, str) and etag:
            return ETag(etag)
    return None


def error_of(body: Any) -> tuple[str, str]:
    """Graph's code and sentence; no code when the body holds none."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", "Graph gave no reason"
    code, message = error.get("code"), error.get("message")
    return str(code or "")[:MOST_CODE], str(message or "Graph gave no reason")[:MOST_SAID]


MOST_CODE: Final = 100
MOST_SAID: Final = 300
"""Characters of a code and of a sentence of Graph's that are shown and recorded; its longest codes have 60."""
