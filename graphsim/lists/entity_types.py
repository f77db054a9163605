"""The entities of the API, as far as queries may name their parts (CSDL v1.0).

In: nothing. Out: one `EntityType` each. Rule: a property or navigation of the CSDL that the simulator does not hold is
left out here, so that a query for it is refused instead of answered with nothing.
"""

from graphsim.http.odata import EntityType
from graphsim.lists.columns import COMMON, FACETS

_SELECT = frozenset({"select"})
_BASE = frozenset({"createdDateTime", "id", "lastModifiedDateTime", "name", "webUrl"})

SITE = EntityType("site", _BASE | {"displayName", "root", "siteCollection"}, {})
LIST = EntityType(
    "list",
    _BASE | {"createdBy", "description", "displayName", "eTag", "list", "parentReference", "system"},
    {"columns": _SELECT, "items": frozenset({"expand", "select", "top", "filter", "orderby"})},
)
COLUMN = EntityType("columnDefinition", frozenset({"id", "name", "type", *COMMON, *FACETS}), {})
LIST_ITEM = EntityType(
    "listItem",
    (_BASE - {"name"}) | {"contentType", "createdBy", "deleted", "eTag", "lastModifiedBy", "parentReference"},
    {"fields": _SELECT},
)
VERSION = EntityType(
    "listItemVersion", frozenset({"id", "lastModifiedBy", "lastModifiedDateTime"}), {"fields": _SELECT}
)
