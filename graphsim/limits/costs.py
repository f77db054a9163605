"""The cost of a call in resource units (spdev throttling, table of October 2025).

In: a call. Out: RU. Rule: create, update, delete 2; a single item or delta with a token 1; lists of things and delta
without a token 2; permissions 5; the directory and `$batch` itself nothing.
"""

from graphsim.http.request import ApiCall

_COLLECTIONS = frozenset({"items", "lists", "columns", "versions", "sites"})


def cost(call: ApiCall) -> int:
    """The resource units of a call; refused calls cost the same."""
    segments = call.segments
    if not segments or segments[0] in {"$batch", "applications", "servicePrincipals"}:
        return 0
    if "permissions" in segments:
        return 5
    if call.method != "GET":
        return 2
    last = segments[-1]
    if last.startswith(("delta", "microsoft.graph.delta")):
        return 1 if "token" in call.query or "token=" in last else 2
    return 2 if last in _COLLECTIONS else 1
