"""What ``rowtide.yaml`` may say, as values (docs/design.md section 11), checked as far as a file can be.

In: the plain data of the parsed YAML (connectors.settings reads it), or the JSON of an applied definition. Out: a
`Definition`, or a `Document`, which is what of it is stored; else one `DefinitionError` that carries *all* problems
with their paths, which settings turns into ``file:line``. Rules: unknown keys are errors; what is not built yet is
refused with a reason, never ignored; secrets are references and no message ever shows a value; only a file says how
something is reached (docs/design.md section 11).
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from rowtide import table_name
from rowtide.definition import clouds, diagnostics
from rowtide.definition.both_ways import (
    ConflictsDefinition,
    Deletes,
    DeletesDefinition,
    MarkDefinition,
    OnRefused,
    PollText,
)
from rowtide.definition.diagnostics import Problem
from rowtide.definition.kinds import (
    LOCATE,
    Duration,
    Expression,
    FieldKind,
    FieldName,
    Identifier,
    Name,
    Plain,
    Secret,
    SlotName,
    TableName,
    Title,
    Url,
    is_name,
    matching,
    not_yet,
    to_come,
)
from rowtide.definition.section import Section as Section
from rowtide.errors import DefinitionError
from rowtide.mapping import sharding

_S = TypeVar("_S", bound=Section)


class StateDefinition(Section):
    """The state database."""

    dsn: Secret


class LogDefinition(Section):
    """How log lines look, and from which level on there are any; a plain word is the format."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _log(value: object) -> object:
    return {"format": value} if isinstance(value, str) else value


class RunDefinition(Section):
    """What a running process keeps and shows."""

    recovery_dir: str = "./.rowtide/recovery"
    listen: Annotated[str, matching(r".+:\d{1,5}", "must be address:port, such as 127.0.0.1:9464")] = "127.0.0.1:9464"
    log: Annotated[LogDefinition, BeforeValidator(_log)] = LogDefinition()
    traces: Literal["auto", "on", "off"] = "auto"
    """Whether a span is sent for each batch; auto: where the environment names a collector (connectors.traces)."""


class SourcePolicy(Section):
    """How a source is read. ``slot`` and ``publication`` None: ``rowtide_<name>``; see `Document.slot`."""

    slot: SlotName | None = None
    publication: Identifier | None = None
    heartbeat: Duration = timedelta(seconds=10)
    failover: bool = False
    on_gap: Literal["heal", "stop"] = "heal"


class PostgresDefinition(SourcePolicy):
    """A source, and how it is reached."""

    dsn: Secret
    apply_dsn: Secret | None = None
    """As whom people's edits are written; None: as the role of ``dsn``."""
    apply_search_path: tuple[Identifier, ...] | None = Field(default=None, strict=False, min_length=1)
    """Where the triggers of tables find what they name; None: in their table's schema."""
    admin_dsn: Secret | None = None


class CredentialDefinition(Section):
    """How the app proves itself; exactly one of the ways. ``certificate`` refers to a PEM with certificate and key.

    ``expires``: the last day of a ``client_secret``, as Entra shows it; a certificate says so itself.
    """

    client_id: Plain | None = None  # of another app, for provisioning
    client_secret: Secret | None = None
    certificate: Secret | None = None
    expires: Annotated[date | None, Field(strict=False)] = None
    workload_identity: Annotated[None, to_come("use client_secret or certificate")] = None
    managed_identity: Annotated[None, to_come("use client_secret or certificate")] = None

    @model_validator(mode="after")
    def _one_way(self) -> "CredentialDefinition":
        if (self.client_secret is None) == (self.certificate is None):
            raise PydanticCustomError("credential", "needs exactly one of client_secret and certificate")
        if self.expires is not None and self.client_secret is None:
            raise PydanticCustomError("credential", "expires is a client_secret's; a certificate says so itself")
        return self


