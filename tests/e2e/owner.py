"""What the owner of lists does to them by Graph, with our application's token.

In: a simulator, the title of a list. Out: Graph's answer. Rule: items that are made this way are our application's.
"""

import json
import ssl
import urllib.request
from typing import Any

from connectors.graph.auth import TokenSource
from tests.e2e.conftest import Simulator
from tests.integration.graph.conftest import settings_for


def list_of(simulator: Simulator, title: str) -> dict[str, Any]:
    """The one list of that title, as the simulator shows it."""
    [found] = [one for one in simulator.ask("lists")["lists"] if one["displayName"] == title]
    return dict(found)


def own(simulator: Simulator, method: str, title: str, path: str = "", body: Any = None) -> Any:
    """A request to the list of that title."""
    there, ready = list_of(simulator, title), simulator.ready
    url = f"{ready['base_url']}/sites/{there['site_id']}/lists/{there['id']}{path}"
    token = TokenSource(settings_for(simulator)).fetch_token()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    context = ssl.create_default_context(cafile=ready["ca_file"]) if url.startswith("https") else None
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        return json.loads(answer.read() or b"null")
