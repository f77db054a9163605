"""What can be wrong with Microsoft Graph and Microsoft Entra: no answer (retried), or a refusal.

Graph's statuses are a family, ``graph_STATUS``; those a person meets often have a remedy of their own.
"""

from collections.abc import Mapping
from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import GraphRefused, GraphUnavailable, IdentityRefused, IdentityUnavailable

# --- tokens -----------------------------------------------------------------------------------------------------

IDENTITY_UNAVAILABLE: Final = Entry(
    IdentityUnavailable,
    "identity_unavailable",
    "the token endpoint {where} does not answer ({error})",
    "check the network, and `authority` if it is set",
)
IDENTITY_CERTIFICATE: Final = Entry(
    IdentityUnavailable,
    "identity_certificate",
    "the certificate of the token endpoint {where} is not accepted: {said}",
    "install the root certificate of whoever signed it (a proxy that opens TLS, say), or mend `ca_file` if it is set",
)
CA_FILE: Final = Entry(
    IdentityUnavailable,
    "ca_file",
    "`ca_file` {path} cannot be used: {problem}",
    "name a PEM file that this user may read, or leave `ca_file` out",
)
TOKEN_REFUSED: Final = Entry(
    IdentityRefused,
    "graph_401",
    "Graph does not accept the token of graph '{graph}'",
    "the token is not accepted: check the app registration",
)
IDENTITY_REFUSED: Final = Entry(
    IdentityRefused, "identity_refused", "Entra refused the credential of graph '{graph}'{number}", "{remedy}"
)
ENTRA_REMEDIES: Final[Mapping[str, str]] = {
    "7000215": "the client secret is wrong: mend `credential` of the graph connection",
    "7000222": "the client secret has expired: make a new one in Entra and mend `credential`",
    "700016": "the app is not in this tenant: mend `client_id` or `tenant_id`",
    "90002": "the tenant does not exist: mend `tenant_id`",
    "700027": "the certificate is not registered with the app: upload its public part in Entra",
    "": "check tenant_id, client_id and credential of the graph connection",
}
"""The remedy of `IDENTITY_REFUSED` by Entra's own number (AADSTS...); the empty one is for every other number."""

# --- no answer --------------------------------------------------------------------------------------------------

GRAPH_UNREACHABLE: Final = Entry(
    GraphUnavailable,
    "graph_unavailable",
    "{base_url} cannot be reached",
    "check the network, and `base_url` if it is set",
)
GRAPH_TIMEOUT: Final = Entry(
    GraphUnavailable,
    "graph_unavailable",
    "no answer within {seconds} s",
    "check the network; it is tried again by itself",
)
GRAPH_BROKEN: Final = Entry(
    GraphUnavailable,
    "graph_unavailable",
    "the connection to Graph broke before its answer was whole",
    "check the network; it is tried again by itself",
)
GRAPH_ANSWER_TOO_LARGE: Final = Entry(
    GraphUnavailable,
    "graph_answer_too_large",
    "an answer of Graph was more than {megabytes} MB and was not read",
    "it is asked for in smaller parts by itself; if it lasts, look whether a proxy answers in Graph's place",
)
GRAPH_UNAVAILABLE: Final = Entry(
    GraphUnavailable, "graph_unavailable", "{what}: Graph answered {answer}", "it is tried again by itself"
)
GRAPH_CERTIFICATE: Final = Entry(
    GraphUnavailable,
    "graph_certificate",
    "the certificate of {base_url} is not accepted: {said}",
    "install the root certificate of whoever signed it (a proxy that opens TLS, say), or mend `ca_file` if it is set",
)
GRAPH_UNANSWERED: Final = Entry(
    GraphUnavailable,
    "graph_unavailable",
    "{base_url} does not answer ({error})",
    "check the network, and `base_url` if it is set",
)
GRAPH_THROTTLES: Final = Entry(
    GraphUnavailable, "throttled", "Graph throttles the app: nothing is sent for {seconds} s", "nothing: it waits"
)
LIST_UNANSWERED: Final = Entry(
    GraphUnavailable,
    "list_unavailable",
    "Graph does not answer for the list: {reason}",
    "it is tried again by itself; if it lasts, look at the list in SharePoint",
)
BATCH_LOST: Final = Entry(GraphUnavailable, "graph_unavailable", "{reason}", "it is tried again by itself")
GRAPH_LINK_ELSEWHERE: Final = Entry(
    GraphUnavailable,
    "graph_unavailable",
    "Graph's link leads away from {base_url}; it is not followed",
    "check `base_url` if it is set; it is tried again by itself",
)
GRAPH_REDIRECTS: Final = Entry(
    GraphUnavailable,
    "graph_redirects",
    "{base_url} sends us elsewhere ({status}); it is not followed, because our token is for {base_url} only",
    "look whether a proxy answers in Graph's place, and check `base_url` if it is set",
)
GRAPH_PAGES_ENDLESS: Final = Entry(
    GraphUnavailable,
    "graph_pages_endless",
    "Graph's pages do not end: after {pages} of them its link leads on, or back to one that was read",
    "look whether a proxy answers in Graph's place; it is tried again by itself",
)
ITEMS_UNREADABLE: Final = Entry(
    GraphUnavailable,
    "graph_unavailable",
    "the items of a list cannot be read from Graph's answer ({status} {code})",
    "it is tried again by itself",
)
ITEMS_REFUSED: Final = Entry(
    GraphRefused,
    "graph_{status}",
    "the items of list {list_id} cannot be read: Graph answered {status} {code}: {message}",
    "check that the list is there and that the app may read it; `rowtide apply` makes a missing list anew",
    ("message",),
)
SUBSCRIPTION_REFUSED: Final = Entry(
    GraphRefused,
    "subscription_refused",
    "Graph refused a webhook ({what}): it answered {status} {code}: {message}",
    "see that `webhooks.url` is an https address that Microsoft reaches and that leads to `run.listen` of a process of "
    "this installation; lists are polled meanwhile",
    ("message",),
)
LIST_REFUSED: Final = Entry(
    GraphRefused,
    "graph_{status}",
    "Graph answered {status} {code} for the list: {said}",
    "if the list is gone, `rowtide apply` makes it anew; else see that the app may write to it "
    "(`rowtide plan --grants`)",
    ("said",),
)
GRAPH_UNREADABLE: Final = Entry(
    GraphUnavailable, "graph_unavailable", "{what}: Graph's answer cannot be read", "it is tried again by itself"
)