class TenantPolicy(Section):
    """How a tenant is written to. The last two keys are for tests against a simulator; leave them out otherwise."""

    licences: Annotated[int, Field(ge=1)] = 1000
    quota_share: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.8
    user_agent: str = "NONISV|Rowtide|Rowtide/1.0"
    request_timeout: Duration = timedelta(seconds=30)
    absent_after: Duration = timedelta(seconds=60)
    rate_window: Duration = timedelta(seconds=60)
    """Window the tier's limit a minute is scaled to: 6s means a tenth of it in 6 s."""
    quota: Literal["on", "off"] = "on"
    """off: no pacing at all, for throughput runs against a simulator."""


class WebhooksDefinition(Section):
    """Where Graph tells of changes: an address that leads to ``run.listen``, and the key that proves it is Graph."""

    url: Url
    key: Secret

    @field_validator("url")
    @classmethod
    def _is_reached(cls, url: str) -> str:
        if (problem := clouds.why_not(url, simulator=True)) is not None:
            raise PydanticCustomError("address", "webhooks.url {problem}", {"problem": problem})
        return url


class GraphDefinition(TenantPolicy):
    """A tenant and our app in it. Without the last four keys it is in Microsoft's global cloud.

    ``base_url`` and ``authority`` are for its national clouds; ``ca_file`` and ``simulator`` for tests.
    """

    tenant_id: Plain
    client_id: Plain
    credential: CredentialDefinition
    provisioning_credential: CredentialDefinition | None = None
    base_url: Url = "https://graph.microsoft.com/v1.0"
    authority: Url = "https://login.microsoftonline.com"
    ca_file: str | None = None
    simulator: bool = False
    webhooks: WebhooksDefinition | None = None

    @model_validator(mode="after")
    def _where_secrets_go(self) -> "GraphDefinition":
        for key in ("base_url", "authority"):
            if (problem := clouds.why_not(getattr(self, key), self.simulator)) is not None:
                raise PydanticCustomError("address", "{key} {problem}", {"key": key, "problem": problem})
        return self


class SourceDefinition(Section):
    """A table. ``key`` None: its primary key."""

    postgres: str
    table: TableName
    key: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)

    @property
    def schema_and_table(self) -> tuple[str, str]:
        """Schema and table apart."""
        found = table_name.parse(self.table)
        assert found is not None, "refused before: a table is written as schema.table"
        return found


class TargetDefinition(Section):
    """A site."""

    graph: str
    site: Annotated[str, matching(r"[^\s:/]+(:/\S*)?", "must be a site such as contoso.sharepoint.com:/sites/ops")]


class ListsDefinition(Section):
    """Which list a row belongs to: ``by`` with ``map`` and ``default``, or ``by`` with ``name``."""

    by: Expression
    map: dict[Plain, Title] | None = None
    default: Title | None = None
    name: Title | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "ListsDefinition":
        if (self.map is None) == (self.name is None):
            raise PydanticCustomError("lists", "needs exactly one of map and name beside by")
        try:
            self.sharding()
        except DefinitionError as error:
            raise PydanticCustomError("lists", "{sentence}", {"sentence": error.sentence}) from error
        return self

    def sharding(self) -> sharding.Sharding:
        """The section as a value of the core."""
        return sharding.by_expression(self.by, map=self.map, default=self.default, name=self.name)


class FieldDefinition(Section):
    """What a column becomes in the list; a plain name means kind text."""

    field: FieldName
    kind: FieldKind = Field(default="text", alias="as")
    format: Literal["dateTime", "dateOnly"] | None = None
    choices: tuple[Plain, ...] | None = Field(default=None, strict=False, min_length=1)
    overflow: Literal["park", "truncate"] | None = None
    lookup_list: Annotated[None, to_come("lookups; leave it out")] = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _fits_kind(self) -> "FieldDefinition":
        for key, kinds in (("format", ("dateTime",)), ("choices", ("choice",)), ("overflow", ("text", "note"))):  # fmt: skip  # noqa: E501
            if getattr(self, key) is not None and self.kind not in kinds:
                raise PydanticCustomError("field", "{key} goes with kind {kinds} only", {"key": key, "kinds": " or ".join(kinds)})  # fmt: skip  # noqa: E501
        if self.field == "Title" and self.kind != "text":
            raise PydanticCustomError("field", "Title is a text column in every list; map it as text")
        return self


