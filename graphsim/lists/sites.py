"""Sites: where lists live.

In: `HOST:/PATH` of the command line. Out: `Site`, found by id, by host name, or by host name and path. Rule: a site's
GUIDs are derived from host and path, so they outlive a restart.
"""

import re
import uuid
from dataclasses import dataclass

NAMESPACE = uuid.UUID("0d9a3c0e-4f8e-5a43-8a5b-7c1b1f1c2d11")
_FORM = re.compile(r"([A-Za-z0-9.-]+)(?::?(/[^?#]*))?")


@dataclass(frozen=True, slots=True)
class Site:
    """`id` is `host,site collection GUID,web GUID`; `path` is server-relative, empty for the root site."""

    id: str
    host: str
    path: str
    created: int

    @property
    def is_root(self) -> bool:
        return not self.path

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2] or self.host.partition(".")[0]

    @property
    def web_url(self) -> str:
        return f"https://{self.host}{self.path}"


def make_site(text: str, created: int) -> Site:
    """A site from `HOST:/PATH`; ValueError with one sentence otherwise."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"a site is written HOST:/PATH, not '{text}'")
    host = match.group(1).lower()
    path = (match.group(2) or "").rstrip("/")
    collection = uuid.uuid5(NAMESPACE, host + path.lower())
    web = uuid.uuid5(NAMESPACE, host + path.lower() + "/web")
    return Site(f"{host},{collection},{web}", host, path, created)
