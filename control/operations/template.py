"""The text of a commented rowtide.yaml.

In: a `Draft`: a source, a graph, tables with their columns. Out: YAML with a comment at every choice. Rule: the text
passes `rowtide validate`; a column that cannot be carried becomes a comment that says why.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rowtide.definition.kinds import RESERVED_FIELDS
from rowtide.mapping.columns import NUMBER_DIGITS, TEXT_LENGTH, SourceColumn

TITLE = "Title"
FIELD_LENGTH, SYNC_LENGTH = 32, 32


@dataclass(frozen=True, slots=True)
class FieldDraft:
    """One line under ``fields``: the column, its field and kind; ``why_not`` makes the line a comment."""

    column: str
    name: str
    kind: str | None = None  # None: Title, which is text
    format: str | None = None
    choices: Sequence[str] = ()
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class SyncDraft:
    """One sync: a table, its list (or ``lists``, ready-made YAML flow text), its fields."""

    name: str
    table: str
    list_title: str
    fields: Sequence[FieldDraft]
    lists: str | None = None
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything a definition needs; the defaults are placeholders for a person to fill in."""

    syncs: Sequence[SyncDraft] = ()
    state_dsn: str = "env:ROWTIDE_STATE_DSN"
    recovery_dir: str = "./.rowtide/recovery"
    listen: str = "127.0.0.1:9464"
    source: str = "main"
    source_dsn: str = "env:ROWTIDE_SOURCE_DSN"
    slot: str = "rowtide_main"
    publication: str = "rowtide_main"
    graph: str = "contoso"
    tenant_id: str = "00000000-0000-0000-0000-000000000000"
    client_id: str = "00000000-0000-0000-0000-000000000000"
    client_secret: str = "env:ROWTIDE_CLIENT_SECRET"
    licences: int = 1000
    quota_share: float = 0.8
    user_agent: str = "NONISV|Contoso|Rowtide/1.0"
    site: str = "contoso.sharepoint.com:/sites/operations"
    simulator: dict[str, str] = field(default_factory=dict)  # base_url, authority, ca_file


EXAMPLE = SyncDraft(
    name="orders",
    table="public.orders",
    list_title="Orders",
    fields=(
        FieldDraft("order_no", TITLE),
        FieldDraft("status", "Status", "choice"),
        FieldDraft("amount", "Amount", "number"),
        FieldDraft("placed_at", "PlacedAt", "dateTime"),
    ),
)


def propose(table: str, columns: Sequence[SourceColumn]) -> SyncDraft:
    """A sync for ``schema.table``: every column that can be carried gets a field and a kind."""
    name = table.rpartition(".")[2]
    title = _title_column(columns)
    drafts = _distinct([_field(column, title) for column in columns])
    return SyncDraft(_sync_name(name), table, _words(name), drafts)


def _title_column(columns: Sequence[SourceColumn]) -> str | None:
    """The column that names a row for people: by its own name, else the first short text or key."""
    texts = [column for column in columns if column.family in ("text", "blank_padded") and not column.key]
    for wanted in ("title", "name", "subject", "label"):
        for column in texts:
            if column.name == wanted:
                return column.name
    numbered = [column for column in texts if re.search(r"_(no|number|code|name|title)$", column.name)]
    short = [column for column in texts if column.precision]
    keys = [column for column in columns if column.key]
    return next((column.name for column in [*numbered, *short, *keys]), None)


def _field(column: SourceColumn, title: str | None) -> FieldDraft:
    if column.name == title:
        return FieldDraft(column.name, TITLE)
    kind, format_, why_not = _kind(column)
    name = _pascal(column.name)
    if why_not is None and column.key:
        why_not = "the key is carried by RowtideKey already; take the # away to show it"
    choices = column.enum_labels if kind == "choice" else ()
    return FieldDraft(column.name, name, kind, format_, choices, why_not)


def _kind(column: SourceColumn) -> tuple[str, str | None, str | None]:
    """Kind, format, and why the column cannot be carried (None: it can)."""
    match column.family:
        case "integer" | "numeric" | "float4" | "float8":
            exact = column.family == "numeric" and (column.precision or NUMBER_DIGITS + 1) > NUMBER_DIGITS
            return ("text", None, None) if exact and column.precision else ("number", None, None)
        case "boolean":
            return "boolean", None, None
        case "date":
            return "dateTime", "dateOnly", None
        case "timestamp" | "timestamptz":
            return "dateTime", None, None
        case "enum":
            return "choice", None, None
        case "uuid" | "inet":
            return "text", None, None
        case "text" | "blank_padded":
            short = column.precision is not None and column.precision <= TEXT_LENGTH
            return ("text" if short or column.family == "blank_padded" else "note"), None, None
        case "json":
            return "note", None, None
        case _:
            return "text", None, f"{column.type_name} has no counterpart in a list"


def _distinct(drafts: Sequence[FieldDraft]) -> list[FieldDraft]:
    """The drafts with distinct names: one that an earlier column took, in whatever case, gets a number at its end."""
    taken: set[str] = set()
    answer = []
    for draft in drafts:
        name, number = draft.name, 2
        while name.lower() in taken:
            name, number = f"{draft.name[:30]}{number}", number + 1
        taken.add(name.lower())
        answer.append(replace(draft, name=name))
    return answer


