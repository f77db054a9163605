"""The text of a commented rowtide.yaml.

In: a `Draft`: a source, a graph, tables with their columns and what their values look like. Out: YAML with a comment
at every choice. Rule: the text passes `rowtide validate`; a column that cannot be carried becomes a comment that says
why.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.postgres.column_samples import ColumnSample
from rowtide import table_name
from rowtide.definition.kinds import RESERVED_FIELDS
from rowtide.mapping.columns import NUMBER_DIGITS, TEXT_LENGTH, Kind, SourceColumn, misfit
from rowtide.mapping.source_table import SourceTable

TITLE = "Title"
FIELD_LENGTH, SYNC_LENGTH, TITLE_LENGTH = 32, 32, 255
SHORT = TEXT_LENGTH // 2
"""The longest text of a column that becomes a single line: texts grow, and some characters count two."""

Samples = Mapping[str, ColumnSample]


@dataclass(frozen=True, slots=True)
class FieldDraft:
    """One line under ``fields``: the column, its field and kind; ``why_not`` makes the line a comment."""

    column: str
    name: str
    kind: Kind | None = None  # None: Title, which is text
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
    key: Sequence[str] = ()
    more: Sequence[str] = ()  # further lines of the sync


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


def propose(
    table: str, columns: Sequence[SourceColumn], samples: Samples | None = None, key: Sequence[str] = ()
) -> SyncDraft:
    """A sync for ``schema.table``: every column that can be carried gets a field and a kind.

    ``key``: what to name in ``source.key``, for a table whose primary key cannot be taken.
    """
    _, name = table_name.parse(table) or ("", table)
    seen = samples or {}
    title = _title_column(columns, seen)
    drafts = _distinct_fields([_field(column, title, seen.get(column.name)) for column in columns])
    return SyncDraft(_sync_name(name), table, _words(name), drafts, key=key)


def key_of(table: SourceTable) -> tuple[str, ...] | None:
    """What to name in ``source.key``: nothing where the primary key can be taken; None when no key can be.

    Else the smallest unique index whose columns are always there.
    """
    sound = {column.name for column in table.columns if column.not_null and not column.generated}
    primary = [column.name for column in table.columns if column.key]
    if primary and sound.issuperset(primary):
        return ()
    order = [column.name for column in table.columns]
    keys = [tuple(sorted(unique, key=order.index)) for unique in table.unique if unique and unique <= sound]
    return min(keys, key=lambda key: (len(key), key), default=None)


def name_apart(syncs: Iterable[SyncDraft]) -> list[SyncDraft]:
    """The syncs with distinct names and lists: tables of two schemas may have one name."""
    names: set[str] = set()
    titles: set[str] = set()
    return [
        replace(
            sync,
            name=_distinct(sync.name, names, SYNC_LENGTH),
            list_title=_distinct(sync.list_title, titles, TITLE_LENGTH, " "),
        )
        for sync in syncs
    ]


def _title_column(columns: Sequence[SourceColumn], samples: Samples) -> str | None:
    """The column that names a row for people: by its own name, else the first short text or key."""
    fitting = [column for column in columns if misfit(column, "text") is None]
    texts = [
        column
        for column in fitting
        if column.family in ("text", "blank_padded") and not column.key and not _is_long(samples.get(column.name))
    ]
    for wanted in ("title", "name", "subject", "label"):
        for column in texts:
            if column.name == wanted:
                return column.name
    numbered = [column for column in texts if re.search(r"_(no|number|code|name|title)$", column.name)]
    short = [column for column in texts if column.precision]
    keys = [column for column in fitting if column.key]
    return next((column.name for column in [*numbered, *short, *keys]), None)


def _field(column: SourceColumn, title: str | None, sample: ColumnSample | None) -> FieldDraft:
    if column.name == title:
        return FieldDraft(column.name, TITLE)
    kind, format_ = _kind(column, sample)
    why_not = misfit(column, kind)
    if why_not is None and column.key:
        why_not = "the key is carried by RowtideKey already; take the # away to show it"
    choices = column.enum_labels if kind == "choice" else ()
    return FieldDraft(column.name, _pascal(column.name), kind, format_, choices, why_not)


def _kind(column: SourceColumn, sample: ColumnSample | None) -> tuple[Kind, str | None]:
    """Kind and format, by the type and, where that leaves a choice, by the values."""
    match column.family:
        case "integer" | "numeric":
            return _number_or_text(column, sample), None
        case "float4" | "float8":
            return "number", None
        case "boolean":
            return "boolean", None
        case "date":
            return "dateTime", "dateOnly"
        case "timestamp" | "timestamptz":
            return "dateTime", None
        case "enum":
            return "choice", None
        case "text" | "blank_padded":
            bounded = column.precision is not None and column.precision <= TEXT_LENGTH
            return ("text" if bounded or _is_short(sample) else "note"), None
        case "json":
            return "note", None
        case _:  # PostgreSQL's own text of the value
            return ("note" if _is_long(sample) else "text"), None


def _number_or_text(column: SourceColumn, sample: ColumnSample | None) -> Kind:
    if sample is not None and sample.values:
        return "text" if sample.digits > NUMBER_DIGITS or sample.odd else "number"
    declared = column.precision if column.family == "numeric" else None
    return "text" if declared is not None and declared > NUMBER_DIGITS else "number"


def _is_short(sample: ColumnSample | None) -> bool:
    return sample is not None and sample.values > 0 and sample.longest <= SHORT and not sample.lines


def _is_long(sample: ColumnSample | None) -> bool:
    return sample is not None and sample.values > 0 and not _is_short(sample)


def _distinct_fields(drafts: Sequence[FieldDraft]) -> list[FieldDraft]:
    taken = {TITLE.lower()} if any(draft.name == TITLE for draft in drafts) else set()
    return [
        draft if draft.name == TITLE else replace(draft, name=_distinct(draft.name, taken, FIELD_LENGTH))
        for draft in drafts
    ]


def _distinct(name: str, taken: set[str], most: int, before: str = "") -> str:
    """The name, with a number at its end if it is among those ``taken``, in whatever case; it is taken from now on."""
    free, number = name, 1
    while free.lower() in taken:
        number += 1
        end = f"{before}{number}"
        free = name[: most - len(end)] + end
    taken.add(free.lower())
    return free


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

_PLAIN = re.compile(r"([A-Za-z_/]|\./)[0-9A-Za-z_./ -]*(?<! )\Z")
_WORDS_WITH_MEANING = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})
# What YAML does not take as it is, beyond what JSON escapes.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def scalar(text: str) -> str:
    """``text`` as a YAML scalar, quoted where YAML would read it as something else."""
    if _PLAIN.match(text) and text.lower() not in _WORDS_WITH_MEANING:
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _comment(text: str) -> str:
    """``text`` on one line: a comment ends where its line does."""
    return _UNPRINTABLE.sub("?", " ".join("".join(one if one >= " " else " " for one in text).split()))


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
        "  log: {format: text, level: info}  # or json; or debug, warning, error; always on stderr",
        "",
    ]


def _source(draft: Draft) -> list[str]:
    return [
        "postgres:",
        f"  {scalar(draft.source)}:",
        f"    dsn: {json.dumps(draft.source_dsn)}  # a role with REPLICATION that may read: see `rowtide plan --sql`",
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
        f"  {scalar(sync.name)}:",
        *_key_comment(sync),
        f"    source: {{postgres: {scalar(draft.source)}, table: {scalar(sync.table)}{_key(sync)}}}",
        f"    target: {{graph: {draft.graph}, site: {json.dumps(draft.site)}}}",
        lists,
        *where,
        *(f"    {line}" for line in sync.more),
        "    fields:  # column: field, or {field, as}; kinds: text note number boolean dateTime choice",
        *(f"      {_field_line(one)}" for one in sync.fields),
        "    deletes: propagate  # a deleted row's item is deleted",
        "    breaker: {share: 0.2, rows: 500}  # more deletions than this at once: stop and ask",
        "",
    ]


def _key(sync: SyncDraft) -> str:
    return f", key: [{', '.join(scalar(name) for name in sync.key)}]" if sync.key else ""


def _key_comment(sync: SyncDraft) -> list[str]:
    if not sync.key:
        return []
    return [
        "    # No primary key that can be taken: ALTER TABLE ... REPLICA IDENTITY USING INDEX (that of key), or FULL"
    ]


def _field_line(one: FieldDraft) -> str:
    if one.kind is None:
        return f"{scalar(one.column)}: {scalar(one.name)}"
    format_ = f", format: {one.format}" if one.format else ""
    choices = f", choices: [{', '.join(_quoted(choice) for choice in one.choices)}]" if one.choices else ""
    line = f"{scalar(one.column)}: {{field: {scalar(one.name)}, as: {one.kind}{format_}{choices}}}"
    return f"# {line}  # {_comment(one.why_not)}" if one.why_not else line