class BreakerDefinition(Section):
    """Waiting deletions above this share or number of a sync's pairs pause it."""

    share: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.2
    rows: Annotated[int, Field(ge=0)] = 500


def _at_least_a_day(time: timedelta) -> timedelta:
    if time < timedelta(days=1):
        raise PydanticCustomError("retention", "has to be 1d at least")
    return time


def _field(value: object) -> object:
    return {"field": value} if isinstance(value, str) else value


class SyncDefinition(Section):
    """One table and its lists. ``id`` None: the sync's name; records and items carry it (`Definition.id_of`)."""

    id: Name | None = None
    source: SourceDefinition
    target: TargetDefinition
    direction: Literal["push", "pull", "both"] = "push"
    mode: Literal["deliver", "observe"] = "deliver"
    list: Title | None = None
    lists: ListsDefinition | None = None
    where: Expression | None = None
    match: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)
    """By which columns rows and the items of lists that were there before are paired, once; None: by no column."""
    fields: dict[str, Annotated[FieldDefinition, BeforeValidator(_field)]] = Field(min_length=1)
    conflicts: ConflictsDefinition = ConflictsDefinition()
    deletes: Deletes = DeletesDefinition()
    on_refused: OnRefused = "keep"
    status_field: FieldName | None = None
    """A text column of the lists, which Rowtide alone writes: what became of a person's edit; None: there is none."""
    poll: PollText | None = None
    """How often a list is asked for changes that people made; None: as `both_ways.EVERY` says."""
    breaker: BreakerDefinition = BreakerDefinition()
    weight: Annotated[int, Field(ge=1, le=100)] = 1
    """Its share of the turns that syncs of a tenant take when more waits than the quota allows."""
    schedule: Annotated[None, to_come("let cron run `rowtide reconcile`; leave it out")] = None

    @model_validator(mode="after")
    def _whole(self) -> "SyncDefinition":
        if self.direction == "pull":
            raise not_yet("direction pull; say both")
        if self.direction == "push" and (unused := self._of_both_ways()):
            raise PydanticCustomError("direction", "{key} goes with direction: both only", {"key": unused})
        unmapped = sorted(self.conflicts.columns.keys() - self.fields.keys())
        if unmapped:
            close = diagnostics.did_you_mean(unmapped[0], self.fields)
            told = {"column": unmapped[0], "close": close}
            raise PydanticCustomError("conflicts", "conflicts.columns: '{column}' is not mapped{close}", told)
        for name in self.match or ():
            if (why := self._no_match(name)) is not None:
                raise PydanticCustomError("match", "match: column '{name}' {why}", {"name": name, "why": why})
        if (self.list is None) == (self.lists is None):
            raise PydanticCustomError("lists", "needs exactly one of list and lists")
        names = [definition.field for definition in self.fields.values()]
        twice = sorted({name for name in names if [other.lower() for other in names].count(name.lower()) > 1})
        if twice:
            raise PydanticCustomError("fields", "two columns are mapped to {names}", {"names": " and ".join(twice)})
        if self.status_field is not None and self.status_field.lower() in {"title", *map(str.lower, names)}:
            raise PydanticCustomError("status_field", "status_field has to be a field of its own")
        if isinstance(self.deletes.push, MarkDefinition) and self.deletes.push.named[0] not in names:
            raise PydanticCustomError("deletes", "deletes.push: mark names a field that a column is mapped to")
        return self

    def _no_match(self, name: str) -> str | None:
        """Why rows and items are not paired by the column; None where they can be."""
        if name not in self.fields:
            return f"is not mapped{diagnostics.did_you_mean(name, self.fields)}"
        truncates = self.fields[name].overflow == "truncate"
        return "is truncated, so that two rows may look alike" if truncates else None

    def _of_both_ways(self) -> str | None:
        """The first key that says something of the way back."""
        if self.conflicts != ConflictsDefinition():
            return "conflicts"
        if self.deletes.pull != self.deletes.push and self.deletes.pull != "propagate":
            return "deletes.pull"
        if self.on_refused != "keep":
            return "on_refused"
        if self.status_field is not None:
            return "status_field"
        return None if self.poll is None else "poll"

    def sharding(self) -> sharding.Sharding:
        """Which list a row belongs to, as a value of the core."""
        if self.lists is not None:
            return self.lists.sharding()
        assert self.list is not None, "refused before: exactly one of the two is there"
        return sharding.single(self.list)


