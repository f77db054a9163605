"""`$filter`: reads the expressions that lists understand, and tests items against them.

In: the text of a filter. Out: `Filter`, with the fields it names and the equality an index can answer. Rules:
comparisons with eq ne gt ge lt le, startswith, and, or, not, parentheses; text compares without case and surrounding
blanks, as SharePoint's sort order does; an empty field equals null only.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphsim.http.errors import GraphError, invalid
from graphsim.lists.list_store import to_index_key

Test = Callable[[Mapping[str, Any]], bool]
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<mark>[(),])"
    r"|(?P<word>[^\s(),']+))"
)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """`equals` are (field, value) pairs that every match fulfils."""

    test: Test
    fields: frozenset[str]
    equals: tuple[tuple[str, Any], ...]


def parse_filter(text: str) -> Filter:
    """The filter a text says; GraphError 400 when it cannot be read."""
    parser = _FilterParser(_split(text))
    found = parser.either()
    if parser.peek() is not None:
        raise _bad(f"unexpected '{parser.peek()}'")
    return found


def _bad(what: str) -> GraphError:
    return invalid(f"Invalid filter clause: {what}", "invalidQueryOption")


def _split(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _bad(f"cannot be read at '{text[at : at + 20]}'")
        tokens.append(match.group(match.lastgroup or 0).strip())
        at = match.end()
    return tokens


class _FilterParser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise _bad("it ends too early")
        self._at += 1
        return token

    def expect(self, token: str) -> None:
        found = self.take()
        if found != token:
            raise _bad(f"expected '{token}', not '{found}'")

    def either(self) -> Filter:
        left = self.both()
        while self.peek() == "or":
            self.take()
            left = _either(left, self.both())
        return left

    def both(self) -> Filter:
        left = self.single()
        while self.peek() == "and":
            self.take()
            left = _both(left, self.single())
        return left

    def single(self) -> Filter:
        token = self.take()
        if token == "not":
            return _negate(self.single())
        if token == "(":
            inner = self.either()
            self.expect(")")
            return inner
        if token == "startswith":
            return self.starts_with()
        return self.comparison(token)

    def starts_with(self) -> Filter:
        self.expect("(")
        name = to_field(self.take())
        self.expect(",")
        start = str(to_index_key(to_literal(self.take())))
        self.expect(")")
        if self.peek() == "eq":
            self.take()
            if self.take() not in {"true", "1"}:
                raise _bad("startswith can only be compared with true")
        return Filter(lambda v: str(to_index_key(v.get(name, ""))).startswith(start), frozenset({name}), ())

    def comparison(self, left: str) -> Filter:
        name = to_field(left)
        operator = self.take()
        value = to_literal(self.take())
        if operator == "eq":
            equals = () if value is None else ((name, value),)
            return Filter(lambda v: is_equal(v.get(name), value), frozenset({name}), equals)
        if operator == "ne":
            return Filter(lambda v: not is_equal(v.get(name), value), frozenset({name}), ())
        if operator not in _OPERATORS:
            raise _bad(f"unknown operator '{operator}'")
        compare = _OPERATORS[operator]
        return Filter(lambda v: _ordered(compare, v.get(name), value), frozenset({name}), ())


def _either(a: Filter, b: Filter) -> Filter:
    return Filter(lambda v: a.test(v) or b.test(v), a.fields | b.fields, ())


def _both(a: Filter, b: Filter) -> Filter:
    return Filter(lambda v: a.test(v) and b.test(v), a.fields | b.fields, a.equals + b.equals)


def _negate(a: Filter) -> Filter:
    return Filter(lambda v: not a.test(v), a.fields, ())


def to_field(token: str) -> str:
    """`fields/Title` or `Fields/Title`; a bare name is one of the item itself."""
    head, slash, tail = token.partition("/")
    if slash and head.lower() == "fields":
        return tail
    return {"createdDateTime": "Created", "lastModifiedDateTime": "Modified"}.get(token, token)


def to_literal(token: str) -> Any:
    """The value a token stands for: text, number, boolean, null."""
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if token in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[token]
    try:
        return int(token) if token.lstrip("-").isdecimal() else float(token)
    except ValueError:
        return token


def is_equal(held: Any, wanted: Any) -> bool:
    """Whether a held value equals the wanted one; of several values any may."""
    if isinstance(held, list):
        return any(is_equal(part, wanted) for part in held)
    if held is None or wanted is None:
        return held is wanted
    held, wanted = _alike(held, wanted)
    return bool(held == wanted)


def _ordered(compare: Callable[[Any, Any], bool], held: Any, wanted: Any) -> bool:
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