# --- refusals ---------------------------------------------------------------------------------------------------

_ANSWERED: Final = "{what}: Graph answered {status} {code}: {message}"

GRAPH_401: Final = Entry(
    GraphRefused, "graph_401", _ANSWERED, "the token is not accepted: check the app registration", ("message",)
)
GRAPH_403: Final = Entry(
    GraphRefused,
    "graph_403",
    _ANSWERED,
    "grant the app access to the site (`rowtide plan --grants` says how)",
    ("message",),
)
GRAPH_404: Final = Entry(
    GraphRefused, "graph_404", _ANSWERED, "check the site's address and the list's title", ("message",)
)
GRAPH_STATUS: Final = Entry(GraphRefused, "graph_{status}", _ANSWERED, "see Graph's message", ("message",))
STATUSES: Final[Mapping[int, Entry[GraphRefused]]] = {401: GRAPH_401, 403: GRAPH_403, 404: GRAPH_404}
"""Graph's statuses that have a remedy of their own; the others are `GRAPH_STATUS`."""

SITE_MISSING: Final = Entry(GraphRefused, "site_missing", "site '{site}' cannot be read", "check the site's address")
COLUMN_MISFIT: Final = Entry(
    GraphRefused,
    "column_misfit",
    "column {column} of list '{title}' cannot be used: {why}",
    "name another field in the definition, or mend the column in SharePoint",
)
KEYS_NOT_UNIQUE: Final = Entry(
    GraphRefused,
    "keys_not_unique",
    "RowtideKey of list '{title}' cannot have unique values: {said}",
    "if items share a key: `rowtide reconcile {sync} --deep`, then `rowtide apply` again",
    ("said",),
)
LIST_HAS_FOREIGN_ITEMS: Final = Entry(
    GraphRefused,
    "list_has_foreign_items",
    "list '{title}' holds items that Rowtide did not make (one is item {item_id})",
    "sync to another list, move these items away, or say by `match: [columns]` how they are paired with rows",
)
LIST_OF_OTHER_SYNC: Final = Entry(
    GraphRefused,
    "list_of_other_sync",
    "list '{title}' belongs to the sync with the id {other}, not to {sync}",
    "if the sync was renamed, give it `id: {other}`; else sync to another list",
)
LIST_OF_OTHER_INSTANCE: Final = Entry(
    GraphRefused,
    "list_of_other_instance",
    "list '{title}' belongs to another installation of Rowtide ({instance})",
    "sync to another list; or, if the state database was restored or the other installation is no more, run "
    "`rowtide apply --take-over`",
)
LIST_TITLE_TAKEN: Final = Entry(
    GraphRefused,
    "list_title_taken",
    "sync {sync} wants a list '{title}', and in SharePoint another list of the sync has that name",
    "give that list its own name back in SharePoint, or name another one in the definition",
)
