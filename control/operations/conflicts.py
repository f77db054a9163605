"""Conflicts: list them, show one, decide open ones, say what another policy would have done.

In: a session, filters, a choice, an actor. Out: documents. Rules: values are in the answers of `show` and `find_open`
alone; a choice names the two values of each field that whoever chose has seen (`seen_as`), and a field that is no
longer so is asked again; who chose and why stays on record.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict

from control.operations.session import Session, read_applied_definition
from rowtide.actor import Actor
from rowtide.change import JsonValue
from rowtide.conflict_simulation import PastConflict, simulate
from rowtide.deciding.conflict_documents import ValuesDocument, winner_of
from rowtide.deciding.conflicts import Choice, OtherValue, TwoWayPolicy, Winner
from rowtide.error_catalogue import command_errors
from state import conflicts
from state.conflicts import ConflictFilter, StoredConflict
from state.database import Connection

_SEEN_DIGITS = 12


@dataclass(frozen=True, slots=True)
class WantedConflicts:
    """Which conflicts, as a person says it; ``sync`` by name or id, ``within``: recorded so lately."""

    sync: str | None = None
    key: str | None = None
    kind: str | None = None
    open_only: bool = False
    within: timedelta | None = None
    limit: int = 100


class ConflictRow(TypedDict):
    """A conflict without its values. ``winner`` None: it is open, or was overtaken before anybody decided."""

    id: int
    sync: str
    key: str | None
    kind: str
    fields: list[str]
    policy: str
    winner: str | None
    state: str
    at: datetime
    chosen_by: str | None
    chosen_why: str | None


class ConflictWithValues(ConflictRow):
    """A conflict with its values, its item, and when each side was changed.

    ``seen_as``: its number with what its values are now, by which a person says which ones they have seen.
    """

    seen_as: str
    list_id: str
    item_id: str
    version: int
    values: Mapping[str, ValuesDocument]
    sentence: str | None
    postgres_at: datetime | None
    sharepoint_at: datetime | None
    editor: str | None
    chosen_at: datetime | None


class ConflictsDocument(TypedDict):
    """Conflicts, the newest first."""

    conflicts: list[ConflictRow]


class ResolvedDocument(TypedDict):
    """The conflicts that were decided, and those that are open no more."""

    resolved: list[int]
    closed_already: list[int]


class SimulatedDocument(TypedDict):
    """What a policy would have done: values (or whole rows) by winner, and the conflicts that would differ."""

    policy: str
    conflicts: int
    wins: Mapping[str, int]
    would_differ: list[int]
    by_field: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NamedConflict:
    """A conflict by its number. ``seen_as``: only as it was when it was shown so; None: as it is now."""

    id: int
    seen_as: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decides: a side for all that is not named, and by field a side or a value."""

    side: Winner | None
    why: str
    fields: Mapping[str, Winner | OtherValue] = field(default_factory=dict)


def list_conflicts(session: Session, wanted: WantedConflicts) -> ConflictsDocument:
    """Conflicts as wanted, without their values."""
    found = session.on_state(lambda connection: conflicts.find(connection, _filter(connection, wanted)))
    return {"conflicts": [_to_row(one) for one in found]}


def show(session: Session, conflict_id: int) -> ConflictWithValues:
    """One conflict with its values; UserError when there is none of that number."""
    found = session.on_state(lambda connection: conflicts.read(connection, conflict_id))
    if found is None:
        raise command_errors.UNKNOWN_CONFLICT(id=conflict_id)
    return _with_values(found)


def find_open(session: Session, wanted: WantedConflicts, names: Sequence[NamedConflict]) -> list[ConflictWithValues]:
    """The open conflicts of these names, or all that are wanted, with their values.

    UserError where there is none of a number, or one has other values by now than whoever names it has seen.
    """

    def work(connection: Connection) -> list[StoredConflict]:
        if not names:
            return conflicts.find(connection, _filter(connection, wanted))
        return [_named(connection, one) for one in names]

    return [_with_values(one) for one in session.on_state(work) if one.state == "open"]


def _named(connection: Connection, name: NamedConflict) -> StoredConflict:
    found = conflicts.read(connection, name.id)
    if found is None:
        raise command_errors.UNKNOWN_CONFLICT(id=name.id)
    if name.seen_as is not None and found.state == "open" and name.seen_as != seen_as(found):
        raise command_errors.CONFLICT_MOVED(id=name.id)
    return found


