"""What makes two answers the same: endpoint, method, status, shape.

In: one exchange (or a member of a batch, each with its own request). Out: `Part` values: the answer itself, and each
element of a collection by itself. Called by `proxy`, which keeps the first of each key.
Rules: a shape is the tree of keys and JSON types; the fields of a list item are open, so of them only the kinds of
values count; an error's code is part of its shape.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

PREFIX = "/v1.0"
# What the simulator sends when a fault rule of a test says `garbage`: the test's answer, not Graph's.
TOLD_GARBAGE = b"<html><body>upstream said nothing useful"

_SITE_BY_PATH = re.compile(r"^/sites/[^/:]+:(/[^:]*)?(:|$)")
_FIRST_SITE = re.compile(r"^/sites/[^/]+")
_APPLICATION = re.compile(r"^/applications(\(appId='[^']*'\)|/[^/]+)")
_NAMED = [
    (re.compile(rf"/{plural}/(?!(?:microsoft\.graph\.)?delta\b|{{)[^/]+"), f"/{plural}/{{{one}}}")
    for plural, one in (
        ("lists", "list"),
        ("items", "item"),
        ("columns", "column"),
        ("versions", "version"),
        ("permissions", "permission"),
        ("subscriptions", "subscription"),
    )
]
_DELTA = re.compile(r"/items/(microsoft\.graph\.)?delta(\([^)]*\))?$")


@dataclass(frozen=True, slots=True)
class Part:
    """An answer or an element of one. `kind`: answer, element, text (no JSON where JSON is due)."""

    kind: str
    method: str
    template: str
    status: int
    target: str
    body: Any

    def key(self) -> tuple[Any, ...]:
        return (self.kind, self.method, self.template, self.status, _shape(self.body, self.template.endswith("fields")))


def to_record(part: Part) -> dict[str, Any]:
    """A part as it is kept and judged."""
    return {name: getattr(part, name) for name in Part.__slots__}


@lru_cache(maxsize=10_000)
def to_template(target: str) -> str:
    """The endpoint of a path below `/v1.0`, its names replaced: `/sites/{site}/lists/{list}/items`."""
    path = target.partition("?")[0].rstrip("/")
    # Names first, as sent: an encoded slash belongs to its name.
    path = _SITE_BY_PATH.sub("/sites/{site}", path)
    path = _FIRST_SITE.sub("/sites/{site}", path)
    for pattern, named in _NAMED:
        path = pattern.sub(named, path)
    path = _APPLICATION.sub("/applications/{application}", unquote(path))
    return _DELTA.sub("/items/delta", path)


def parts_of(method: str, target: str, sent: bytes, status: int, body: bytes) -> Iterator[Part]:
    """The parts of one exchange; nothing for what is not below `/v1.0`."""
    if not target.startswith(PREFIX + "/") or (status < 300 and body.startswith(TOLD_GARBAGE)):
        return
    target = target.removeprefix(PREFIX)
    try:
        given = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        text = body[:200].decode(errors="replace")
        yield Part("text", method, to_template(target), status, target, text)
        return
    if target == "/$batch" and isinstance(given, dict) and isinstance(given.get("responses"), list):
        yield from _of_batch(sent, status, given)
    else:
        yield from _of_answer(method, target, status, given)


def _of_batch(sent: bytes, status: int, given: dict[str, Any]) -> Iterator[Part]:
    bare = [{**member, "body": {}} if "body" in member else member for member in given["responses"]]
    yield Part("answer", "POST", "/$batch", status, "/$batch", {**given, "responses": bare})
    requests = {str(request["id"]).lower(): request for request in orjson.loads(sent)["requests"]}
    for member in given["responses"]:
        request = requests[member["id"].lower()]
        url = str(request["url"])
        target = url if url.startswith("/") else "/" + url
        yield from _of_answer(request["method"].upper(), target, member["status"], member.get("body"))


def _of_answer(method: str, target: str, status: int, given: Any) -> Iterator[Part]:
    template = to_template(target)
    if not isinstance(given, dict) or not isinstance(given.get("value"), list) or template.endswith("fields"):
        yield Part("answer", method, template, status, target, given)
        return
    yield Part("answer", method, template, status, target, {**given, "value": []})
    for element in given["value"]:
        yield Part("element", method, template, status, target, element)


def _shape(value: Any, is_fields: bool = False) -> Any:
    """Equal for values of the same tree. Works on whole rows of keys and types: every answer of a run comes by here."""
    if isinstance(value, dict):
        if is_fields:
            return _shape_of_fields(value)
        held = [_shape(v, k == "fields") if type(v) in _NESTED else type(v) for k, v in value.items()]
        return tuple(value), tuple(held), value.get("code")
    if isinstance(value, list):
        return frozenset(_shape(element) for element in value)
    return type(value)


_NESTED = frozenset({dict, list})


def _shape_of_fields(fields: dict[str, Any]) -> Any:
    """The kinds of values there are, and Graph's own words among the names."""
    kinds = frozenset(map(type, fields.values()))
    marks = frozenset(name.partition("@")[2] for name in fields if "@" in name)
    nested: frozenset[Any] = frozenset()
    if not kinds.isdisjoint(_NESTED):
        nested = frozenset(
            (name + "@odata.type" in fields, _shape(held)) for name, held in fields.items() if type(held) in _NESTED
        )
    return kinds, marks, nested, type(fields.get("id"))
