"""One row on a terminal: it fits into 80 columns, shows both values, and tells no value from a missing side."""

from datetime import UTC, datetime
from typing import Any

from control.cli.explain import lines

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONG = ("a long text " * 60).strip()


def field(name: str, **more: Any) -> dict[str, Any]:
    """A field that both sides hold alike."""
    alike = {"postgres": "x", "sharepoint": "x", "agreed": "x", "kept": None, "state": "same", "rule": "postgres_wins"}
    return {"column": name, "field": name.title(), "kind": "text", **alike, **more}


def document(*fields: dict[str, Any], **more: Any) -> Any:
    """A row at rest."""
    return {
        "sync": "tasks",
        "key": "7",
        "key_hash": "0123456789abcdef",
        "table": "public.tasks",
        "two_ways": True,
        "verdict": {"code": "in_sync", "sentence": "Row and item say the same.", "next": ""},
        "settled": True,
        "moving": False,
        "row": {"state": "there", "list": "Tasks", "problem": None},
        "item": {
            "state": "there", "list": "Tasks", "list_id": "1f0c", "item_id": "3", "version": 2,
            "rowtide_key": "tasks:7",
            "edited_by": "Ada Editor", "edited_at": NOW, "request_id": "0b7c1a3e-2c5b-4d0a-9f43-5b7e9d1c2f3a",
            "problem": None,
        },
        "pair": "live",
        "fields": list(fields),
        "to_sharepoint": {"era": 1, "lsn": "0/1A2B3C4D", "xid": 770, "item_version": 2, "at": NOW},
        "to_postgres": {
            "item_version": 2, "operation": "update", "fields": ["Name", "Note"], "era": 1, "wal_after": "0/1A2B3D00",
            "xid": 771, "problem": None,
        },
        "waits": [],
        "stands": {"wanted": "run", "activity": "idle", "health": {"code": "ok", "sentence": "Fine.", "next": ""}},
        **more,
    }  # fmt: skip


def test_everything_fits_into_80_columns() -> None:
    waits = [
        {
            "what": "hold", "state": "person", "code": "paused", "sentence": "stock taking " * 9, "since": NOW,
            "due": None, "next": "`rowtide resume tasks`",
        },
    ]  # fmt: skip
    apart = field("note", postgres=LONG, sharepoint="line\nbreak", agreed=None, state="both_changed")
    shown = lines(document(field("name"), apart, waits=waits), 80)
    assert max(map(len, shown)) <= 80
    text = "\n".join(shown)
    assert "note -> Note (text): both changed it" in text
    assert "commit 0/1A2B3C4D, transaction 770, era 1" in text
    assert "(719 characters)" in text
    assert "line\\nbreak" in text


def test_a_named_field_is_shown_whole() -> None:
    shown = lines(document(field("note", postgres=LONG, sharepoint=LONG)), 80, whole=True)
    assert max(map(len, shown)) <= 80
    assert "".join(shown).count(" long") == 60


def test_equal_values_are_shown_once_and_blanks_are_seen() -> None:
    shown = lines(document(field("name"), field("pad", postgres=" x ", sharepoint="x", kept="x")), 80)
    assert "  both           x" in shown
    assert '  PostgreSQL     " x "' in shown
    assert "  kept as        x" in shown


def test_a_side_that_is_not_there_shows_no_empty_value() -> None:
    row = {"state": "unread", "list": None, "problem": "PostgreSQL at db:5432 does not answer."}
    item = document()["item"] | {"state": "absent", "item_id": None, "version": None, "edited_by": None}
    found = document(field("name", postgres=None, sharepoint=None, state="unknown"), row=row, item=item)
    text = "\n".join(lines(found, 80))
    assert "could not be read: PostgreSQL at db:5432 does not" in text
    assert "PostgreSQL     (not read)" in text
    assert "SharePoint     (none)" in text
    assert "(empty)" not in text


def test_what_waits_says_since_when_and_what_ends_it() -> None:
    gate = {
        "what": "gate", "state": "closed", "code": "gate_closed", "sentence": "no writes", "since": None,
        "due": NOW, "next": "",
    }  # fmt: skip
    verdict = {"code": "edit_parked", "sentence": "It is set aside.", "next": "mend it"}
    text = "\n".join(lines(document(waits=[gate], verdict=verdict), 80))
    assert "gate           closed gate_closed: no writes, until 2026-11-22 12:00:00" in text
    assert "next: mend it" in text
