"""Text formats written by hand: COPY lines and array literals."""

import psycopg
import pytest

from rowtide.change import BULK, Change, ChangeBatch
from state.outbox import staging_sql
from state.pg_array import text_array


@pytest.mark.parametrize(
    ("texts", "literal"),
    [
        ([], "{}"),
        (["a"], '{"a"}'),
        (["a", "b,c", "", "NULL", "{}"], '{"a","b,c","","NULL","{}"}'),
        (['q"', "b\\"], '{"q\\"","b\\\\"}'),
        (['a","b'], '{"a\\",\\"b"}'),
    ],
)
def test_array_literals(texts: list[str], literal: str) -> None:
    assert text_array(texts) == literal


def line_of(change: Change) -> list[str]:
    [line] = staging_sql._copy_lines(ChangeBatch("orders", 3, 1, [change]))
    assert line.endswith("\n")
    return line[:-1].split("\t")


def test_an_upsert_as_a_line_of_copy() -> None:
    change = Change("a\tb", "u", "Orders\\EU", {"T": 'x"\\\n'}, True, 16, 2, 9, 1_500_000, BULK)
    assert line_of(change) == [
        "a\\tb", "u", "Orders\\\\EU", '{"T":"x\\\\"\\\\\\\\\\\\n"}', "t", "16", "2", "9",
        "1970-01-01T00:00:01.500000+00:00", "2", "\\N", "\\N", "orders", "3", "1",
    ]  # fmt: skip


def test_a_parked_upsert_is_a_refresh_without_fields() -> None:
    change = Change("1", "u", "L", {"T": "x"}, True, 16, 2, 9, 0, BULK, ("code", "It is\ttoo long."))
    line = line_of(change)
    assert line[1:5] == ["r", "\\N", "\\N", "f"]
    assert line[10:12] == ["code", "It is\\ttoo long."]


def test_a_nul_is_refused_and_its_name_is_not() -> None:
    with pytest.raises(psycopg.DataError):
        line_of(Change("1", "u", "L", {"T": "a\0b"}, False, 16, 2, 9, 0, BULK))
    assert line_of(Change("1", "u", "L", {"T": "\\u0000"}, False, 16, 2, 9, 0, BULK))[3] == '{"T":"\\\\\\\\u0000"}'
