"""Sites over the API: search and read.

In: calls on `/sites` and `/sites/{site}`. Out: replies. Rule: an app sees the sites it may read; there is no error for
the others, as in Graph.
"""

from graphsim.http.odata import read_options
from graphsim.http.request import ApiCall, ApiReply
from graphsim.identity.permissions import READ
from graphsim.lists.entity_types import SITE
from graphsim.lists.representations import site_json
from graphsim.lists.sites import Site
from graphsim.tenant import Tenant


def search_sites(tenant: Tenant, call: ApiCall) -> ApiReply:
    """GET of the sites whose address holds the text of `search`; all without one."""
    options = read_options(call.query, SITE)
    text = call.query.get("search", "").strip('"*').casefold()
    found = [s for s in tenant.sites.by_id.values() if text in s.web_url.casefold()]
    found = [s for s in found if tenant.permissions.level(call.app, s.id, None) >= READ]
    context = f"{call.base}/$metadata#sites"
    value = [options.selected(site_json(call.base, s)) for s in found[: options.top]]
    return ApiReply(200, {"@odata.context": context, "value": value})


def get_site(call: ApiCall, site: Site) -> ApiReply:
    """GET of one site."""
    return ApiReply(200, read_options(call.query, SITE).selected(site_json(call.base, site)))
