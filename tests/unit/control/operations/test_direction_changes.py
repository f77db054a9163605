"""A plan says what follows when a sync begins to go both ways, or ceases to."""

import copy
from typing import Any

from control.operations.direction_changes import direction_changes
from rowtide.definition.model import Document, SyncDefinition

SYNC: dict[str, Any] = {
    "source": {"postgres": "erp", "table": "public.orders"},
    "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
    "list": "Orders",
    "fields": {"note": "Title"},
}


def document(**directions: str) -> Document:
    syncs = {}
    for name, direction in directions.items():
        pushes = SyncDefinition.model_validate(copy.deepcopy(SYNC))
        syncs[name] = pushes.model_copy(update={"direction": direction})
    return Document.model_construct(version=1, postgres={}, graph={}, syncs=syncs)


def test_what_stays_as_it_is_is_not_mentioned() -> None:
    assert direction_changes(None, document(orders="push")) == []
    assert direction_changes(document(orders="both"), document(orders="both")) == []


def test_a_sync_that_begins_to_go_both_ways_reads_its_lists() -> None:
    for old in (None, document(orders="push"), document(others="both")):
        [said] = direction_changes(old, document(orders="both"))
        assert said.startswith("sync orders goes both ways: its lists are read whole once")


def test_a_sync_that_begins_to_match_says_that_nothing_is_written_before() -> None:
    plain, matching = document(orders="push"), document(orders="push")
    matching.syncs["orders"] = matching.syncs["orders"].model_copy(update={"match": ("note",)})
    for old in (None, plain):
        [said] = direction_changes(old, matching)
        assert "are paired by note first" in said
    assert direction_changes(matching, matching) == []


def test_a_sync_that_ceases_to_forgets_what_waits() -> None:
    [said] = direction_changes(document(orders="both"), document(orders="push"))
    assert said.startswith("sync orders goes one way from now on: edits that wait to reach PostgreSQL are forgotten")
