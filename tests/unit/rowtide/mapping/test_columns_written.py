"""Which columns of a table a sync that goes both ways writes."""

import pytest

from rowtide.definition import model
from rowtide.mapping.columns_written import ColumnsWritten


def written(**more: object) -> ColumnsWritten:
    sync = {
        "source": {"postgres": "erp", "table": "public.orders"},
        "target": {"graph": "c", "site": "c.sharepoint.com"},
        "fields": {"name": "Title"},
        **({} if "lists" in more else {"list": "Orders"}),
        **more,
    }
    return ColumnsWritten().and_those_of(model.SyncDefinition.model_validate(sync))


def test_mapped_columns_are_written_and_those_of_where_read() -> None:
    found = written(where="status <> 'draft'")
    assert found == ColumnsWritten(frozenset({"name"}), frozenset({"status"}), frozenset(), True, True)


def test_a_key_that_is_named_stands_in_the_place_of_the_primary_key() -> None:
    found = written(source={"postgres": "erp", "table": "public.orders", "key": ["code"]})
    assert (found.key, found.with_primary_key) == (frozenset({"code"}), False)


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        ({"by": "region", "map": {"EU": "Europe"}}, {"name", "region"}),
        ({"by": "hash(id, 8)", "name": "Orders {}"}, {"name"}),
    ],
)
def test_the_column_by_which_an_item_moves_is_written_where_a_list_means_a_value(
    lists: object, names: set[str]
) -> None:
    found = written(lists=lists)
    assert found.names == names
    assert found.read in ({"region"}, {"id"})


def test_rights_of_two_syncs_of_a_table_add_up() -> None:
    one = ColumnsWritten(frozenset({"a"}), frozenset({"b"}), frozenset({"c"}), False, False)
    definition = model.SyncDefinition.model_validate(
        {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "c", "site": "c.sharepoint.com"},
            "fields": {"name": "Title"},
            "list": "Orders",
        }
    )
    both = one.and_those_of(definition)
    assert both == ColumnsWritten(frozenset({"a", "name"}), frozenset({"b"}), frozenset({"c"}), True, True)
