"""What the owner of lists does to them by Graph, with our application's token.

In: a simulator, the title of a list. Out: Graph's answer. Rules: items that are made this way are our application's;
a call that is throttled is made again when its `Retry-After` has passed.
"""

import json
import ssl
import time
import urllib.error
import urllib.request
from functools import partial
from typing import Any

from connectors.graph.auth import TokenSource
from tests.e2e.conftest import Simulator
from tests.e2e.stack import wait_until
from tests.integration.graph.conftest import settings_for

SITE = "contoso.sharepoint.com:/sites/ops"


def list_of(simulator: Simulator, title: str) -> dict[str, Any]:
    """The one list of that title, as the simulator shows it."""
    [found] = [one for one in simulator.ask("lists")["lists"] if one["displayName"] == title]
    return dict(found)


def make_list(simulator: Simulator, title: str) -> Any:
    """A list of that title in the one site, as its owner makes it."""
    site_id = _request(simulator, "GET", SITE, None)["id"]
    body = {"displayName": title, "list": {"template": "genericList"}}
    return _request(simulator, "POST", f"{site_id}/lists", body)


def own(simulator: Simulator, method: str, title: str, path: str = "", body: Any = None) -> Any:
    """A request to the list of that title."""
    there = list_of(simulator, title)
    return _request(simulator, method, f"{there['site_id']}/lists/{there['id']}{path}", body)


def _request(simulator: Simulator, method: str, path: str, body: Any) -> Any:
    ready = simulator.ready
    url = f"{ready['base_url']}/sites/{path}"
    token = TokenSource(settings_for(simulator)).fetch_token()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    context = ssl.create_default_context(cafile=ready["ca_file"]) if url.startswith("https") else None
    tries = 5
    while True:
        tries -= 1
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            if refused.code != 429 or not tries:
                raise
            ready_at = time.monotonic() + float(refused.headers["Retry-After"])
        wait_until(partial(_is_past, ready_at), "Graph takes calls again", 120)


def _is_past(moment: float) -> bool:
    return time.monotonic() >= moment
