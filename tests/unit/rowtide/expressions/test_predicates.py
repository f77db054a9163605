"""What an expression may say; that it means what PostgreSQL means is the property test's."""

import pytest

from rowtide.errors import DefinitionError
from rowtide.expressions import predicates, syntax
from rowtide.expressions.syntax import And, Call, Column, Compare, Constant, In, IsNull, Not, Or
from rowtide.mapping.columns import SourceColumn

COLUMNS = {
    name: SourceColumn(name, type_name, 0, False)
    for name, type_name in {
        "id": "bigint",
        "status": "text",
        "amount": "numeric",
        "ratio": "double precision",
        "small": "real",
        "paid": "boolean",
        "placed_at": "timestamp with time zone",
        "day": "date",
        "doc": "jsonb",
        "key": "uuid",
        "Mixed": "text",
        "raw": "bytea",
        "took": "interval",
    }.items()
}


def test_precedence_is_sqls() -> None:
    assert syntax.parse("NOT a = 1 OR b IS NOT NULL AND c IN ('x')") == Or(
        Not(Compare("=", Column("a"), Constant(1))),
        And(Not(IsNull(Column("b"))), In(Column("c"), (Constant("x"),))),
    )


def test_names_fold_as_postgresql_folds_them() -> None:
    assert syntax.columns_of(syntax.parse("Status = 'x' AND \"Mixed\" = 'y' AND hash(ID, 4) = 1")) == (
        "status",
        "Mixed",
        "id",
    )
    assert syntax.parse("hash(id, 8)") == Call("hash", "id", 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a =",
        "a; b",
        "a = 'x",
        "lower(a) = 'x'",
        "a LIKE 'x'",
        "a + 1 = 2",
        "t.a = 1",
        "a IS TRUE",
        "*",
        "a = :x",
        "a IN (SELECT 1)",
        "a IN ()",
        "a IN (b)",
        "a BETWEEN SYMMETRIC 1 AND 2",
        "a IS DISTINCT FROM b",
        "a::text = 'x'",
        "a = date '2026-01-01'",
        "a = E'x'",
        "a = 0x1F",
        "a = 1_000",
        "hash(a)",
        "hash(a, 0)",
        "hash(a, 1001)",
        "hash(1, 2)",
        "year(1)",
        "a = current_date",
        "a = $1",
        "a = -'x'",
        "(a, b) = (1, 2)",
        "CASE WHEN a THEN b END",
        "a = b = c",
        "(" * 5000,
    ],
)
def test_what_is_not_of_the_subset_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError):
        syntax.parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("statsu = 'x'", "did you mean 'status'?"),
        ("status < 'x'", "order comparison is only for"),
        ("key > '00000000-0000-0000-0000-000000000000'", "order comparison"),
        ("paid < TRUE", "order comparison"),
        ("doc = '{}'", "this type is not compared"),
        ("raw = 'x'", "not compared"),
        ("took = '1 day'", "not compared"),
        ("small = 0.1", "not compared"),
        ("status = 5", "literal of another type"),
        ("id = 'five'", "literal of another"),
        ("id = '1.5'", "literal of another"),
        ("day = '2026-02-30'", "literal"),
        ("day = '1 January 2026'", "literal"),
        ("day = '2026-01-01 10:00'", "literal"),
        ("placed_at = 'yesterday'", "literal"),
        ("key = '{x}'", "literal"),
        ("ratio = 1e999", "literal"),
        ("paid = 'yes'", "literal"),
        ("paid = 1", "literal"),
        ("status", "a condition is needed"),
        ("5", "a condition is needed"),
        ("1 = 1", "a comparison needs a column"),
        ("status = id", "are not compared"),
        ("ratio = amount", "are not compared"),
        ("year(status) = 1", "takes a date"),
        ("hash(doc, 2) = 1", "hash() takes"),
        ("amount = 'NaN'", "literal"),
        ("hash(id, 2) IS NULL", "asks about a column"),
    ],
)
def test_what_postgresql_might_judge_otherwise_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        predicates.check(syntax.parse(text), COLUMNS, condition=True)
    assert sentence in refused.value.sentence


