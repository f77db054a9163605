"""Compare source, records and lists of a sync, without changing any of them.

In: a session, a sync of the definition in force. Out: a `DiffDocument`. Rules: running processes read the lists and
stage what is under way, and the operation waits for them; strangers and what moves are reported and are no differences.
Bytewax, which is slow to import, is imported only here.
"""

import threading
from collections.abc import Callable, Mapping
from typing import TypedDict

from control.operations.session import Session, open_sync
from rowtide.catalog import Catalog
from rowtide.enumeration import Finding

Report = Callable[[str, int], None]
"""Called now and then: what is counted ("rows", "pages"), and how many so far."""


class FindingDocument(TypedDict):
    """One thing found: ``kind`` is a word of docs/design.md section 9; ``list`` is the title as applied.

    ``fields``: the names of those that differ, never their values.
    """

    kind: str
    key: str | None
    list: str | None
    item_id: str | None
    fields: list[str]


class DiffDocument(TypedDict):
    """What was compared and what was found; rows that wait or are parked are not judged, and counted apart."""

    sync: str
    equal: bool
    rows: int
    items: int
    waiting: int
    parked: int
    ru: int
    counts: Mapping[str, int]
    findings: list[FindingDocument]


def diff(session: Session, sync: str, stop: threading.Event, report: Report) -> DiffDocument:
    """The document; UserError when no process captures or delivers, or when ``stop`` is set meanwhile."""
    from flows import diff as comparisons

    catalog, sync_id, sessions = open_sync(session, sync, comparisons.SOURCE)
    found = comparisons.diff(session.state_dsn(), catalog, sync_id, sessions, stop, report)
    return {
        "sync": sync,
        "equal": found.equal,
        "rows": found.rows,
        "items": found.items,
        "waiting": found.waiting,
        "parked": found.parked,
        "ru": found.ru,
        "counts": dict(found.counts),
        "findings": [_document(catalog, sync_id, one) for one in found.findings],
    }


def _document(catalog: Catalog, sync: str, one: Finding) -> FindingDocument:
    titles = {ref.id: title for title, ref in catalog.lists.get(sync, {}).items()}
    return {
        "kind": one.kind.value,
        "key": one.key,
        "list": None if one.list_id is None else titles.get(one.list_id),
        "item_id": one.item_id,
        "fields": list(one.fields),
    }
