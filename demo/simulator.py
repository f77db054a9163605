"""The control side of the Graph simulator: what a test or a demo may see and set there, which Graph never offers.

In: the ``control_url`` of the simulator's ready line. Out: statistics and items as JSON, the tier of the quota. Rule:
requests cost no quota, meet no faults, and go past any proxy that the environment names.
"""

import json
import urllib.request
from typing import Any

from rowtide.error_catalogue import command_errors

_REQUEST_TIMEOUT_S = 30.0
# The simulator is on this machine, whatever proxy the environment names.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SimulatorControl:
    """The control side at one address; GraphUnavailable when nobody answers there."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fetch_stats(self) -> Any:
        """What went over the wire so far: requests by kind, resource units, refusals."""
        return self._fetch("stats?keys=0")

    def fetch_items(self) -> list[Any]:
        """Every item of every list, with its fields."""
        found: list[Any] = self._fetch("items?all=1")["items"]
        return found

    def edit(self, list_title: str, fields: dict[str, Any], user: str, item_id: str | None = None) -> None:
        """A person's edit of an item, or a new one, as on the simulator's page."""
        self._fetch("edit", {"list": list_title, "item_id": item_id, "fields": fields, "user": user})

    def set_tier(self, tier: str) -> None:
        """From now on the tenant has this tier's quota."""
        self._fetch("tier", {"tier": tier})

    def _fetch(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data)
        try:
            with _DIRECT.open(request, timeout=_REQUEST_TIMEOUT_S) as response:
                return json.load(response)
        except OSError as error:
            raise command_errors.SIMULATOR(said=error) from error
