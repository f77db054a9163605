"""How a process reaches the sources and tenants of the definition in force: by its own file, and by nothing else.

In: the definition in force, the process's own file. Out: `Reach`: the connections of what both name alike, and of each
source and tenant that they do not, why not. Rules (docs/decisions/0032-connections-come-from-the-file.md): whoever may
write the state database chooses no server, no secret and no certificate; a difference keeps its own source or tenant
apart, and no other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Literal, TypeVar

from rowtide.definition.model import (
    CONNECTION_KEYS,
    CredentialDefinition,
    Definition,
    Document,
    GraphDefinition,
    PostgresDefinition,
    Section,
    SourcePolicy,
    TenantPolicy,
)
from rowtide.error_catalogue import definition_errors
from rowtide.errors import UserError

_P = TypeVar("_P", bound=Section)

Part = tuple[Literal["source", "tenant"], str]
"""A source or a tenant by its name; the scope and the object of a hold on it."""

Strayed = Mapping[Part, tuple[str, ...]]
"""By source and tenant the keys that are stored and must not be: they say how it is reached."""


@dataclass(frozen=True, slots=True)
class TenantIdentity:
    """Which tenant a name means: the lists of a definition are in this one. Hosts with their ports, if these are odd.

    For comparing and showing only; nobody connects by it.
    """

    tenant_id: str
    client_id: str
    graph: str
    login: str

    @classmethod
    def from_stored(cls, stored: Mapping[str, object]) -> "TenantIdentity":
        """The identity that is stored; what is missing is like no file."""
        return cls(*(str(stored.get(one.name, "")) for one in fields(cls)))

    def __str__(self) -> str:
        return f"{self.graph} (login {self.login}, tenant {self.tenant_id}, app {self.client_id})"


def tenants_of(definition: Definition) -> dict[str, TenantIdentity]:
    """The tenants that a file names."""
    return {name: _identity(one) for name, one in definition.graph.items()}


def _identity(graph: GraphDefinition) -> TenantIdentity:
    return TenantIdentity(graph.tenant_id, graph.client_id, _host(graph.base_url), _host(graph.authority))


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].lower()


def split_off(stored: Mapping[str, object]) -> tuple[dict[str, object], Strayed]:
    """The document as it should be stored, and what is stored beside it that only a file may say."""
    document = {key: value for key, value in stored.items() if key not in _OF_PROCESS}
    strayed: dict[Part, tuple[str, ...]] = {}
    for scope, section in _SECTIONS.items():
        found = document.get(section)
        if not isinstance(found, Mapping):
            continue
        for name, one in found.items():
            keys = CONNECTION_KEYS[section].intersection(one) if isinstance(one, Mapping) else frozenset()
            if keys:
                strayed[(scope, str(name))] = tuple(sorted(keys))
        document[section] = {
            name: {key: value for key, value in one.items() if key not in CONNECTION_KEYS[section]}
            if isinstance(one, Mapping)
            else one
            for name, one in found.items()
        }
    return document, strayed


_SECTIONS: Final[Mapping[Literal["source", "tenant"], str]] = {"source": "postgres", "tenant": "graph"}
_OF_PROCESS: Final = frozenset(Definition.model_fields.keys() - Document.model_fields.keys())


@dataclass(frozen=True, slots=True)
class Reach:
    """The sources and tenants that a process reaches: connections as its file has them, policy as it was applied.

    ``apart``: why one is not reached.
    """

    sources: Mapping[str, PostgresDefinition] = field(default_factory=dict)
    tenants: Mapping[str, GraphDefinition] = field(default_factory=dict)
    apart: Mapping[Part, UserError] = field(default_factory=dict)

    def is_same(self, other: "Reach") -> bool:
        """Whether the same is reached, in the same way."""
        return self is other or (self.sources, self.tenants) == (other.sources, other.tenants)

    def source(self, name: str) -> PostgresDefinition:
        """A source; UserError ``connection_differs`` where it is not reached."""
        self.require(name)
        return self.sources[name]

    def require(self, source: str, tenant: str | None = None) -> None:
        """Raise UserError ``connection_differs`` unless both are reached."""
        error = self.apart.get(("source", source)) or (tenant and self.apart.get(("tenant", tenant)))
        if error:
            raise error


def compare(
    document: Document,
    tenants: Mapping[str, TenantIdentity],
    strayed: Strayed,
    own: Definition,
    file: str,
    why_away: Callable[[str], str | None] = lambda _reference: None,
) -> Reach:
    """What of the definition in force is reached by the file ``own``, which sentences call ``file``.

    ``why_away``: why the secret of a reference cannot be had, None where it can.
    """
    apart = {
        (scope, name): definition_errors.CONNECTION_STORED(what=scope, name=name, keys=", ".join(keys), file=file)
        for (scope, name), keys in strayed.items()
    }
    sources, graphs = {}, {}
    for name, source in document.postgres.items():
        error = _source_apart(document, own, name, file)
        if error is None:
            sources[name] = _under(own.postgres[name], SourcePolicy, source)
        else:
            apart.setdefault(("source", name), error)
    for name, tenant in document.graph.items():
        error = _tenant_apart(tenants.get(name), own.graph.get(name), name, file, why_away)
        if error is None:
            graphs[name] = _under(own.graph[name], TenantPolicy, tenant)
        else:
            apart.setdefault(("tenant", name), error)
    reached = {name: one for name, one in sources.items() if ("source", name) not in apart}
    return Reach(reached, {name: one for name, one in graphs.items() if ("tenant", name) not in apart}, apart)


def _source_apart(applied: Document, own: Definition, name: str, file: str) -> UserError | None:
    if name not in own.postgres:
        return definition_errors.CONNECTION_ABSENT(what="source", name=name, file=file)
    here, there = (f"slot {one.slot(name)}, publication {one.publication(name)}" for one in (own, applied))
    if here != there:
        return definition_errors.CONNECTION_OTHER(what="source", name=name, file=file, here=here, there=there)
    return None


def _tenant_apart(
    applied: TenantIdentity | None,
    own: GraphDefinition | None,
    name: str,
    file: str,
    why_away: Callable[[str], str | None],
) -> UserError | None:
    if own is None:
        return definition_errors.CONNECTION_ABSENT(what="tenant", name=name, file=file)
    here = _identity(own)
    if here != applied:
        there = "no tenant in particular" if applied is None else str(applied)
        return definition_errors.CONNECTION_OTHER(what="tenant", name=name, file=file, here=here, there=there)
    why = why_away(_reference(own.credential))
    if why is not None:
        return definition_errors.CONNECTION_SECRET(what="tenant", name=name, file=file, why=why)
    return None


def _reference(credential: CredentialDefinition) -> str:
    return credential.client_secret or credential.certificate or ""


def _under(own: _P, kind: type[Section], policy: Section) -> _P:
    """The section of the file under what was applied as policy."""
    return own.model_copy(update={name: getattr(policy, name) for name in kind.model_fields})
