"""Expressions of a definition (``where``, ``by``): read once, then judged for every row as PostgreSQL would judge them.

In: the text of an expression, the table's columns, a row's values as PostgreSQL prints them. Out: True, False or None
(SQL's unknown) for a condition, a value for ``by``. Rule: what we cannot judge exactly as PostgreSQL does is refused
when the expression is checked; tests/property/test_expressions.py has PostgreSQL as the oracle.

The subset: columns, literals, ``= <> < <= > >= IN BETWEEN IS [NOT] NULL``, AND OR NOT, ``year(c) month(c)``
(``extract`` in UTC) and ``hash(c, n)``, which is ``crc32(convert_to(c::text, 'UTF8')) % n`` of PostgreSQL 18.
rowtide.expressions.predicates compiles an expression to closures; this file is grammar.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Final, Literal, assert_never

from rowtide.error_catalogue import definition_errors
from rowtide.errors import DefinitionError

if TYPE_CHECKING:
    from sqlglot import exp

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
HASH_MOST = 1000
"""The most lists a hash may spread over."""
MOST_CHARACTERS: Final = 65_536
MOST_BRACKETS: Final = 20
MOST_TERMS: Final = 200
"""Of an expression: its length, brackets or NOTs within each other, terms joined by AND or OR. More would need a stack
that some thread may not have, and an expression that was checked must be readable wherever it is applied."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's value."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: a number, a quoted text (whose type the other side decides), TRUE, FALSE or NULL."""

    value: int | Decimal | str | bool | None


@dataclass(frozen=True, slots=True)
class Call:
    """``year(column)``, ``month(column)``, ``hash(column, modulus)``."""

    function: Literal["year", "month", "hash"]
    column: str
    modulus: int = 0


@dataclass(frozen=True, slots=True)
class Compare:
    """``left op right``."""

    operator: Operator
    left: "Operand"
    right: "Operand"


@dataclass(frozen=True, slots=True)
class In:
    """``item IN (options)``."""

    item: "Operand"
    options: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """``item IS NULL``."""

    item: "Operand"


@dataclass(frozen=True, slots=True)
class Not:
    """``NOT item``."""

    item: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    """``left AND right``."""

    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Or:
    """``left OR right``."""

    left: "Expression"
    right: "Expression"


Operand = Column | Constant | Call
Expression = Operand | Compare | In | IsNull | Not | And | Or


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_BRACKET_OR_WORD = re.compile(r"[()]|\bnot\b|\band\b|\bor\b", re.IGNORECASE)


def _require_bounds(text: str) -> None:
    """Refuse what is too long or too deep, before anything reads it by recursion."""
    if len(text) > MOST_CHARACTERS:
        raise refusal(f"an expression has at most {MOST_CHARACTERS:,} characters")
    depth = nots = terms = 0
    for found in _BRACKET_OR_WORD.findall(_QUOTED.sub(" ", text)):
        match found.lower():
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case "not":
                nots += 1
            case _:
                terms, nots = terms + 1, 0
        if depth + nots > MOST_BRACKETS:
            raise refusal(f"at most {MOST_BRACKETS} brackets and NOTs are within each other")
        if terms >= MOST_TERMS:
            raise refusal(f"at most {MOST_TERMS} terms are joined by AND or OR; use IN for a list of values")


def refusal(sentence: str) -> DefinitionError:
    """The error for an expression that is not of the subset."""
    return definition_errors.INVALID_EXPRESSION(problem=sentence)


def parse(text: str) -> Expression:
    """The expression that a text says; DefinitionError when it is not of the subset."""
    import sqlglot  # half a second that only definitions with expressions pay
    from sqlglot.errors import SqlglotError

    _require_bounds(text)
    try:
        statements = sqlglot.parse(text, read="postgres")
        if len(statements) != 1 or statements[0] is None:
            raise refusal("an expression is one condition or one value")
        return _Reader().expression(statements[0])
    except (SqlglotError, RecursionError) as error:
        raise refusal("the expression cannot be read; is a quote, bracket or operand missing?") from error


def columns_of(expression: Expression) -> tuple[str, ...]:
    """The columns an expression reads, once each, in its order."""
    return tuple(dict.fromkeys(_columns(expression)))


def _columns(expression: Expression) -> Iterator[str]:
    match expression:
        case Column(name):
            yield name
        case Call(_, column, _):
            yield column
        case Constant():
            return
        case Compare(_, left, right) | And(left, right) | Or(left, right):
            yield from _columns(left)
            yield from _columns(right)
        case In(item, _) | IsNull(item) | Not(item):
            yield from _columns(item)
        case _:
            assert_never(expression)


class _Reader:
    """Turns sqlglot's tree into ours; a node or an argument that we do not know is refused."""

    def expression(self, node: "exp.Expr") -> Expression:
        kind = type(node).__name__
        match kind:
            case "Paren":
                return self.expression(self._only(node, "this"))
            case "And" | "Or":
                self._known(node, "this", "expression")
                left, right = self.expression(node.this), self.expression(node.expression)
                return And(left, right) if kind == "And" else Or(left, right)
            case "Not":
                return Not(self.expression(self._only(node, "this")))
            case "EQ" | "NEQ" | "LT" | "LTE" | "GT" | "GTE":
                self._known(node, "this", "expression")
                return Compare(_OPERATORS[kind], self.operand(node.this), self.operand(node.expression))
            case "In":
                return self._in(node)
            case "Between":
                self._known(node, "this", "low", "high")
                item = self.operand(node.this)
                low, high = self.operand(node.args["low"]), self.operand(node.args["high"])
                return And(Compare(">=", item, low), Compare("<=", item, high))
            case "Is":
                return self._is(node)
            case _:
                return self.operand(node)

    def operand(self, node: "exp.Expr") -> Operand:
        kind = type(node).__name__
        match kind:
            case "Paren":
                return self.operand(self._only(node, "this"))
            case "Column":
                return Column(self._column(node))
            case "Literal":
                return Constant(node.this if node.is_string else _number(str(node.this)))
            case "Neg":
                value = self.operand(self._only(node, "this"))
                if isinstance(value, Constant) and isinstance(value.value, int | Decimal) and value.value is not True:
                    return Constant(-value.value)
                raise refusal("a minus sign goes before a number only")
            case "Boolean":
                return Constant(bool(node.this))
            case "Null":
                return Constant(None)
            case "Year" | "Month":
                return Call("year" if kind == "Year" else "month", self._column(self._only(node, "this")))
            case "Anonymous":
                return self._hash(node)
            case _:
                raise refusal(
                    f"{_named(kind)} is not among what an expression may use: columns, literals, = <> < <= > >=, IN, "
                    "BETWEEN, IS NULL, AND, OR, NOT, year(), month(), hash()"
                )

    def _in(self, node: "exp.Expr") -> Expression:
        self._known(node, "this", "expressions")
        options = [self.operand(option) for option in node.expressions]
        if not options or not all(isinstance(option, Constant) for option in options):
            raise refusal("IN needs a list of literals")
        constants = tuple(option for option in options if isinstance(option, Constant))
        return In(self.operand(node.this), constants)

    def _is(self, node: "exp.Expr") -> Expression:
        self._known(node, "this", "expression", "negate")
        if type(node.expression).__name__ != "Null":
            raise refusal("IS goes with NULL and NOT NULL only")
        found = IsNull(self.operand(node.this))
        return Not(found) if node.args.get("negate") else found

    def _hash(self, node: "exp.Expr") -> Call:
        self._known(node, "this", "expressions")
        if str(node.this).lower() != "hash":
            raise refusal(f"the function {node.this} is not available; there are year(), month() and hash()")
        match [self.operand(argument) for argument in node.expressions]:
            case [Column(name), Constant(int(modulus))] if 1 <= modulus <= HASH_MOST and modulus is not True:
                return Call("hash", name, modulus)
            case _:
                raise refusal(f"hash takes a column and a whole number from 1 to {HASH_MOST}")

    def _column(self, node: "exp.Expr") -> str:
        if type(node).__name__ == "Paren":
            return self._column(self._only(node, "this"))
        if type(node).__name__ != "Column":
            raise refusal("year(), month() and hash() take a column")
        identifier = self._only(node, "this")
        if type(identifier).__name__ != "Identifier":
            raise refusal("* is not a column")
        name = str(identifier.this)
        return name if identifier.args.get("quoted") else name.translate(_ASCII_LOWER)

    def _only(self, node: "exp.Expr", argument: str) -> "exp.Expr":
        self._known(node, argument)
        found: exp.Expr = node.args[argument]
        return found

    def _known(self, node: "exp.Expr", *arguments: str) -> None:
        if any(value not in (None, False, []) and name not in arguments for name, value in node.args.items()):
            raise refusal("columns go without their table, and operators without modifiers")


