"""The columns of a list, read without the objects of Graph's SDK.

In: the answer to ``GET .../columns`` as a running flow has it, or one of its entries (connectors.graph.provisioning).
Out: `FoundColumn`s by name. Rule: exactly one facet says what a column is; one that is not known is of no kind that is
written.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from connectors.graph import batch, retry_after
from connectors.graph.batch import Throttled
from connectors.graph.client import NoAnswer, NotSent, Reply
from connectors.graph.list_schema import FoundColumn
from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphRefused, GraphUnavailable
from rowtide.mapping.columns import Kind

ColumnsReading = dict[str, FoundColumn] | Throttled | GraphUnavailable | GraphRefused


def link_of(site_id: str, list_id: str) -> str:
    """Where the columns of a list are."""
    return f"/sites/{site_id}/lists/{list_id}/columns"


def to_columns(answer: Reply | NotSent | NoAnswer, list_id: str) -> ColumnsReading:
    """The columns, or why they cannot be read now."""
    if not isinstance(answer, Reply):
        return answer.error
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        body = None
    if answer.status == 200 and isinstance(body, dict) and isinstance(body.get("value"), list):
        return {str(one.get("name")): to_found(one) for one in body["value"] if isinstance(one, dict)}
    code, message = batch.error_of(body)
    if answer.status == 429:
        return Throttled(retry_after.retry_after_s(answer.headers))
    if answer.status == 401 or answer.status >= 500 or answer.status == 200:
        return graph_errors.ITEMS_UNREADABLE(status=answer.status, code=code)
    return graph_errors.ITEMS_REFUSED(list_id=list_id, status=answer.status, code=code, message=message)


def to_found(column: Mapping[str, Any]) -> FoundColumn:
    """A column from its ``columnDefinition``."""
    choice = column.get("choice") or {}
    return FoundColumn(
        str(column.get("id")),
        str(column.get("name")),
        _kind_of(column),
        (column.get("dateTime") or {}).get("format"),
        tuple(choice.get("choices") or ()),
        bool(choice.get("allowTextEntry")),
        bool(column.get("readOnly")),
        bool(column.get("indexed")),
        bool(column.get("enforceUniqueValues")),
        str(column.get("description") or ""),
    )


def _kind_of(column: Mapping[str, Any]) -> Kind | None:
    text, choice = column.get("text"), column.get("choice")
    if text is not None:
        return "note" if text.get("allowMultipleLines") else "text"
    if choice is not None:
        return None if choice.get("displayAs") == "checkBoxes" else "choice"
    if column.get("number") is not None:
        return "number"
    if column.get("boolean") is not None:
        return "boolean"
    return "dateTime" if column.get("dateTime") is not None else None
