"""What happened to one field since both sides last agreed on it."""

import pytest

from rowtide.change import JsonValue
from rowtide.deciding.sides import Base, FieldChange, changes
from tests.unit.rowtide.deciding.rows import Mapped

NONE, ROW, ITEM, SAME, DIFFERING = FieldChange


@pytest.mark.parametrize(
    ("row", "item", "found"),
    [
        ("1", "1", NONE),
        ("2", "1", ROW),
        ("1", "2", ITEM),
        ("2", "2", SAME),
        ("2", "3", DIFFERING),
        # Blanks at the end: to SharePoint they are not there, so neither side has changed anything.
        ("1 ", "1", NONE),
        ("1", "1 ", NONE),
        ("1 ", "2", ITEM),
    ],
)
def test_with_a_base(row: JsonValue, item: JsonValue, found: FieldChange) -> None:
    assert changes(Base({"a": "1"}), {"a": row}, {"a": item}, Mapped()) == {"a": found}


@pytest.mark.parametrize(("item", "found"), [("kept", NONE), ("1", NONE), ("2", ITEM)])
def test_what_sharepoint_keeps_otherwise_is_no_edit(item: JsonValue, found: FieldChange) -> None:
    assert changes(Base({"a": "1"}, {"a": "kept"}), {"a": "1"}, {"a": item}, Mapped()) == {"a": found}


@pytest.mark.parametrize(
    ("row", "item", "found"), [("1", "1", SAME), ("1", None, ROW), (None, "1", ITEM), ("1", "2", DIFFERING)]
)
def test_without_a_base(row: JsonValue, item: JsonValue, found: FieldChange) -> None:
    assert changes(Base(), {"a": row}, {"a": item}, Mapped()) == {"a": found}