def test_a_column_with_a_nondeterministic_collation_is_not_compared() -> None:
    columns = {"c": SourceColumn("c", "text", 25, False, deterministic=False)}
    with pytest.raises(DefinitionError, match="not compared"):
        predicates.check(syntax.parse("c = 'x'"), columns, condition=True)
    predicates.check(syntax.parse("c IS NULL"), columns, condition=True)


@pytest.mark.parametrize(
    ("text", "row", "answer"),
    [
        ("status <> 'draft'", {"status": "open"}, True),
        ("status <> 'draft'", {"status": None}, None),
        ("status <> 'draft' OR paid", {"status": None, "paid": "t"}, True),
        ("status = 'a' AND paid", {"status": None, "paid": "f"}, False),
        ("NOT paid", {"paid": None}, None),
        ("id BETWEEN 1 AND 3", {"id": "3"}, True),
        ("id NOT IN (1, NULL)", {"id": "2"}, None),
    ],
)
def test_three_valued(text: str, row: dict[str, str | None], answer: bool | None) -> None:
    assert predicates.evaluate(syntax.parse(text), COLUMNS, {**dict.fromkeys(COLUMNS), **row}) is answer


@pytest.mark.parametrize(
    ("text", "row", "value"),
    [
        ("id", {"id": "7"}, "7"),
        ("paid", {"paid": "t"}, "true"),
        ("month(placed_at)", {"placed_at": "2026-03-01 00:00:00+00"}, "3"),
        ("year(day)", {"day": "2026-03-01"}, "2026"),
        ("hash(status, 8)", {"status": "x"}, "3"),
        ("hash(status, 8)", {}, None),
        ("status", {}, None),
        ("day", {"day": "2026-03-01"}, "2026-03-01"),
    ],
)
def test_values_that_name_lists(text: str, row: dict[str, str | None], value: str | None) -> None:
    names = list(COLUMNS)
    read = predicates.compile_text(syntax.parse(text), COLUMNS, {name: place for place, name in enumerate(names)})
    assert read([row.get(name) for name in names]) == value


def test_what_has_no_plain_text_names_no_lists() -> None:
    for text in ("amount", "doc", "status = 'x'", "5"):
        with pytest.raises(DefinitionError):
            predicates.check(syntax.parse(text), COLUMNS, condition=False)


LARGEST = "(" * 20 + " AND ".join(["id = 1"] * 200) + ")" * 20


def below(frames: int, text: str) -> bool | None:
    """What the expression says of a row, asked from so deep in the stack."""
    if frames:
        return below(frames - 1, text)
    found = syntax.parse(text)
    assert syntax.to_sql(found)
    assert syntax.columns_of(found) == ("id",)
    return predicates.evaluate(found, {"id": COLUMNS["id"]}, {"id": "1"})


@pytest.mark.parametrize("text", [LARGEST, "NOT " * 20 + "id = 1", "id IN (" + ", ".join(["1"] * 9_000) + ")"])
def test_the_largest_expression_is_read_wherever_it_is_applied(text: str) -> None:
    assert below(250, text) is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(" * 21 + "id = 1" + ")" * 21, "at most 20 brackets and NOTs are within each other"),
        ("NOT " * 21 + "id = 1", "at most 20 brackets and NOTs are within each other"),
        ("(" * 100_000, "at most 65,536 characters"),
        ("(" * 60_000, "at most 20 brackets"),
        (" AND ".join(["id = 1"] * 201), "at most 200 terms are joined by AND or OR"),
        ("id = '" + "x" * 65_536 + "'", "at most 65,536 characters"),
    ],
)
def test_an_expression_has_bounds(text: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        syntax.parse(text)


def test_brackets_in_quotes_are_none() -> None:
    text = "status = '" + "(" * 30 + " and ''not'' " * 300 + "'"
    assert predicates.evaluate(syntax.parse(text), COLUMNS, dict.fromkeys(COLUMNS, None)) is None