def seen_as(one: StoredConflict) -> str:
    """The number of a conflict with a digest of the two values of each field."""
    both = {name: [values["postgres"], values["sharepoint"]] for name, values in one.fields.items()}
    digest = hashlib.sha256(json.dumps(both, sort_keys=True).encode()).hexdigest()
    return f"{one.id}:{digest[:_SEEN_DIGITS]}"


def resolve(session: Session, seen: Sequence[ConflictWithValues], decision: Decision, actor: Actor) -> ResolvedDocument:
    """Decide these conflicts, of which the person has seen these values; the entries are taken again.

    UserError where a field is named that none of them is about.
    """
    known = {name for one in seen for name in one["values"]}
    if seen and (unknown := sorted(set(decision.fields) - known)):
        raise command_errors.CONFLICT_FIELD(field=unknown[0], known=", ".join(sorted(known)))

    def work(connection: Connection) -> ResolvedDocument:
        done: ResolvedDocument = {"resolved": [], "closed_already": []}
        for one in seen:
            saw = {name: (values["postgres"], values["sharepoint"]) for name, values in one["values"].items()}
            fields = {name: chosen for name, chosen in decision.fields.items() if name in saw}
            choice = Choice(decision.side, fields, saw)
            is_done = conflicts.resolve(connection, one["id"], choice, actor.name, decision.why)
            done["resolved" if is_done else "closed_already"].append(one["id"])
        return done

    return session.on_state(work, actor)


def simulate_policy(session: Session, wanted: WantedConflicts, policy: TwoWayPolicy) -> SimulatedDocument:
    """What the policy would have done with the recorded conflicts that are wanted."""
    found = session.on_state(lambda connection: conflicts.find(connection, _filter(connection, wanted)))
    past = [
        PastConflict(
            one.id, winner_of(one.winner), {name: winner_of(values["winner"]) for name, values in one.fields.items()},
            one.postgres_at, one.sharepoint_at,
        )
        for one in found
        if one.sentence is None  # no policy would have had the table take it
    ]  # fmt: skip
    result = simulate(past, policy)
    return {
        "policy": policy,
        "conflicts": result.conflicts,
        "wins": {one.name.lower(): result.wins.get(one, 0) for one in Winner},
        "would_differ": list(result.other),
        "by_field": dict(sorted(result.by_field.items())),
    }


def side_of(word: str) -> Winner:
    """The side of that name; UserError when it is none."""
    if word not in ("postgres", "sharepoint"):
        raise command_errors.CONFLICT_SIDE(word=word)
    return Winner[word.upper()]


def other_value(value: JsonValue) -> OtherValue:
    """A value in place of both."""
    return OtherValue(value)


def _filter(connection: Connection, wanted: WantedConflicts) -> ConflictFilter:
    applied = read_applied_definition(connection)
    named = applied.catalog.definition.find_sync(wanted.sync) if applied and wanted.sync is not None else None
    since = None
    if wanted.within is not None:
        [(since,)] = connection.execute("SELECT now() - %s", [wanted.within]).fetchall()
    state = "open" if wanted.open_only else None
    return ConflictFilter(named or wanted.sync, wanted.key, wanted.kind, state, since, wanted.limit)


def _to_row(one: StoredConflict) -> ConflictRow:
    return {
        "id": one.id,
        "sync": one.sync,
        "key": one.key,
        "kind": one.kind,
        "fields": sorted(one.fields),
        "policy": one.policy,
        "winner": one.winner,
        "state": one.state,
        "at": one.at,
        "chosen_by": one.chosen_by,
        "chosen_why": one.chosen_why,
    }


def _with_values(one: StoredConflict) -> ConflictWithValues:
    return {
        **_to_row(one),
        "seen_as": seen_as(one),
        "list_id": one.list_id,
        "item_id": one.item_id,
        "version": one.version,
        "values": one.fields,
        "sentence": one.sentence,
        "postgres_at": one.postgres_at,
        "sharepoint_at": one.sharepoint_at,
        "editor": one.editor_name,
        "chosen_at": one.chosen_at,
    }
