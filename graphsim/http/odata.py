"""Query options as Graph reads them, and the refusal of those that are not modelled.

In: the query of a call, and what its route allows. Out: `QueryOptions`, or GraphError 400. Rules: options may come with
or without `$`, encoded or not (SDKs do either); an option, a property or an expansion that is not modelled is refused
in Graph's words, never ignored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from graphsim.http.errors import GraphError, invalid
from graphsim.http.request import REPEATED


@dataclass(frozen=True, slots=True)
class EntityType:
    """What a query may name of an entity; `expands` maps a navigation to the options its parentheses may hold."""

    name: str
    properties: frozenset[str]
    expands: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """`fields` is None when fields are not expanded, else the names selected (empty: all)."""

    fields: tuple[str, ...] | None
    select: tuple[str, ...]
    top: int | None
    order_by: tuple[tuple[str, bool], ...]
    filter: str | None
    expand: Mapping[str, Mapping[str, str]]

    def page_size(self, default: int, cap: int) -> int:
        """Items a page holds: `$top` or the default, and never more than the cap."""
        return min(self.top if self.top is not None else default, cap)

    def selected(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What `$select` leaves of an entity: the named properties, annotations, and what was expanded."""
        if not self.select:
            return dict(body)
        keep = {*self.select, *self.expand}
        return {name: value for name, value in body.items() if name in keep or "@" in name}


_NOTHING = QueryOptions(None, (), None, (), None, {})
_NEVER_EMPTY = frozenset({"filter", "orderby", "top", "skiptoken"})
# A member of a batch could have megabytes of query, and hold everybody up.
_MAX_QUERY = 131_072


def check_options(query: Mapping[str, str], allowed: Iterable[str]) -> None:
    """GraphError 400 for an option that the route does not know, and for one whose value is empty or too long."""
    if REPEATED in query:
        repeated = query[REPEATED]
        raise bad_request(
            f"Query option '{repeated}' was specified more than once, but it must be specified at most once."
        )
    for name, value in query.items():
        if name not in allowed:
            raise unsupported_option(name)
        if name in _NEVER_EMPTY and not value.strip():
            raise bad_request(f"The value for OData query '${name}' cannot be empty.")
    if sum(map(len, query.values())) > _MAX_QUERY:
        raise bad_request(
            "The length of the query string for this request exceeds the configured maxQueryStringLength value."
        )


def unsupported_option(name: str) -> GraphError:
    """400 for an option that lists do not take; the words for `$skip` are recorded (three projects quote them)."""
    if name == "skip":
        return invalid("$skip is not supported on this API. Only URLs returned by the API can be used to page.")
    return bad_request(f"The query parameter '${name}' is not supported.")


def bad_request(message: str) -> GraphError:
    """400 as Graph's own layer answers, before SharePoint sees the call."""
    return GraphError(400, "BadRequest", message)


def read_options(query: Mapping[str, str], entity: EntityType) -> QueryOptions:
    """The options of a query; GraphError 400 for one that cannot be read or names what the entity lacks."""
    if not query:
        return _NOTHING
    expand = _read_expand(query.get("expand", ""), entity)
    select = split_names(query.get("select", ""))
    for name in select:
        if name not in entity.properties and name not in entity.expands:
            raise _no_property(name, entity)
    return QueryOptions(
        fields=split_names(expand["fields"].get("select", "")) if "fields" in expand else None,
        select=select,
        top=_read_top(query.get("top")),
        order_by=_read_order(query.get("orderby", "")),
        filter=query.get("filter") or None,
        expand=expand,
    )


def split_names(text: str) -> tuple[str, ...]:
    """The names of a comma-separated list, without blanks around them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _bad_expand(what: str) -> GraphError:
    return bad_request(f"Parsing OData Select and Expand failed: {what}")


def _no_property(name: str, entity: EntityType) -> GraphError:
    return _bad_expand(f"Could not find a property named '{name}' on type 'microsoft.graph.{entity.name}'.")


def _read_expand(text: str, entity: EntityType) -> dict[str, dict[str, str]]:
    """Name to the options between its parentheses: `columns,items(expand=fields)`."""
    out: dict[str, dict[str, str]] = {}
    for part in _split_outside(text, ","):
        name, bracket, inner = part.strip().partition("(")
        name = name.strip()
        if not name:
            continue
        if name not in entity.expands:
            if name in entity.properties:
                raise _bad_expand(
                    f"Property '{name}' on type 'microsoft.graph.{entity.name}' is not a navigation property or "
                    "complex property. Only navigation properties can be expanded."
                )
            raise _no_property(name, entity)
        if bool(bracket) != inner.endswith(")") or inner.count("(") + bool(bracket) != inner.count(")"):
            raise _bad_expand("Found an unbalanced bracket expression.")
        out[name] = _nested_options(inner[:-1], entity.expands[name]) if bracket else {}
    return out


def _split_outside(text: str, separator: str) -> list[str]:
    """Splits at separators outside of parentheses."""
    parts, depth, start = [], 0, 0
    for n, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == separator and depth == 0:
            parts.append(text[start:n])
            start = n + 1
    return [*parts, text[start:]]


def _nested_options(inner: str, allowed: frozenset[str]) -> dict[str, str]:
    """`$select=A,B;$top=3` between an expand's parentheses."""
    out = {}
    for part in _split_outside(inner, ";"):
        name, equals, value = part.partition("=")
        name = name.strip().removeprefix("$").lower()
        if not equals or name not in allowed or name in out:
            raise _bad_expand(f"Term '({inner})' is not valid in a $select or $expand expression.")
        out[name] = value
    return out


def _read_top(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) == 0:
        raise bad_request(f"Invalid value '{text}' for $top query option found. It must be a positive integer.")
    return int(text)


def _read_order(text: str) -> tuple[tuple[str, bool], ...]:
    """Names as written, and whether descending."""
    out = []
    for part in split_names(text):
        name, _, direction = part.partition(" ")
        if direction.strip().lower() not in {"", "asc", "desc"}:
            raise bad_request(f"Syntax error in $orderby at '{part}'.")
        out.append((name, direction.strip().lower() == "desc"))
    return tuple(out)


def to_query(query: Mapping[str, str], keep: tuple[str, ...], **more: str) -> str:
    """A link's query: the options that go on from page to page, and a token."""
    parts = [f"%24{name}={quote(query[name], safe='')}" for name in keep if name in query]
    parts += [f"{name.replace('_skip', '%24skip')}={quote(value, safe='')}" for name, value in more.items()]
    return "&".join(parts)
