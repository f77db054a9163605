"""Expressions compiled for a table: typed against its columns, then closures over a row's texts.

In: an `Expression`, the table's `SourceColumn`s, the index of each column in a row. Out: functions from a row (texts as
PostgreSQL prints them, None for NULL) to True, False, None, or to the text of a value. Rule: whatever we could
not judge exactly as PostgreSQL is a DefinitionError here, so that judging a row never fails. Every streamed row is
judged, hence closures and no dispatch.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import assert_never
from zlib import crc32

from rowtide.definition.diagnostics import did_you_mean
from rowtide.expressions import pg_comparison
from rowtide.expressions.pg_comparison import Read, Row, Value
from rowtide.expressions.syntax import (
    And,
    Call,
    Column,
    Compare,
    Constant,
    Expression,
    In,
    IsNull,
    Not,
    Operand,
    Operator,
    Or,
    refusal,
)
from rowtide.mapping.columns import Family, SourceColumn

Test = Callable[..., bool]
Judge = Callable[[Row], bool | None]

_ORDERED: frozenset[Family] = frozenset({"integer", "numeric", "float8", "date", "timestamp", "timestamptz"})
_COMPARED: frozenset[Family] = _ORDERED | {"boolean", "text", "blank_padded", "uuid", "enum"}
_LISTED: frozenset[Family] = frozenset({"integer", "text", "blank_padded", "boolean", "enum", "uuid", "date"})
_HASHED: frozenset[Family] = frozenset({"integer", "text", "blank_padded", "enum", "uuid"})
# Text and blank-padded text do not compare: PostgreSQL's text types differ in whether blanks count.
_MIXED: tuple[frozenset[Family], ...] = (
    frozenset({"integer", "numeric"}),
    frozenset({"date", "timestamp", "timestamptz"}),
)
# operator's own types ask for two values of one ordered type: `_compare` has seen to it.
_TESTS: Mapping[Operator, Callable[..., bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def check(expression: Expression, columns: Mapping[str, SourceColumn], *, condition: bool) -> None:
    """DefinitionError when the columns do not carry the expression as a condition (or as a value that names lists)."""
    index = {name: place for place, name in enumerate(columns)}
    if condition:
        compile_condition(expression, columns, index)
    else:
        compile_text(expression, columns, index)


def evaluate(expression: Expression, columns: Mapping[str, SourceColumn], row: Mapping[str, str | None]) -> bool | None:
    """What a condition says of one row (column -> text); three-valued."""
    names = list(columns)
    judge = compile_condition(expression, columns, {name: place for place, name in enumerate(names)})
    return judge([row[name] for name in names])


def compile_condition(expression: Expression, columns: Mapping[str, SourceColumn], index: Mapping[str, int]) -> Judge:
    """The function from a row, each column at its ``index``, to what the condition says of it."""
    return _Compiler(columns, index).condition(expression)


def compile_text(
    expression: Expression, columns: Mapping[str, SourceColumn], index: Mapping[str, int]
) -> Callable[[Row], str | None]:
    """The function from a row to the text of a value: a column's (as ``::text``) or a call's number."""
    return _Compiler(columns, index).text(expression)


class _Compiler:
    """Builds closures for one table and one order of columns."""

    def __init__(self, columns: Mapping[str, SourceColumn], index: Mapping[str, int]) -> None:
        self._columns = columns
        self._index = index

    def condition(self, expression: Expression) -> Judge:
        match expression:
            case Compare(test, left, right):
                return self._compare(test, left, right)
            case In(item, options):
                return _any_of([self._compare("=", item, option) for option in options])
            case IsNull(item):
                place = self._place(item)
                return lambda row: row[place] is None
            case Not(item):
                return _negation(self.condition(item))
            case And(left, right):
                return _all_of([self.condition(left), self.condition(right)])
            case Or(left, right):
                return _any_of([self.condition(left), self.condition(right)])
            case Constant(value) if value is None or isinstance(value, bool):
                return lambda _row: value
            case Column(name) if self._column(name).family == "boolean":
                return self._compare("=", expression, Constant(True))
            case Column() | Constant() | Call():
                raise refusal("a condition is needed: a value alone says neither yes nor no")
            case _:
                assert_never(expression)

    def text(self, expression: Expression) -> Callable[[Row], str | None]:
        match expression:
            case Column(name):
                column = self._column(name)
                if column.family not in _LISTED:
                    raise refusal(f"{name} is {column.type_name}; lists are named by integers, text, booleans or dates")
                return pg_comparison.plain_text(column.family, self._index[name])
            case Call():
                read = self._call(expression)[1]
                return lambda row: None if (value := read(row)) is None else str(value)
            case _:
                raise refusal("a value is needed: a column, year(), month() or hash()")

    def _column(self, name: str) -> SourceColumn:
        found = self._columns.get(name)
        if found is None:
            raise refusal(f"there is no column '{name}'{did_you_mean(name, self._columns)}")
        return found

    def _place(self, item: Operand) -> int:
        match item:
            case Column(name):
                self._column(name)
                return self._index[name]
            case _:
                raise refusal("IS NULL asks about a column")

    def _compare(self, test: Operator, left: Operand, right: Operand) -> Judge:
        if isinstance(left, Constant):
            left, right, test = right, left, _mirrored(test)
        if isinstance(left, Constant):
            raise refusal("a comparison needs a column")
        family, read, named = self._operand(left)
        if test not in ("=", "<>") and family not in _ORDERED:
            raise refusal(f"{named}: order comparison is only for numbers, dates and timestamps")
        if isinstance(right, Constant):
            return _against_constant(_TESTS[test], read, _typed(right.value, family, named))
        other_family, other_read, other_named = self._operand(right)
        if family != other_family and not any({family, other_family} <= group for group in _MIXED):
            raise refusal(f"{named} and {other_named} are of types that are not compared")
        if family == "enum" and named.partition(" ")[2] != other_named.partition(" ")[2]:
            raise refusal(f"{named} and {other_named} are of types that are not compared")
        return _against_other(_TESTS[test], read, other_read)

    def _operand(self, item: Column | Call) -> tuple[Family, Read, str]:
        if isinstance(item, Call):
            family, read = self._call(item)
            return family, read, f"{item.function}()"
        column = self._column(item.name)
        named = f"{item.name} ({column.type_name})"
        if column.family not in _COMPARED or not column.deterministic:
            raise refusal(f"{named}: this type is not compared; IS NULL is all that can be asked of it")
        return column.family, pg_comparison.reader(column.family, self._index[item.name]), named

    def _call(self, call: Call) -> tuple[Family, Read]:
        column = self._column(call.column)
        place = self._index[call.column]
        if call.function == "hash":
            if column.family not in _HASHED:
                raise refusal(f"hash() takes integers, text or uuid; {column.name} is {column.type_name}")
            text, modulus = pg_comparison.plain_text(column.family, place), call.modulus
            return "integer", lambda row: None if (value := text(row)) is None else crc32(value.encode()) % modulus
        if column.family not in ("date", "timestamp", "timestamptz"):
            raise refusal(f"{call.function}() takes a date or timestamp; {column.name} is {column.type_name}")
        part = pg_comparison.year_of if call.function == "year" else pg_comparison.month_of
        return "numeric", lambda row: None if (value := row[place]) is None else part(pg_comparison.moment(value))


def _typed(value: int | Decimal | str | bool | None, family: Family, named: str) -> Value:
    """A literal as a value of the other side's family."""
    if value is None:
        return None
    found = pg_comparison.constant(value, family)
    if found is None:
        raise refusal(f"{named}: it is compared with a literal of another type, or one that is not written plainly")
    return found


def _mirrored(test: Operator) -> Operator:
    match test:
        case "<":
            return ">"
        case "<=":
            return ">="
        case ">":
            return "<"
        case ">=":
            return "<="
        case _:
            return test


def _against_constant(test: Test, read: Read, constant: Value) -> Judge:
    if constant is None:
        return lambda _row: None
    return lambda row: None if (value := read(row)) is None else test(value, constant)


def _against_other(test: Test, read: Read, other: Read) -> Judge:
    def judge(row: Row) -> bool | None:
        left, right = read(row), other(row)
        return None if left is None or right is None else test(left, right)

    return judge


def _negation(item: Judge) -> Judge:
    return lambda row: None if (value := item(row)) is None else not value


def _all_of(parts: Sequence[Judge]) -> Judge:
    def judge(row: Row) -> bool | None:
        result: bool | None = True
        for part in parts:
            value = part(row)
            if value is False:
                return False
            if value is None:
                result = None
        return result

    return judge


def _any_of(parts: Sequence[Judge]) -> Judge:
    def judge(row: Row) -> bool | None:
        result: bool | None = False
        for part in parts:
            value = part(row)
            if value is True:
                return True
            if value is None:
                result = None
        return result

    return judge
