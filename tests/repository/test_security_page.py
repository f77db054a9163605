"""docs/security.md names every record that holds values of rows, and every column of it that does."""

import re
from pathlib import Path

import pytest

from state import roles

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
RECORDS = {
    cells[1].strip(" `"): cells[2]
    for cells in (line.split("|") for line in PAGE.partition("## Values of rows")[2].splitlines())
    if len(cells) == 5
}


@pytest.mark.parametrize(
    ("table", "column"), [(one, column) for one in roles.VALUES for column in sorted(roles.VALUES[one])]
)
def test_each_column_with_values_of_rows_is_named(table: str, column: str) -> None:
    assert f"`{column}`" in RECORDS[table]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))))
def test_what_it_refers_to_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
