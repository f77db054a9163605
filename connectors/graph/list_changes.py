"""The changes of a list, page by page, for the inbox: items as Graph gave them, with their editors.

In: answers to the requests that `list_items` says, names of the fields to keep. Out: `ChangesPage`s, or what there is
instead. Rules (docs/design.md section 22): values stay as they came; an item that cannot be told apart (no id, no eTag)
makes its page unreadable, so that no change is passed over.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from connectors.graph import batch, list_items
from connectors.graph.client import NoAnswer, NotSent, Reply
from connectors.graph.list_items import DeltaPage, NoPage, TooOld
from rowtide.deciding.records import ItemId
from rowtide.keys import ROWTIDE_KEY
from rowtide.list_changes import ChangedItem, ChangesPage

_NOT_A_TOKEN = 400


def to_changes(
    answer: Reply | NotSent | NoAnswer, list_id: str, link: str | None, names: Collection[str], client_id: str
) -> ChangesPage | NoPage:
    """What the answer to a page's request says; ``link``: the one asked for, None: the list's beginning.

    A link that Graph calls malformed is too old like one that it calls expired: the list is read from its beginning.
    """
    if link is not None and isinstance(answer, Reply) and answer.status == _NOT_A_TOKEN:
        return TooOld()
    kept = frozenset(names) | {ROWTIDE_KEY}
    page = list_items.read_page(answer, list_id, lambda entry: _to_item(entry, kept, client_id))
    if not isinstance(page, DeltaPage):
        return page
    items = [one for one in page.items.values() if one is not None]
    deleted = [ItemId(item_id) for item_id, one in page.items.items() if one is None]
    return ChangesPage(items, deleted, page.link, page.is_last)


def _to_item(entry: Mapping[str, Any], kept: Collection[str], client_id: str) -> ChangedItem | None:
    fields = entry.get("fields")
    if not isinstance(fields, dict):
        return None
    etag = batch.etag_of(entry) or batch.etag_of(fields)
    if etag is None:
        return None
    editor = entry.get("lastModifiedBy")
    key = fields.get(ROWTIDE_KEY)
    return ChangedItem(
        item_id=ItemId(str(entry["id"])),
        etag=etag,
        fields={name: _storable(value) for name, value in fields.items() if name in kept},
        item_key=_storable(key) if isinstance(key, str) and key else None,
        by_app=batch.is_by_app(editor, client_id),
        made_by_app=batch.is_by_app(entry.get("createdBy"), client_id),
        editor_name=word_of_editor(editor, "displayName"),
        editor_email=word_of_editor(editor, "email"),
        modified_at=to_time(entry.get("lastModifiedDateTime")),
    )


def _storable(value: Any) -> Any:
    """The value, without what no text in PostgreSQL can hold: one such character would hold up the whole list."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case list():
            return [_storable(one) for one in value]
        case dict():
            return {_storable(name): _storable(one) for name, one in value.items()}
        case _:
            return value


def word_of_editor(editor: Any, word: str) -> str | None:
    """A word about whoever changed the item: the person, else the application. An app's writes may name both."""
    who = editor if isinstance(editor, dict) else {}
    for kind in ("application", "user"):
        one = who.get(kind)
        found = one.get(word) if isinstance(one, dict) else None
        if isinstance(found, str) and found:
            return str(_storable(found))
    return None


def to_time(text: Any) -> datetime | None:
    """The moment that Graph's text says; None when it says none."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