# PostgreSQL folds the case of ASCII letters only.
_ASCII_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_OPERATORS: Mapping[str, Operator] = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}


def _named(kind: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).upper()


def _number(text: str) -> int | Decimal:
    if re.fullmatch(r"\d{1,100}", text):
        return int(text)
    if re.fullmatch(r"(\d{1,100}(\.\d{0,100})?|\.\d{1,100})([eE][+-]?\d{1,3})?", text):
        return Decimal(text)
    raise refusal("a number is written such as 5, -5 or 2.5")


def to_sql(expression: Expression) -> str:
    """The expression as PostgreSQL reads it, fully quoted and bracketed; ``hash`` needs PostgreSQL 18."""
    match expression:
        case Column(name):
            return _quoted(name)
        case Constant(value):
            return _constant_sql(value)
        case Call("hash", column, modulus):
            return f"(crc32(convert_to({_quoted(column)}::text, 'UTF8')) % {modulus})"
        case Call(function, column, _):
            return f"extract({function} from {_quoted(column)})"
        case Compare(operator, left, right):
            return f"({to_sql(left)} {operator} {to_sql(right)})"
        case In(item, options):
            return f"({to_sql(item)} IN ({', '.join(to_sql(option) for option in options)}))"
        case IsNull(item):
            return f"({to_sql(item)} IS NULL)"
        case Not(item):
            return f"(NOT {to_sql(item)})"
        case And(left, right):
            return f"({to_sql(left)} AND {to_sql(right)})"
        case Or(left, right):
            return f"({to_sql(left)} OR {to_sql(right)})"
        case _:
            assert_never(expression)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _constant_sql(value: int | Decimal | str | bool | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else f"({value})"
