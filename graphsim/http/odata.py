"""Query options: `$expand`, `$select`, `$top`, `$orderby`, as Graph reads them.

In: the query of a call. Out: `QueryOptions`. Rule: options may come with or without `$`, encoded or not (SDKs do
either); what lists do not know is an error 400.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from graphsim.http.errors import invalid


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """`fields` is None when fields are not expanded, else the names selected (empty: all)."""

    fields: tuple[str, ...] | None
    select: tuple[str, ...]
    top: int | None
    order_by: tuple[tuple[str, bool], ...]
    filter: str | None
    expand: Mapping[str, str]

    def page_size(self, default: int, cap: int) -> int:
        """Items a page holds: `$top` or the default, and never more than the cap."""
        return min(self.top if self.top is not None else default, cap)


_NOTHING = QueryOptions(None, (), None, (), None, {})


def read_options(query: Mapping[str, str]) -> QueryOptions:
    """The options of a query; GraphError 400 for one that cannot be read."""
    if not query:
        return _NOTHING
    expand = read_expand(query.get("expand", ""))
    return QueryOptions(
        fields=_nested_select(expand["fields"]) if "fields" in expand else None,
        select=split_names(query.get("select", "")),
        top=_read_top(query.get("top")),
        order_by=_read_order(query.get("orderby", "")),
        filter=query.get("filter") or None,
        expand=expand,
    )


def split_names(text: str) -> tuple[str, ...]:
    """The names of a comma-separated list, without blanks around them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_expand(text: str) -> dict[str, str]:
    """Name to the text between its parentheses: `columns,items(expand=fields)`."""
    out: dict[str, str] = {}
    for part in split_outside(text, ","):
        name, bracket, inner = part.strip().partition("(")
        if bracket and not inner.endswith(")"):
            raise invalid("Parsing OData Select and Expand failed: parentheses do not match", "invalidQueryOption")
        if name:
            out[name.strip()] = inner[:-1] if bracket else ""
    return out


def split_outside(text: str, separator: str) -> list[str]:
    """Splits at separators outside of parentheses."""
    parts, depth, start = [], 0, 0
    for n, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == separator and depth == 0:
            parts.append(text[start:n])
            start = n + 1
    return [*parts, text[start:]]


def nested_options(inner: str) -> dict[str, str]:
    """`$select=A,B;$top=3` between an expand's parentheses."""
    out = {}
    for part in split_outside(inner, ";"):
        name, equals, value = part.partition("=")
        if equals:
            out[name.strip().lstrip("$").lower()] = value
    return out


def _nested_select(inner: str) -> tuple[str, ...]:
    return split_names(nested_options(inner).get("select", "")) if inner else ()


def _read_top(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise invalid(f"Invalid value '{text}' for $top query option found", "invalidQueryOption")
    return int(text)


def _read_order(text: str) -> tuple[tuple[str, bool], ...]:
    """Names and whether descending; `fields/X` and plain names of the item."""
    out = []
    for part in split_names(text):
        name, _, direction = part.partition(" ")
        if direction.strip().lower() not in {"", "asc", "desc"}:
            raise invalid(f"Syntax error in $orderby at '{part}'", "invalidQueryOption")
        out.append((name.removeprefix("fields/"), direction.strip().lower() == "desc"))
    return tuple(out)


def to_query(query: Mapping[str, str], keep: tuple[str, ...], **more: str) -> str:
    """A link's query: the options that go on from page to page, and a token."""
    parts = [f"%24{name}={quote(query[name], safe='')}" for name in keep if name in query]
    parts += [f"{name.replace('_skip', '%24skip')}={quote(value, safe='')}" for name, value in more.items()]
    return "&".join(parts)
