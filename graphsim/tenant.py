"""Everything the simulator knows: sites, lists, people, apps, tokens, quota, faults, counters.

In: settings. Out: one `World`, passed to every handler. Rules: time and randomness come from here only, so a seed and a
clock replay a history; each use of chance draws from its own stream, so that a new fault rule does not change the ids
of lists.
"""

import random
import uuid
from collections.abc import Iterator

from graphsim.clock import Clock
from graphsim.http.errors import not_found
from graphsim.identity.app_registrations import App, make_app
from graphsim.identity.permissions import Permissions
from graphsim.identity.tokens import Tokens
from graphsim.journal import Journal, Memory
from graphsim.limits.faults import Faults
from graphsim.limits.throttle import Throttle
from graphsim.lists.columns import Column
from graphsim.lists.list_store import Item, SimList
from graphsim.lists.principals import Principal, Principals
from graphsim.lists.sites import Site
from graphsim.stats import Stats
from graphsim.switches import Switches
from graphsim.webhooks.subscriptions import Subscriptions


class World:
    """The state of one simulated tenant."""

    def __init__(
        self,
        *,
        clock: Clock,
        seed: int | str = 0,
        switches: Switches | None = None,
        tier: str = "off",
        window_s: float = 60.0,
        tenant: str | None = None,
        key_field: str = "RowtideKey",
        journal: Journal | None = None,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.tenant = tenant
        self.switches = switches or Switches()
        self.ids = self.stream("ids")
        self.order = self.stream("order")
        self.chance = self.stream("chance")
        self.requests = self.stream("requests")
        self.faults = Faults(self.stream("faults"))
        self.throttle = Throttle(tier, window_s, self.switches)
        self.stats = Stats(key_field)
        self.people = Principals()
        self.permissions = Permissions()
        self.subscriptions = Subscriptions()
        self.journal: Journal = journal or Memory()
        self.sites: dict[str, Site] = {}
        self.apps: dict[str, App] = {}
        self.lists: dict[str, SimList] = {}
        self.titles: dict[tuple[str, str], SimList] = {}
        self.schema_busy: set[str] = set()
        self.tokens = Tokens(self.stream("tokens"))
        self.no_tokens_before = 0.0

    def stream(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}:{name}")

    def now(self) -> float:
        return self.clock.now()

    def tenant_id(self) -> str:
        """The tenant as notifications name it: a GUID."""
        return self.tenant or "5f0c9d1e-8a52-4a0a-9d0b-3f6f1f6d0c11"

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.ids.getrandbits(128), version=4))

    def request_id(self) -> str:
        h = f"{self.requests.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"

    def add_site(self, site: Site) -> None:
        self.sites.setdefault(site.id, site)

    def add_app(self, client_id: str, name: str | None = None) -> App:
        found = self.apps.get(client_id)
        if found is None:
            found = make_app(client_id, self.people.app(client_id, name or f"App {client_id[:8]}"))
            self.apps[client_id] = found
            self.note_person(found.principal)
        return found

    def note_person(self, person: Principal) -> None:
        value = [person.kind, person.key, person.name, person.email]
        self.journal.record("person", str(person.number), value)

    def person(self, name: str) -> Principal:
        """The named person, known to the user information list from now on."""
        known = len(self.people.by_number)
        person = self.people.person(name)
        if len(self.people.by_number) != known:
            self.note_person(person)
        return person

    def find_site(self, text: str) -> Site:
        """By id, `root`, or host name; 404 otherwise. GUIDs are the same in any case."""
        site = self.sites.get(text) or self.sites.get(text.lower())
        if site is not None:
            return site
        if text == "root" and self.sites:
            host = next(iter(self.sites.values())).host
            return self.find_site_by_path(host, "")
        return self.find_site_by_path(text.lower(), "") if "," not in text else self._find_by_guids(text.lower())

    def _find_by_guids(self, text: str) -> Site:
        parts = text.split(",")
        for site in self.sites.values():
            if parts[-2:] == site.id.split(",")[1:]:
                return site
        raise not_found("Requested site could not be found")

    def find_site_by_path(self, host: str, path: str) -> Site:
        for site in self.sites.values():
            if site.host == host.lower() and site.path.lower() == path.lower().rstrip("/"):
                return site
        raise not_found("Requested site could not be found")

    def find_list(self, site: Site, text: str) -> SimList:
        """By id or title; 404 otherwise."""
        found = self.lists.get(text) or self.lists.get(text.lower()) or self.titles.get((site.id, text.casefold()))
        if found is None or found.site_id != site.id:
            raise not_found("The specified list was not found")
        return found

    def any_list(self, text: str, site: str | None = None) -> SimList:
        """For the control side: a list by id or title, in any site or the one given."""
        for lst in self.lists.values():
            if text.casefold() in {lst.id, lst.display_name.casefold(), lst.name.casefold()} and (
                not site or site in {lst.site_id, self.site_key(lst.site_id)}
            ):
                return lst
        raise not_found(f"there is no list '{text}'")

    def site_key(self, site_id: str) -> str:
        site = self.sites[site_id]
        return f"{site.host}:{site.path}"

    def lists_of(self, site: Site) -> Iterator[SimList]:
        return (lst for lst in self.lists.values() if lst.site_id == site.id)

    def register(self, lst: SimList) -> None:
        self.lists[lst.id] = lst
        self.titles[(lst.site_id, lst.display_name.casefold())] = lst

    def unregister(self, lst: SimList) -> None:
        self.lists.pop(lst.id, None)
        self.titles = {key: held for key, held in self.titles.items() if held is not lst}

    def written(self, lst: SimList, item: Item, kind: str) -> None:
        """Called after each write of an item: counters, the journal, and those who subscribed."""
        counter = getattr(self.stats, kind)
        counter[lst.id] += 1
        self.journal.item(lst, item, self.now())
        if self.subscriptions.by_id:
            self.subscriptions.mark(lst, self.now())

    def has_target(self, column: Column, number: int) -> bool:
        """Whether a lookup's item, or a person column's person, exists."""
        if column.facet == "personOrGroup":
            return number in self.people.by_number
        target = self.lists.get(str(column.settings.get("listId") or "").lower())
        return target is not None and target.get(str(number)) is not None

    def label(self, column: Column, number: int) -> str | None:
        """The text a lookup or person id stands for."""
        if column.facet == "personOrGroup":
            person = self.people.by_number.get(number)
            return None if person is None else person.name
        target = self.lists.get(str(column.settings.get("listId") or "").lower())
        item = None if target is None else target.get(str(number))
        if item is None:
            return None
        value = item.values().get(column.settings.get("columnName") or "Title")
        return None if value is None else str(value)
