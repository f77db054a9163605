"""PostgreSQL as the oracle of expressions: the same text, the same rows, the same answer.

A text is written as a user writes it (few brackets, so precedence is judged too), sent to the server as it stands,
and read by `expressions.parse`; ``year``, ``month`` and ``hash`` are functions of the test's own database.
"""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.postgres import Cluster
from rowtide.expressions import predicates, syntax
from rowtide.mapping.columns import SourceColumn


class Kind(NamedTuple):
    """A column of the test's table: its type, texts of values, literals as a user writes them."""

    type_name: str
    values: tuple[str, ...]
    literals: tuple[str, ...]
    ordered: bool


_WHOLE = ("0", "1", "-1", "7", "255", "-32768", "32767")
_WHOLE_LITERALS = (*_WHOLE, "'7'", "'-1'", "7.0", "6.5", "99999999999999999999", "NULL")
_FLOATS = ("0", "0.1", "0.30000000000000004", "-2.5", "1e+20", "1e-300", "NaN", "Infinity", "-Infinity", "0.3")
_TEXTS = ("", "a", "A", "a ", " a", "it's", "back\\slash", "draft", "Ärger", "\U0001f600", "a\nb", "%_")
_TEXT_LITERALS = (*("'" + text.replace("'", "''") + "'" for text in _TEXTS), "NULL")
_DAYS = (
    "2026-01-01", "2024-02-29", "1999-12-31", "infinity", "-infinity", "0044-03-15 BC", "12026-01-01", "0001-01-01",
    "5874897-12-31",
)  # fmt: skip
_DAY_LITERALS = ("'2026-01-01'", "'2024-02-29'", "'infinity'", "'0001-01-01'", "'1999-12-31'", "NULL")
_MOMENTS = (
    "2026-01-01 00:00:00", "2026-01-01 10:00:00.5", "2026-01-01 10:00:00.500001", "1999-12-31 23:59:59.999999",
    "infinity", "-infinity", "0044-03-15 10:00:00 BC", "12026-01-01 00:00:00",
)  # fmt: skip
_MOMENT_LITERALS = (
    "'2026-01-01'", "'2026-01-01 10:00:00.5'", "'2026-01-01T10:00'", "'1999-12-31 23:59:59.999999'", "'infinity'",
    "NULL",
)  # fmt: skip
_ZONED = (*_MOMENTS, "2026-01-01 00:30:00+14", "2025-12-31 23:30:00-05")
_ZONED_LITERALS = (
    *_MOMENT_LITERALS, "'2026-01-01 10:00:00+02'", "'2026-01-01 00:30:00Z'", "'2025-12-31 23:30-05:30'",
)  # fmt: skip
_UUIDS = ("00000000-0000-0000-0000-000000000000", "123e4567-e89b-12d3-a456-426614174000")
_UUID_LITERALS = (f"'{_UUIDS[0]}'", f"'{_UUIDS[1].upper()}'", "NULL")
_BIG = "9007199254740993"
_EXACT = ("0", "0.10", "0.1", "7", "7.000", "-2.5", "NaN", "Infinity", _BIG, "1e-30")
_PADDED_LITERALS = ("'a'", "'a   '", "'ab'", "'abcd'", "'x'", "NULL")

KINDS = {
    "small": Kind("smallint", _WHOLE, _WHOLE_LITERALS, True),
    "whole": Kind("integer", (*_WHOLE, "2147483647"), _WHOLE_LITERALS, True),
    "big": Kind("bigint", (*_WHOLE, "9223372036854775807", _BIG), (*_WHOLE_LITERALS, _BIG), True),
    "exact": Kind("numeric", _EXACT, ("0.1", "7", "'7.00'", "-2.5", "1e3", "NULL"), True),
    "double": Kind("double precision", _FLOATS, ("0.1", "0.3", "-2.5", "0", "7", "'0.1'", "1e20", "NULL"), True),
    "words": Kind("text", _TEXTS, _TEXT_LITERALS, False),
    "varied": Kind("character varying(20)", _TEXTS, _TEXT_LITERALS, False),
    "padded": Kind("character(4)", ("a", "a ", "ab", "", "abcd"), _PADDED_LITERALS, False),
    "yes": Kind("boolean", ("t", "f"), ("TRUE", "FALSE", "'t'", "'false'", "NULL"), False),
    "other_yes": Kind("boolean", ("t", "f"), ("TRUE", "FALSE", "NULL"), False),
    "day": Kind("date", _DAYS, _DAY_LITERALS, True),
    "at": Kind("timestamp without time zone", _MOMENTS, _MOMENT_LITERALS, True),
    "zoned": Kind("timestamp with time zone", _ZONED, _ZONED_LITERALS, True),
    "one": Kind("uuid", _UUIDS, _UUID_LITERALS, False),
    "mood": Kind("mood", ("sad", "ok"), ("'sad'", "'ok'", "NULL"), False),
}
ROWS = 150
COLUMNS = {
    name: SourceColumn(name, kind.type_name, 0, False, type_kind="e" if name == "mood" else "b")
    for name, kind in KINDS.items()
}
_TOGETHER = (
    ("small", "whole", "big", "exact"), ("words", "varied"), ("day", "at", "zoned"), ("yes", "other_yes"),
)  # fmt: skip


