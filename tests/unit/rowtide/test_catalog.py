"""What apply stored is what a running flow works with."""

import json
from dataclasses import replace

import pytest

from rowtide import catalog as catalogs
from rowtide.catalog import Catalog, ListRef
from rowtide.connections import tenants_of
from rowtide.definition import model as definitions
from rowtide.lists import KnownList, LeftList, ListState
from rowtide.mapping.columns import SourceColumn

COLUMNS = (
    SourceColumn("id", "bigint", 20, True, 1),
    SourceColumn("mood", "mood", 4711, False, type_kind="e", enum_labels=("sad", "ok")),
)

LEFT = {"orders": [LeftList("l3", "s2", gone=False), LeftList("l4", "s2", gone=True)]}


def applied(first: str = "l1") -> Catalog:
    """A catalog that went through JSON, as the database keeps it; ``first``: the id of its first list."""
    target = {"graph": "contoso", "site": "contoso.sharepoint.com"}
    definition = definitions.parse(
        {
            "version": 1,
            "state": {"dsn": "env:STATE"},
            "postgres": {"erp": {"dsn": "env:ERP"}},
            "graph": {"contoso": {"tenant_id": "t", "client_id": "c", "credential": {"client_secret": "env:S"}}},
            "syncs": {
                name: {
                    "source": {"postgres": "erp", "table": "public.orders"},
                    "target": target,
                    "lists": {"by": "mood", "map": {"ok": f"{name} ok", "sad": f"{name} sad"}},
                    "fields": {"mood": "Title"},
                }
                for name in ("orders", "again")
            },
        }
    )
    lists = {"orders": {"orders ok": ListRef(first, "s1", "contoso"), "orders sad": ListRef("l2", "s1", "contoso")}}
    compiled = catalogs.to_compiled(
        definition, tenants_of(definition), {"orders": COLUMNS, "again": COLUMNS}, lists, LEFT
    )
    return Catalog.from_applied(3, json.loads(json.dumps(compiled)))


def test_it_survives_json() -> None:
    catalog = applied()
    sync = catalog.syncs["orders"]
    assert (catalog.version, catalog.definition.slot("erp")) == (3, "rowtide_erp")
    assert tuple(sync.columns.values()) == COLUMNS
    assert (sync.buckets, sync.titles, sync.postgres) == (64, ("orders ok", "orders sad"), "erp")


def test_relations_have_their_syncs() -> None:
    catalog = applied()
    assert [sync.sync for sync in catalog.by_relation("public", "orders")] == ["orders", "again"]
    assert catalog.by_relation("public", "customers") == ()


def test_lists_are_found_by_title_and_sites_by_list() -> None:
    catalog = applied()
    assert catalog.list_id("orders", "orders sad") == "l2"
    assert catalog.list_id("orders", "elsewhere") is None
    assert catalog.list_id("again", "again ok") is None
    assert [ref.id for ref in catalog.lists_of("orders")] == ["l1", "l2"]
    assert catalog.site_of("l1") == "s1"
    with pytest.raises(KeyError):
        catalog.site_of("l9")


def test_lists_that_rows_leave_are_found_until_they_are_gone() -> None:
    catalog = applied()
    assert (catalog.site_of("l3"), catalog.site_of("l4")) == ("s2", None)
    assert [ref.id for ref in catalog.lists_of("orders")] == ["l1", "l2"]


def test_another_list_is_another_mapping() -> None:
    """Rows are then read and compared anew, and those of the sync whose lists are the same are not."""
    before, after = applied("l1").syncs, applied("l9").syncs
    assert before["orders"].version != after["orders"].version
    assert before["again"].version == after["again"].version


def test_a_column_made_anew_is_another_one() -> None:
    """One that was not known before is not: its values were never agreed on."""
    before = KnownList("l1", "s1", "orders", (), "Orders", ListState.APPLIED, {"Title": "c1", "Mood": "c2"})
    after = replace(before, columns={"Title": "c1", "Mood": "c9", "Size": "c3"})
    assert after.emptied_since(before) == ["Mood"]
    assert after.emptied_since(after) == []
