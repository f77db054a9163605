"""Sites: where lists live.

In: `HOST:/PATH` of the command line. Out: `Site`, found by id, by host name, or by host name and path. Rule: a site's
GUIDs are derived from host and path, so they outlive a restart.
"""

import re
import uuid
from dataclasses import dataclass

from graphsim.http.errors import invalid, not_found

NAMESPACE = uuid.UUID("0d9a3c0e-4f8e-5a43-8a5b-7c1b1f1c2d11")
_NO_SITE = "Requested site could not be found"
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
        """Whether this is the root site of its host."""
        return not self.path

    @property
    def name(self) -> str:
        """The last part of the path; of a root site the first part of the host."""
        return self.path.rpartition("/")[2] or self.host.partition(".")[0]

    @property
    def web_url(self) -> str:
        """The address a person would open."""
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


class Sites:
    """All sites of the tenant, in the order they were added."""

    def __init__(self) -> None:
        self.by_id: dict[str, Site] = {}

    def add(self, site: Site) -> None:
        """Adds a site; one that is there already stays as it is."""
        self.by_id.setdefault(site.id, site)

    def find(self, text: str) -> Site:
        """The site of an id, of `root` or of a host name; GraphError otherwise. GUIDs match in any case."""
        site = self.by_id.get(text) or self.by_id.get(text.lower())
        if site is not None:
            return site
        if text == "root" and self.by_id:
            host = next(iter(self.by_id.values())).host
            return self.find_by_path(host, "")
        return self.find_by_path(text, "") if "," not in text else self._find_by_guids(text.lower())

    def _find_by_guids(self, text: str) -> Site:
        host, *guids = text.split(",")
        if all(site.host != host for site in self.by_id.values()):
            raise invalid("Invalid hostname for this tenancy")
        found = next((site for site in self.by_id.values() if site.id.split(",")[1:] == guids), None)
        if found is None:
            raise not_found(_NO_SITE)
        return found

    def find_by_path(self, host: str, path: str) -> Site:
        """The site at a server-relative path (empty: the root site of the host).

        GraphError 404 when the host has no such site, 400 for a host of another tenant.
        """
        if all(site.host != host.lower() for site in self.by_id.values()):
            # Recorded many times, as a client that asks for a host of another tenant sees it.
            raise invalid("Invalid hostname for this tenancy")
        wanted = host.lower(), path.lower().rstrip("/")
        found = next((site for site in self.by_id.values() if (site.host, site.path.lower()) == wanted), None)
        if found is None:
            raise not_found(_NO_SITE)
        return found

    def to_text(self, site_id: str) -> str:
        """`HOST:/PATH`, as the command line names the site."""
        site = self.by_id[site_id]
        return f"{site.host}:{site.path}"
