"""Graph's errors: what went wrong, as an exception inside, as `{"error": {...}}` on the wire.

In: a status, a code and a message. Out: `GraphError`, and the body `to_body` makes of it (contrib errors; `innerError`
is spelt `innererror` by SharePoint itself, hence a switch). Handlers raise, `pipeline` and `endpoint` catch. Rule
(docs/facts.md section 1.3): codes and messages that a source quotes stand here once; those that nobody has recorded are
switches.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from graphsim.clock import to_text
from graphsim.switches import Switches


class GraphError(Exception):
    """An answer other than success."""

    def __init__(
        self, status: int, code: str, message: str, *, inner: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}


def to_body(error: GraphError, *, request_id: str, client_id: str, now: float, inner_name: str) -> dict[str, Any]:
    """The JSON body of an error, with the ids by which support would find the request."""
    inner: dict[str, Any] = {}
    if error.inner:
        inner["code"] = error.inner
    inner["date"] = to_text(int(now))[:-1]
    inner["request-id"] = request_id
    # A header may have bytes that are no UTF-8, which JSON cannot have.
    inner["client-request-id"] = client_id.encode(errors="replace").decode()
    return {"error": {"code": error.code, "message": error.message, inner_name: inner}}


def invalid(message: str, inner: str | None = None) -> GraphError:
    """400: the request cannot be understood or carried out; the message says which part."""
    return GraphError(400, "invalidRequest", message, inner=inner)


def not_found(message: str = "The resource could not be found.") -> GraphError:
    """404: the site, list, column or version does not exist."""
    return GraphError(404, "itemNotFound", message)


def check_properties(given: Any, known: Iterable[str], entity: str) -> Mapping[str, Any]:
    """The object given; GraphError 400 when it is none or names a property that is not modelled. Annotations pass."""
    if not isinstance(given, dict):
        raise invalid(f"A value of type 'microsoft.graph.{entity}' must be an object")
    for name in given:
        if name not in known and "@" not in name:
            raise invalid(f"The property '{name}' does not exist on type 'microsoft.graph.{entity}'.")
    return given


def check_parameters(given: Any, known: Iterable[str], action: str) -> Mapping[str, Any]:
    """The parameters of an action, which may have no body at all; GraphError 400 for one it lacks (OData library)."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid(f"The parameters of '{action}' must be an object")
    for name in given:
        if name not in known and "@" not in name:
            raise invalid(
                f"The parameter '{name}' in the request payload is not a valid parameter for the operation '{action}'."
            )
    return given


def invalid_version() -> GraphError:
    """400 for an address below another version than v1.0, `beta` included (msgraph-sample-blazor-clientside/94)."""
    return GraphError(400, "BadRequest", "Invalid version.")


def wrong_method(allowed: Iterable[str], code: str) -> GraphError:
    """405, in the words recorded in #microsoft-graph-docs/119; the code is the directory's or SharePoint's."""
    message = "Specified HTTP method is not allowed for the request target."
    return GraphError(405, code, message, headers={"Allow": ", ".join(allowed)})


def no_segment(name: str) -> GraphError:
    """400 for a path that leads nowhere, or to what is not modelled."""
    return GraphError(400, "BadRequest", f"Resource not found for the segment '{name}'.")


def item_missing() -> GraphError:
    """404: the item does not exist, or lies in the recycle bin."""
    return not_found("The specified item was not found.")


def denied(message: str = "Access denied") -> GraphError:
    """403: the app lacks the permission; Graph does not say which one."""
    return GraphError(403, "accessDenied", message)


def name_taken(what: str) -> GraphError:
    """409: a list or a column of that name exists."""
    return GraphError(409, "nameAlreadyExists", f"{what} already exists")


def save_conflict() -> GraphError:
    """Two schema changes of one list at once (#pnpjs/2646, /263)."""
    return GraphError(409, "resourceModified", "Save Conflict. Your changes conflict with those made concurrently.")


def unknown_field(name: str) -> GraphError:
    """400: the list has no column of that name."""
    return invalid(f"Field '{name}' is not recognized")


def read_only_field(name: str) -> GraphError:
    """400: the column is set by SharePoint alone."""
    return invalid(f"Field '{name}' is read-only")


def not_unique(name: str, value: object, switches: Switches) -> GraphError:
    """A value that another item holds in a unique column; the default is recorded (n8n and others quote it)."""
    if switches.unique_wording == "named":
        message = f"The value '{value}' of field '{name}' already exists in the list: duplicate value"
    else:
        message = "One or more fields with unique constraints already has the provided value."
    return GraphError(409, "nameAlreadyExists", message) if switches.unique_error == "409" else invalid(message)


def invalid_text() -> GraphError:
    """Too long a text, or one with line breaks in a single line; SharePoint names no field (recorded by several)."""
    return invalid("Invalid text value. A text field contains invalid data. Please check the value and try again.")


def general_exception() -> GraphError:
    """What lookups written in a wrong form end in (#contrib/1457)."""
    return GraphError(500, "generalException", "General exception while processing")


def not_indexed(name: str) -> GraphError:
    """#microsoft-graph-docs/2279, word for word."""
    return invalid(
        f"Field '{name}' cannot be referenced in filter or orderby as it is not indexed. Provide the 'Prefer: "
        "HonorNonIndexedQueriesWarningMayFailRandomly' header to allow this, but be warned that such queries may fail "
        "on large lists."
    )


def unsupported_filter() -> GraphError:
    """A filter of lists that names anything but displayName (#microsoft-graph-docs/9836, /5013; #pnpcore/68)."""
    return invalid("The provided filter statement is not supported")


def too_large() -> GraphError:
    """A query over the list view threshold."""
    return GraphError(
        422,
        "notSupported",
        "The request is unprocessable because it uses too many resources",
        inner="tooManyResources",
    )


def unauthenticated(message: str) -> GraphError:
    """401: no token, or one that does not open the API any more."""
    return GraphError(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": 'Bearer realm=""'})


def throttled(retry_after_s: int | None, headers: dict[str, str] | None = None) -> GraphError:
    """As recorded in #onedrive-api-docs/1307; the header is sometimes missing there."""
    out = dict(headers or {})
    if retry_after_s is not None:
        out["Retry-After"] = str(retry_after_s)
    return GraphError(
        429, "activityLimitReached", "The request has been throttled", inner="throttledRequest", headers=out
    )


def unavailable(retry_after_s: int | None) -> GraphError:
    """503: the service is down, or the app is blocked; sometimes without a time to wait."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return GraphError(503, "serviceNotAvailable", "The service is not available", headers=headers)
