"""`rowtide explain`: one row, both its values, and why they are as they are.

In: a sync, a row key, maybe one field. Out: lines that fit into 80 columns, or the document; exit code 3 when something
is to come, waits or is not known. Rule: what is said is control.operations.explain's; values are shown, since a person
asked for that row.
"""

import json
import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

import typer

from control.cli import options, output, session
from control.operations import explain as operations
from control.operations.explained_row import ExplainDocument, ExplainedField, ItemDocument, RowDocument, WaitDocument
from rowtide.change import JsonValue
from rowtide.error_catalogue import status_reasons
from rowtide.legible import legible

WIDTH: Final = 80
MOST_SHOWN: Final = 240
"""Characters of a value that are shown unless its field is named."""
_LABEL: Final = 15
_STATES: Final = {
    "same": "the same",
    "postgres_ahead": "PostgreSQL is ahead",
    "sharepoint_ahead": "SharePoint is ahead",
    "both_changed": "both changed it",
    "unknown": "not compared",
}


def explain(
    sync: Annotated[str, typer.Argument(metavar="SYNC")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="A row key, as `rowtide diff` and `parked list` show it.")],
    field: Annotated[str | None, typer.Argument(metavar="[FIELD]", help="Only this column, or field.")] = None,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Explain one row: both values, what was agreed, what waits and why.

    Reads the row and its item now and changes nothing. Exit code 3 when the sides are not at rest and the same.
    """
    found = operations.explain(session.start_session(config), sync, key, field)
    if as_json:
        output.document(found)
    else:
        for line in lines(found, output.width() or WIDTH, whole=field is not None):
            output.say(line)
    if not found["settled"]:
        raise typer.Exit(output.FINDINGS)


def lines(found: ExplainDocument, width: int, whole: bool = False) -> list[str]:
    """The picture in lines of at most ``width``; ``whole``: values are not cut short."""
    verdict = found["verdict"]
    shown = textwrap.wrap(legible(f"{found['sync']} {found['key']}: {verdict['sentence']}"), width)
    if verdict["next"]:
        shown += textwrap.wrap(legible(f"next: {verdict['next']}"), width)
    if found["moving"]:
        shown.append("It changed whenever it was looked at: ask again.")
    for label, text in [*_sides(found), *_last(found), *_stands(found)]:
        shown += _labelled(label, text, width)
    for wait in found["waits"]:
        shown += _labelled(wait["what"], _wait(wait), width)
    for one in found["fields"]:
        shown += ["", *_field(found, one, width, whole)]
    return shown


def _labelled(label: str, text: str, width: int, indent: int = 0) -> list[str]:
    """A label, and beside it the text on as many lines as it needs."""
    first = " " * indent + label.ljust(_LABEL)
    return textwrap.wrap(
        legible(text), width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    ) or [first.rstrip()]


# --- both sides, and what was done last -----------------------------------------------------------------------------


def _sides(found: ExplainDocument) -> Iterator[tuple[str, str]]:
    yield "row", f"{found['table']}: {_row(found['row'])}"
    yield "item", _item(found["item"])
    yield "pair", "none on record" if found["pair"] is None else found["pair"]
    yield "log", f"key_hash={found['key_hash']}"


def _row(row: RowDocument) -> str:
    match row["state"]:
        case "there":
            return f"there, belongs to list {row['list']}" if row["list"] else "there, its list is not applied"
        case "absent":
            return "there is no row of this key"
        case "outside":
            return "there, outside of `where`"
        case state:
            return f"{'cannot be carried' if state == 'unmapped' else 'could not be read'}: {row['problem']}"


def _item(item: ItemDocument) -> str:
    request = f" (request {item['request_id']})" if item["request_id"] else ""
    match item["state"]:
        case "there":
            by = f", edited by {item['edited_by']}" if item["edited_by"] else ""
            at = f" at {_moment(item['edited_at'])}" if item["edited_at"] else ""
            return f"{item['item_id']} of list {item['list']}, version {item['version']}{by}{at}{request}"
        case "absent":
            return f"there is none{request}"
        case _:
            return f"could not be read: {item['problem']}{request}"


def _last(found: ExplainDocument) -> Iterator[tuple[str, str]]:
    out, back = found["to_sharepoint"], found["to_postgres"]
    if out is not None:
        commit = f"commit {out['lsn']}" if out["lsn"] else "found by a reconcile"
        xid = f", transaction {out['xid']}" if out["xid"] else ""
        yield (
            "to SharePoint",
            f"{commit}{xid}, era {out['era']}; item version {out['item_version']}; settled at {_moment(out['at'])}",
        )
    if back is not None:
        what = f"{_OPERATIONS.get(back['operation'] or '', 'an edit')} of version {back['item_version']}"
        names = f" ({', '.join(back['fields'])})" if back["fields"] else ""
        xid = f", transaction {back['xid']}" if back["xid"] else ""
        wal = f", WAL ended at {back['wal_after']} after it, era {back['era']}" if back["wal_after"] else ""
        problem = f"; the source's record of it could not be read: {back['problem']}" if back["problem"] else ""
        yield "to PostgreSQL", f"{what}{names}{xid}{wal}{problem}"


_OPERATIONS: Final = {"update": "an update", "insert": "an insert", "delete": "a deletion", "none": "a look"}


def _stands(found: ExplainDocument) -> Iterator[tuple[str, str]]:
    stands = found["stands"]
    wrong = "" if stands["health"]["code"] == status_reasons.OK.code else f"; {stands['health']['sentence']}"
    yield "sync", f"{stands['wanted']}, {stands['activity']}{wrong}"


def _wait(wait: WaitDocument) -> str:
    since = f", since {_moment(wait['since'])}" if wait["since"] else ""
    due = f", due at {_moment(wait['due'])}" if wait["due"] and wait["state"] == "waiting" else ""
    until = f", until {_moment(wait['due'])}" if wait["due"] and wait["state"] == "closed" else ""
    code = f" {wait['code']}" if wait["code"] else ""
    following = f" next: {wait['next']}" if wait["next"] else ""
    return f"{wait['state']}{code}: {wait['sentence']}{since}{due}{until}{following}"


def _moment(at: datetime | None) -> str:
    return "?" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


# --- one field ------------------------------------------------------------------------------------------------------


def _field(found: ExplainDocument, one: ExplainedField, width: int, whole: bool) -> list[str]:
    name = one["field"] if one["field"] == one["column"] else f"{one['column']} -> {one['field']}"
    shown = textwrap.wrap(legible(f"{name} ({one['kind']}): {_STATES[one['state']]}"), width)
    if one["state"] == "same" and one["postgres"] == one["sharepoint"] and one["kept"] is None:
        shown += _labelled("both", _value(one["postgres"], whole), width, 2)
    else:
        row, item = found["row"]["state"], found["item"]["state"]
        shown += _labelled("PostgreSQL", _NO_VALUE.get(row) or _value(one["postgres"], whole), width, 2)
        shown += _labelled("SharePoint", _NO_VALUE.get(item) or _value(one["sharepoint"], whole), width, 2)
        shown += _labelled("agreed", _value(one["agreed"], whole), width, 2)
        if one["kept"] is not None:
            shown += _labelled("kept as", _value(one["kept"], whole), width, 2)
    return shown + _labelled("rule", one["rule"], width, 2)


_NO_VALUE: Final = {"absent": "(none)", "unread": "(not read)", "outside": "(not mapped)", "unmapped": "(not mapped)"}


def _value(value: JsonValue, whole: bool) -> str:
    """A text as it is, and as JSON where blanks at its ends would not be seen; all else as JSON."""
    if value is None:
        return "(empty)"
    is_plain = isinstance(value, str) and value and value == value.strip()
    text = str(value) if is_plain else json.dumps(value, ensure_ascii=False)
    return text if whole or len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text):,} characters)"