def _pascal(column: str) -> str:
    words = [word for word in re.split(r"[^0-9A-Za-z]+", column) if word]
    name = "".join(word[:1].upper() + word[1:] for word in words) or "Column"
    if name[0].isdigit():
        name = f"C{name}"
    taken = name.lower() in RESERVED_FIELDS or name == TITLE
    return (f"Row{name}" if taken else name)[:FIELD_LENGTH]


def _words(table: str) -> str:
    return " ".join(part.capitalize() for part in re.split(r"[^0-9A-Za-z]+", table) if part) or "Rows"


def _sync_name(table: str) -> str:
    name = re.sub(r"[^0-9a-z_-]+", "_", table.lower()).strip("_")
    return (name if name[:1].isalpha() else f"t_{name}")[:SYNC_LENGTH]


# --- text -------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z_./][0-9A-Za-z_./ -]*(?<! )\Z")
_WORDS_WITH_MEANING = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})


def scalar(text: str) -> str:
    """``text`` as a YAML scalar, quoted where YAML would read it as something else."""
    if _PLAIN.match(text) and text.lower() not in _WORDS_WITH_MEANING:
        return text
    return json.dumps(text, ensure_ascii=False)


def definition_text(draft: Draft) -> str:
    """The whole file."""
    syncs = [line for sync in draft.syncs or [EXAMPLE] for line in _sync(draft, sync)]
    return "\n".join([*_head(draft), *_source(draft), *_graph(draft), "syncs:", *syncs]) + "\n"


def _head(draft: Draft) -> list[str]:
    return [
        "# What Rowtide keeps the same, and how. `rowtide validate` checks this file, `rowtide plan` says what",
        "# `rowtide apply` would do. Secrets are references (env:NAME or file:/path), never literals.",
        "version: 1",
        "",
        "# Rowtide's own records (outbox, ledger, cursors): a database of their own, on any PostgreSQL.",
        f"state: {{dsn: {json.dumps(draft.state_dsn)}}}",
        "",
        "run:",
        f"  recovery_dir: {scalar(draft.recovery_dir)}  # may be thrown away at any time",
        f"  listen: {scalar(draft.listen)}  # metrics and health",
        "  log: text  # or json; always on stderr",
        "",
    ]


def _source(draft: Draft) -> list[str]:
    return [
        "postgres:",
        f"  {draft.source}:",
        f"    dsn: {json.dumps(draft.source_dsn)}  # a role with REPLICATION and SELECT: see `rowtide plan --sql`",
        f"    slot: {scalar(draft.slot)}",
        f"    publication: {scalar(draft.publication)}",
        "    heartbeat: 10s  # keeps the slot moving while these tables are quiet",
        "    on_gap: heal  # when the slot was lost: reconcile and go on; or stop",
        "",
    ]


def _graph(draft: Draft) -> list[str]:
    lines = [
        "graph:",
        f"  {draft.graph}:",
        f"    tenant_id: {json.dumps(draft.tenant_id)}",
        f"    client_id: {json.dumps(draft.client_id)}",
        f"    credential: {{client_secret: {json.dumps(draft.client_secret)}}}",
        f"    licences: {draft.licences}  # Microsoft 365 licences of the tenant: they decide how much it may write",
        f"    quota_share: {draft.quota_share}  # of the app's limit, for all Rowtide processes together",
        f"    user_agent: {json.dumps(draft.user_agent)}",
    ]
    if draft.simulator:
        lines += ["    # A simulator's, not Microsoft's:"]
        lines += [f"    {name}: {json.dumps(value)}" for name, value in draft.simulator.items()]
    return [*lines, ""]


def _sync(draft: Draft, sync: SyncDraft) -> list[str]:
    where = [f"    where: {json.dumps(sync.where)}  # only these rows; the others have no item"] if sync.where else []
    lists = f"    lists: {sync.lists}" if sync.lists else f"    list: {scalar(sync.list_title)}"
    return [
        f"  {sync.name}:",
        f"    source: {{postgres: {draft.source}, table: {scalar(sync.table)}}}",
        f"    target: {{graph: {draft.graph}, site: {json.dumps(draft.site)}}}",
        lists,
        *where,
        "    fields:  # column: field, or {field, as}; kinds: text note number boolean dateTime choice",
        *(f"      {_field_line(one)}" for one in sync.fields),
        "    deletes: propagate  # a deleted row's item is deleted",
        "    breaker: {share: 0.2, rows: 500}  # more deletions than this at once: stop and ask",
        "",
    ]


def _field_line(one: FieldDraft) -> str:
    if one.kind is None:
        return f"{scalar(one.column)}: {one.name}"
    format_ = f", format: {one.format}" if one.format else ""
    choices = f", choices: {json.dumps(list(one.choices), ensure_ascii=False)}" if one.choices else ""
    line = f"{scalar(one.column)}: {{field: {one.name}, as: {one.kind}{format_}{choices}}}"
    return f"# {line}  # {one.why_not}" if one.why_not else line
