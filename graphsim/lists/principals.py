"""Who wrote an item: people and applications, with their ids in the site's user information list.

In: a person's name (or an application's id). Out: `Principal`, one object per person, shared by all items. Rule: ids
grow from 1 and are never reused, as in a site's user information list.
"""

import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

NAMESPACE = uuid.UUID("b3a5a0a4-6a0f-5d5c-8a55-0f8d0c9e7f42")
SYSTEM_NAME = "System Account"


@dataclass(frozen=True)
class Principal:
    """A person or an application; `number` is its id in the user information list."""

    number: int
    kind: str
    key: str
    name: str
    email: str

    @cached_property
    def identity_set(self) -> dict[str, Any]:
        """`lastModifiedBy` as answered; for an app-only write the user is shown as "SharePoint App" (a guess)."""
        if self.kind == "app":
            return {
                "application": {"id": self.key, "displayName": self.name},
                "user": {"displayName": "SharePoint App"},
            }
        return {"user": {"email": self.email, "id": self.key, "displayName": self.name}}


class Principals:
    """The user information list (one for all sites of the simulator)."""

    def __init__(self) -> None:
        self.by_number: dict[int, Principal] = {}
        self._by_key: dict[tuple[str, str], Principal] = {}
        self.system = self.person(SYSTEM_NAME)

    def person(self, name: str) -> Principal:
        """The person of a name, in any case; made when nobody has that name."""
        key = str(uuid.uuid5(NAMESPACE, "person:" + name.casefold()))
        email = name if "@" in name else name.casefold().replace(" ", ".") + "@contoso.example"
        return self._by_key.get(("person", key)) or self._add("person", key, name, email)

    def app(self, client_id: str, name: str) -> Principal:
        """The entry of an application, made at its first use."""
        return self._by_key.get(("app", client_id)) or self._add("app", client_id, name, "")

    def _add(self, kind: str, key: str, name: str, email: str) -> Principal:
        made = Principal(len(self.by_number) + 1, kind, key, name, email)
        self.by_number[made.number] = made
        self._by_key[(kind, key)] = made
        return made

    def restore(self, kind: str, key: str, name: str, email: str) -> None:
        """Called by the journal, in order of number, before anything else asks for a person."""
        if (kind, key) not in self._by_key:
            self._add(kind, key, name, email)
