"""`$filter`: reads the expressions that lists understand, and tests values against them.

In: the text of a filter. Out: `Filter`: a test, the fields it names, and the conditions every match fulfils. Rules:
comparisons with eq ne gt ge lt le, startswith, and, or, not, parentheses; text compares without case and surrounding
blanks, as SharePoint's sort order does; an empty field equals null only; a filter of more than a hundred nodes is
refused, as OData services do, so neither depth nor length can exhaust anything.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from graphsim.http.errors import GraphError
from graphsim.http.odata import bad_request
from graphsim.lists.dates import to_kept_date, to_moment
from graphsim.lists.value_index import to_index_key

Test = Callable[[Mapping[str, Any]], bool]
Resolve = Callable[[str], str]
Read = Callable[[str, Any], Any]
_NODES = 100
# More than a filter of a hundred nodes can have: the text is not read to its end for nothing.
_TOKENS = 1000
_TOKEN = re.compile(r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<mark>[(),])|(?P<word>[^\s(),']+))")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{5,16}(Z|[+-][0-9]{2}:[0-9]{2}))?")
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}
_COMPARISONS = frozenset({"eq", "ne", *_ORDERINGS})


@dataclass(frozen=True, slots=True)
class Condition:
    """`field operator value`; the operator is one of eq ne gt ge lt le startswith."""

    field: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Filter:
    """`conditions` hold for every match, in the order written; what stands below `or` and `not` is not among them."""

    test: Test
    fields: frozenset[str]
    conditions: tuple[Condition, ...]


def parse_filter(text: str, resolve: Resolve, read: Read) -> Filter:
    """The filter a text says; GraphError 400 when it cannot be read.

    `resolve` gives the field that a path names, `read` what a literal stands for beside that field.
    """
    tokens = _split(text)
    parser = _FilterParser(tokens, resolve, read)
    found = parser.either()
    if parser.peek() is not None:
        raise bad_filter(f"Syntax error: unexpected '{parser.peek()}'")
    return found


def bad_filter(what: str) -> GraphError:
    """400 for a filter that cannot be read or names what is not there."""
    return bad_request(f"Invalid filter clause: {what}")


def _too_many_nodes() -> GraphError:
    return bad_filter(f"The node count limit of '{_NODES}' has been exceeded.")


def _split(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise bad_filter(f"Syntax error at position {at} in '{text[:200]}'.")
        tokens.append(match.group(match.lastgroup or 0).strip())
        at = match.end()
        if len(tokens) > _TOKENS:
            raise _too_many_nodes()
    return tokens


class _FilterParser:
    def __init__(self, tokens: list[str], resolve: Resolve, read: Read) -> None:
        self._tokens = tokens
        self._resolve = resolve
        self._read = read
        self._at = 0
        self._nodes = 0

    def peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise bad_filter("Syntax error: it ends too early.")
        self._at += 1
        return token

    def expect(self, token: str) -> None:
        found = self.take()
        if found != token:
            raise bad_filter(f"Syntax error: expected '{token}', not '{found}'.")

    def count(self, nodes: int) -> None:
        """OData counts a comparison as three nodes: the operator and its two sides."""
        self._nodes += nodes
        if self._nodes > _NODES:
            raise _too_many_nodes()

    def either(self) -> Filter:
        left = self.both()
        while self.peek() == "or":
            self.count(1)
            self.take()
            left = _either(left, self.both())
        return left

    def both(self) -> Filter:
        left = self.single()
        while self.peek() == "and":
            self.count(1)
            self.take()
            left = _both(left, self.single())
        return left

    def single(self) -> Filter:
        token = self.take()
        if token == "not":
            self.count(1)
            return _negate(self.single())
        if token == "(":
            self.count(1)
            inner = self.either()
            self.expect(")")
            return inner
        self.count(3)
        if token.lower() == "startswith":
            return self.starts_with()
        return self.comparison(token)

    def starts_with(self) -> Filter:
        self.expect("(")
        name = self._resolve(self.take())
        self.expect(",")
        literal = to_literal(self.take())
        self.expect(")")
        if not isinstance(literal, str):
            raise bad_filter("startswith takes a field and a text.")
        if self.peek() == "eq":
            self.take()
            if self.take() not in {"true", "1"}:
                raise bad_filter("startswith can only be compared with true.")
        start = literal.lstrip().casefold()
        test: Test = lambda v: str(to_index_key(v.get(name, ""))).startswith(start)  # noqa: E731
        return Filter(test, frozenset({name}), (Condition(name, "startswith", start),))

    def comparison(self, left: str) -> Filter:
        if self.peek() == "(":
            raise bad_filter(f"An unknown function with name '{left}' was found.")
        name = self._resolve(left)
        operator = self.take()
        if operator not in _COMPARISONS:
            raise bad_filter(f"Syntax error: '{operator}' is no operator here.")
        value = self._read(name, to_literal(self.take()))
        return Filter(_to_test(name, operator, value), frozenset({name}), (Condition(name, operator, value),))


def _to_test(name: str, operator: str, value: Any) -> Test:
    if operator == "eq":
        return lambda v: is_equal(v.get(name), value)
    if operator == "ne":
        return lambda v: not is_equal(v.get(name), value)
    compare = _ORDERINGS[operator]
    return lambda v: _is_ordered(compare, v.get(name), value)


def _either(a: Filter, b: Filter) -> Filter:
    return Filter(lambda v: a.test(v) or b.test(v), a.fields | b.fields, ())


def _both(a: Filter, b: Filter) -> Filter:
    return Filter(lambda v: a.test(v) and b.test(v), a.fields | b.fields, a.conditions + b.conditions)


def _negate(a: Filter) -> Filter:
    return Filter(lambda v: not a.test(v), a.fields, ())


def to_literal(token: str) -> Any:
    """The value a token stands for: text, number, boolean, null, or a date without quotes; GraphError for a bare word.

    A word without quotes is a property to OData, so `fields/Title eq New` never finds anything.
    """
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if token in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[token]
    if _NUMBER.fullmatch(token):
        return int(token) if token.lstrip("-").isdecimal() and len(token) < 20 else float(token)
    if not _DATE.fullmatch(token):
        raise bad_filter(f"Could not find a property named '{token}' on type 'microsoft.graph.fieldValueSet'.")
    return token


def read_date(literal: Any, zone: tzinfo) -> Any:
    """The moment a literal says, as lists keep it; None stays None, GraphError 400 for what is no date."""
    if literal is None:
        return None
    try:
        return to_kept_date(to_moment(str(literal), zone))
    except ValueError:
        raise bad_filter(f"'{literal}' is no date.") from None


def is_equal(held: Any, wanted: Any) -> bool:
    """Whether a held value equals the wanted one; of several values any may."""
    if isinstance(held, list):
        return any(is_equal(part, wanted) for part in held)
    if held is None or wanted is None:
        return held is wanted
    held, wanted = _alike(held, wanted)
    return bool(held == wanted)


def _is_ordered(compare: Callable[[Any, Any], bool], held: Any, wanted: Any) -> bool:
    if held is None or wanted is None or isinstance(held, list | dict):
        return False
    held, wanted = _alike(held, wanted)
    return type(held) is type(wanted) and compare(held, wanted)


def _alike(held: Any, wanted: Any) -> tuple[Any, Any]:
    """A number written as text, or an id kept as text, is compared as a number."""
    if isinstance(held, bool):
        return held, str(wanted).lower() in {"true", "1"}
    if isinstance(held, str) != isinstance(wanted, str):
        try:
            return float(held), float(wanted)
        except (TypeError, ValueError):
            return str(held), str(wanted)
    if isinstance(held, int | float):
        return float(held), float(wanted)
    return to_index_key(held), to_index_key(wanted)