class Retention(Section):
    """How long is kept what nothing needs any more: ended runs, keys of deleted rows (at least a day), conflicts."""

    runs: Duration = timedelta(days=90)
    tombstones: Annotated[Duration, AfterValidator(_at_least_a_day)] = timedelta(days=7)
    conflicts: Duration = timedelta(days=365)


class Document(Section):
    """What a definition says of syncs, sources and tenants, but for how these are reached: what `apply` stores."""

    version: Literal[1]
    postgres: Mapping[Name, SourcePolicy] = Field(min_length=1)
    graph: Mapping[Name, TenantPolicy] = Field(min_length=1)
    syncs: dict[Name, SyncDefinition] = Field(min_length=1)
    retention: Retention | None = None

    @property
    def kept(self) -> Retention:
        """How long is kept what nothing needs any more."""
        return self.retention or Retention()

    def id_of(self, sync: str) -> str:
        """The id of the sync of that name: what records and items of it carry, whatever it is called."""
        return self.syncs[sync].id or sync

    def find_sync(self, word: str) -> str | None:
        """The id of the sync that ``word`` means, its name or its id; None when there is none."""
        ids = {self.id_of(name): name for name in self.syncs}
        return self.id_of(word) if word in self.syncs else word if word in ids else None

    def sync_of_id(self, sync_id: str) -> SyncDefinition | None:
        """The sync with that id; None when there is none."""
        return next((sync for name, sync in self.syncs.items() if self.id_of(name) == sync_id), None)

    def slot(self, postgres: str) -> str:
        """The replication slot of a source."""
        return self.postgres[postgres].slot or f"rowtide_{postgres.replace('-', '_')}"

    def publication(self, postgres: str) -> str:
        """The publication of a source."""
        return self.postgres[postgres].publication or f"rowtide_{postgres.replace('-', '_')}"

    def tables(self, postgres: str) -> tuple[tuple[str, str], ...]:
        """Schema and table of every table the syncs of a source need, once each, in order."""
        return tuple(sorted({s.source.schema_and_table for s in self.syncs.values() if s.source.postgres == postgres}))

    def to_json(self) -> dict[str, object]:
        """Plain JSON that `parse_document` reads back: of a whole definition, too, it is the document alone."""
        sources = {name: _as(SourcePolicy, one) for name, one in self.postgres.items()}
        tenants = {name: _as(TenantPolicy, one) for name, one in self.graph.items()}
        document = Document(
            version=self.version, postgres=sources, graph=tenants, syncs=self.syncs, retention=self.retention
        )
        return document.model_dump(mode="json", by_alias=True, exclude_none=True)


def _as(kind: type[_S], section: _S) -> _S:
    """The section without what ``kind`` does not have."""
    return kind(**{name: getattr(section, name) for name in kind.model_fields})


class Definition(Document):
    """The whole file."""

    state: StateDefinition
    redis: Annotated[None, to_come("one process keeps the quota; leave it out")] = None
    run: RunDefinition = RunDefinition()
    postgres: dict[Name, PostgresDefinition] = Field(min_length=1)
    graph: dict[Name, GraphDefinition] = Field(min_length=1)