# --- what is asked ---------------------------------------------------------------------------------------------------


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    """One condition without AND, OR and NOT before it."""
    form = draw(st.sampled_from(("literal", "literal", "column", "in", "between", "null", "call", "boolean")))
    name = draw(st.sampled_from(sorted(KINDS)))
    kind = KINDS[name]
    test = draw(st.sampled_from(("=", "<>", "!=", "<", "<=", ">", ">=") if kind.ordered else ("=", "<>")))
    literal = st.sampled_from(kind.literals)
    match form:
        case "literal":
            sides = [name, draw(literal)]
            return f" {test} ".join(sides if draw(st.booleans()) else sides[::-1])
        case "column":
            group = draw(st.sampled_from(_TOGETHER))
            left, right = draw(st.sampled_from(group)), draw(st.sampled_from(group))
            test = "=" if not KINDS[left].ordered and test not in ("=", "<>") else test
            return f"{left} {test} {right}"
        case "in":
            options = ", ".join(draw(st.lists(literal, min_size=1, max_size=3)))
            return f"{name} {draw(st.sampled_from(('IN', 'NOT IN')))} ({options})"
        case "between" if kind.ordered:
            return f"{name} {draw(st.sampled_from(('BETWEEN', 'NOT BETWEEN')))} {draw(literal)} AND {draw(literal)}"
        case "call":
            return draw(calls())
        case "boolean":
            return draw(st.sampled_from(("yes", "other_yes", "TRUE", "FALSE", "NULL")))
        case _:
            return f"{name} {draw(st.sampled_from(('IS NULL', 'IS NOT NULL')))}"


@st.composite
def calls(draw: st.DrawFn) -> str:
    """A comparison with a function."""
    if draw(st.booleans()):
        name = draw(st.sampled_from(("small", "whole", "big", "words", "varied", "padded", "one", "mood")))
        modulus = draw(st.sampled_from((1, 2, 8)))
        return f"hash({name}, {modulus}) = {draw(st.integers(0, modulus - 1))}"
    name = draw(st.sampled_from(("day", "at", "zoned")))
    function = draw(st.sampled_from(("year", "month")))
    test = draw(st.sampled_from(("=", "<>", "<", ">=")))
    return f"{function}({name}) {test} {draw(st.sampled_from(('1', '12', '2026', '-44', '12026')))}"


CONDITIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        inner.map(lambda text: f"NOT {text}"),
        inner.map(lambda text: f"({text})"),
        st.tuples(inner, st.sampled_from(("AND", "OR")), inner).map(" ".join),
    ),
    max_leaves=5,
)
# --- the oracle ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def oracle(pg: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A connection with pinned settings to a database that knows year, month and hash."""
    options = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex"
    with psycopg.connect(pg.create_database("expressions"), autocommit=True, options=options) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("crc32() came with PostgreSQL 18")
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        for name in ("date", "timestamp", "timestamptz"):
            for part in ("year", "month"):
                connection.execute(
                    f"CREATE FUNCTION {part}({name}) RETURNS numeric LANGUAGE sql AS 'SELECT extract({part} from $1)'"
                )
        for name in ("bigint", "text", "bpchar", "uuid", "mood"):
            connection.execute(
                f"CREATE FUNCTION hash({name}, int) RETURNS bigint LANGUAGE sql "
                "AS $$ SELECT crc32(convert_to($1::text, 'UTF8')) % $2 $$"
            )
        declared = ", ".join(f"{name} {kind.type_name}" for name, kind in KINDS.items())
        connection.execute(f"CREATE TABLE rows ({declared})")
        chance = random.Random(5)
        for _ in range(ROWS):
            row = [chance.choice((None, *kind.values, *kind.values)) for kind in KINDS.values()]
            connection.execute(f"INSERT INTO rows VALUES ({', '.join(['%s'] * len(row))})", row)
        yield connection


def ask(connection: psycopg.Connection[Any], condition: str) -> list[tuple[Any, ...]]:
    """Per row: the server's answer, then each column as its output function prints it, then as ``::text``."""
    casts = ", ".join(f"{name}::text" for name in KINDS)
    query = f"SELECT ({condition}) IS TRUE, ({condition}) IS NULL, {', '.join(KINDS)}, {casts} FROM rows ORDER BY ctid"
    result = connection.execute(query.encode()).pgresult
    assert result is not None

    def text(row: int, column: int) -> str | None:
        value = result.get_value(row, column)
        return None if value is None else value.decode()

    answers = []
    for row in range(result.ntuples):
        answer = None if text(row, 1) == "t" else text(row, 0) == "t"
        answers.append((answer, *(text(row, column) for column in range(2, result.nfields))))
    return answers


@settings(max_examples=300, deadline=None)
@given(CONDITIONS)
def test_answers_as_postgresql_does(oracle: psycopg.Connection[Any], condition: str) -> None:
    judge = predicates.compile_condition(
        syntax.parse(condition), COLUMNS, {name: place for place, name in enumerate(KINDS)}
    )
    for answer, *texts in ask(oracle, condition):
        printed, cast = texts[: len(KINDS)], texts[len(KINDS) :]
        assert judge(printed) is answer, printed
        assert judge(cast) is answer, cast


@settings(max_examples=60, deadline=None)
@given(CONDITIONS)
def test_its_sql_means_the_same(oracle: psycopg.Connection[Any], condition: str) -> None:
    rendered = syntax.to_sql(syntax.parse(condition))
    assert [answer[0] for answer in ask(oracle, rendered)] == [answer[0] for answer in ask(oracle, condition)]
