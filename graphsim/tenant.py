"""The state of the simulator: sites, lists, people, apps, tokens, quota, faults, counters.

In: settings. Out: one `Tenant`, passed to every handler. Rules: time and randomness come from here only, so a seed and
a clock replay a history; each use of chance draws from its own stream, so that a new fault rule does not change the
ids of lists.
"""

import random
import uuid

from graphsim.clock import Clock
from graphsim.identity.app_registrations import App, make_app
from graphsim.identity.permissions import Permissions
from graphsim.identity.tokens import Tokens
from graphsim.journal import Journal, MemoryJournal
from graphsim.limits.faults import Faults
from graphsim.limits.throttle import Throttle
from graphsim.lists.list_index import ListIndex
from graphsim.lists.list_store import ListItem, SimList
from graphsim.lists.principals import Principal, Principals
from graphsim.lists.references import References
from graphsim.lists.sites import Sites
from graphsim.stats import Stats
from graphsim.switches import Switches
from graphsim.webhooks.subscriptions import Subscriptions


class Tenant:
    """The state of one simulated tenant."""

    def __init__(
        self,
        *,
        clock: Clock,
        seed: int | str = 0,
        switches: Switches | None = None,
        tier: str = "off",
        window_s: float = 60.0,
        only_tenant_id: str | None = None,
        key_field: str = "RowtideKey",
        journal: Journal | None = None,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.only_tenant_id = only_tenant_id
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
        self.journal: Journal = journal or MemoryJournal()
        self.apps: dict[str, App] = {}
        self.sites = Sites()
        self.lists = ListIndex(self.sites)
        self.references = References(self.lists, self.people)
        self.schema_busy: set[str] = set()
        self.tokens = Tokens(self.stream("tokens"))
        self.no_tokens_before = 0.0

    def stream(self, name: str) -> random.Random:
        """A generator of chance of its own, fixed by the seed and the name."""
        return random.Random(f"{self.seed}:{name}")

    def now(self) -> float:
        """Seconds since 1970 by the tenant's clock."""
        return self.clock.now()

    def tenant_id(self) -> str:
        """The tenant as notifications name it: a GUID."""
        return self.only_tenant_id or "5f0c9d1e-8a52-4a0a-9d0b-3f6f1f6d0c11"

    def new_id(self) -> str:
        """A GUID for a new list, column, grant or credential."""
        return str(uuid.UUID(int=self.ids.getrandbits(128), version=4))

    def request_id(self) -> str:
        """A GUID for one answer; drawn apart from `new_id`, so that reads do not change the ids of lists."""
        h = f"{self.requests.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"

    def add_app(self, client_id: str, name: str | None = None) -> App:
        """The app of a client id, registered at its first use."""
        found = self.apps.get(client_id)
        if found is None:
            found = make_app(client_id, self.people.app(client_id, name or f"App {client_id[:8]}"))
            self.apps[client_id] = found
            self.note_person(found.principal)
        return found

    def note_person(self, person: Principal) -> None:
        """Keeps a person across restarts."""
        value = [person.kind, person.key, person.name, person.email]
        self.journal.record("person", str(person.number), value)

    def person(self, name: str) -> Principal:
        """The named person, known to the user information list from now on."""
        known = len(self.people.by_number)
        person = self.people.person(name)
        if len(self.people.by_number) != known:
            self.note_person(person)
        return person

    def record_write(self, lst: SimList, item: ListItem, kind: str) -> None:
        """Called after each write of an item: counts it, journals it, marks the list for its subscribers."""
        counter = getattr(self.stats, kind)
        counter[lst.id] += 1
        self.journal.item(lst, item, self.now())
        if self.subscriptions.by_id:
            self.subscriptions.mark(lst, self.now())