CONNECTION_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "postgres": frozenset(PostgresDefinition.model_fields.keys() - SourcePolicy.model_fields.keys()),
    "graph": frozenset(GraphDefinition.model_fields.keys() - TenantPolicy.model_fields.keys()),
}
"""By section the keys that say how something is reached; they are read from a file only."""


def parse_document(data: object) -> Document:
    """The document that the JSON of an applied definition describes; DefinitionError with all problems of it."""
    try:
        document = Document.model_validate(data)
    except ValidationError as error:
        raise diagnostics.as_error(diagnostics.from_validation(error, Document)) from None
    crossed = _cross_problems(data, document.syncs)
    if crossed:
        raise diagnostics.as_error(crossed)
    return document


def parse(data: object, locate: Callable[[str], str] | None = None) -> Definition:
    """The definition that plain data describes; DefinitionError with all problems of it.

    ``locate`` makes the relative paths of secret references absolute; without it they stay as they are.
    """
    try:
        definition = Definition.model_validate(data, context=None if locate is None else {LOCATE: locate})
    except ValidationError as error:
        found = diagnostics.from_validation(error, Definition)
        raise diagnostics.as_error([*found, *_cross_problems(data, _sound_syncs(data))]) from None
    crossed = [*_cross_problems(data, definition.syncs), *_unused_keys(definition)]
    if crossed:
        raise diagnostics.as_error(crossed)
    return definition


_OF_APPLYING: Final = ("apply_dsn", "apply_search_path")


def _unused_keys(definition: Definition) -> list[Problem]:
    """Keys of sources that say how people's edits are written, where no sync of the source goes both ways."""
    both_ways = {sync.source.postgres for sync in definition.syncs.values() if sync.direction == "both"}
    return [
        Problem(("postgres", name, key), f"postgres.{name}.{key}: no sync of this source has direction: both")
        for name, source in definition.postgres.items()
        for key in _OF_APPLYING
        if name not in both_ways and getattr(source, key) is not None
    ]


def _sound_syncs(data: object) -> dict[str, SyncDefinition]:
    """The valid syncs of a definition that is not valid as a whole."""
    sound = {}
    syncs = _section(data, "syncs")
    for name in filter(is_name, syncs):
        try:
            sound[name] = SyncDefinition.model_validate(syncs[name])
        except ValidationError:
            continue
    return sound


def _cross_problems(data: object, syncs: Mapping[str, SyncDefinition]) -> list[Problem]:
    """Problems between the parts of a definition, such as a name that nothing has."""
    problems: list[Problem] = []
    for name in filter(is_name, _section(data, "syncs")):
        for section, path in (("postgres", ("syncs", name, "source")), ("graph", ("syncs", name, "target"))):
            word = _section(data, *path).get(section)
            known = list(filter(is_name, _section(data, section)))
            if isinstance(word, str) and word not in known:
                shown = f"'{word}'" if is_name(word) else "such name"
                sentence = f"{'.'.join(path)}.{section}: there is no {shown} in {section}"
                problems.append(Problem((*path, section), sentence + diagnostics.did_you_mean(word, known)))
    known_as: dict[str, str] = {}
    for name, sync in syncs.items():
        for word in {name, sync.id or name}:
            if (holder := known_as.setdefault(word, name)) != name:
                sentence = (
                    f"syncs.{name}: '{word}' is the name or the id of the sync {holder} too; both have to be its own"
                )
                problems.append(Problem(("syncs", name), sentence))
    owners: dict[tuple[str, str, str], str] = {}
    for name, sync in syncs.items():
        for title in sync.sharding().titles():
            list_of = (sync.target.graph, sync.target.site.lower(), title.lower())
            if owners.setdefault(list_of, name) != name:
                sentence = f"syncs.{name}: the list '{title}' belongs to the sync {owners[list_of]}; one list, one sync"
                problems.append(Problem(("syncs", name), sentence))
    return problems


def _section(data: object, *path: str) -> Mapping[str, object]:
    """The mapping at ``path``; empty where there is none."""
    for part in path:
        data = data.get(part) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}
