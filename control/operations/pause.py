"""Hold syncs back, and let them go on.

In: a sync, a source, a tenant or everything, a reason, an actor. Out: the hold that was placed or lifted, and those
that remain; a running flow obeys within two seconds. Rules: a paused sync never holds the slot back: its changes are
still staged, and only the last state of each row is delivered afterwards. A resume lifts a person's hold of exactly the
object named, and says which others remain and what lifts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, assert_never

from control.operations.session import Session, choose_source, require_applied_definition, require_sync
from rowtide.actor import Actor
from rowtide.catalog import Catalog
from rowtide.definition.model import Document
from rowtide.error_catalogue import command_errors, definition_errors, graph_errors, status_reasons, sync_errors
from rowtide.holds import CREATES, DELETES, PERSON, SLOT, HeldDeletes, Hold, Scope, covering, places
from state import cursors, definitions, faults, holds, outbox
from state.database import Connection


@dataclass(frozen=True, slots=True)
class OneSync:
    """The sync of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class OneSource:
    """Every sync of that source, one that is applied later too."""

    name: str


@dataclass(frozen=True, slots=True)
class OneGraph:
    """Every sync that writes to that graph, one that is applied later too."""

    name: str


@dataclass(frozen=True, slots=True)
class Everything:
    """Every sync, one that is applied later too."""


Held = OneSync | OneSource | OneGraph | Everything
"""What a person holds back or lets go on."""


class HoldDocument(TypedDict):
    """A hold; ``lifts``: what takes it away."""

    scope: str
    object: str
    kind: str
    code: str
    reason: str
    by: str
    since: datetime
    lifts: str


class PausedDocument(TypedDict):
    """What was held back, whether it was not already, and the syncs that this covers now."""

    scope: Scope
    object: str
    placed: bool
    syncs: list[str]


class ApprovedDocument(TypedDict):
    """What was let through: how many, and the keys of some."""

    count: int
    sample: list[str]


class ResumedDocument(TypedDict):
    """What was let go on, whether a person had held it, and by sync what still holds it.

    ``approved``: deletions; ``made_anew``: items that lists lack; ``tried``: how many faults are tried again at once.
    """

    scope: Scope
    object: str
    resumed: bool
    approved: ApprovedDocument | None
    made_anew: ApprovedDocument | None
    tried: int
    remaining: dict[str, list[HoldDocument]]


class AcceptedDocument(TypedDict):
    """The source whose next server is accepted, and its slot."""

    source: str
    slot: str


class TakenDocument(TypedDict):
    """The source whose slot was taken, the slot, and whether it had been left to another installation."""

    source: str
    slot: str
    left: bool


def named(definition: Document, held: Held) -> tuple[Scope, str]:
    """Scope and object of the hold; UserError when the definition has nothing of that name."""
    match held:
        case OneSync(name):
            return "sync", require_sync(definition, name)
        case OneSource(name):
            return "source", choose_source(definition, name)
        case OneGraph(name):
            if name not in definition.graph:
                raise command_errors.UNKNOWN_GRAPH(graph=name, known=", ".join(definition.graph))
            return "tenant", name
        case Everything():
            return "all", ""
        case _:
            assert_never(held)


def pause(session: Session, held: Held, reason: str, actor: Actor) -> PausedDocument:
    """Stop delivering for what is named; ``reason`` is what `status` shows. What a person has paused stays as it is."""
    why = sync_errors.PAUSED_BY_HAND(reason=reason or "Paused by hand.")

    def work(connection: Connection) -> PausedDocument:
        catalog = require_applied_definition(connection).catalog
        scope, object_ = named(catalog.definition, held)
        placed = holds.place(connection, scope, object_, PERSON, why.code, why.sentence, actor.name)
        return {"scope": scope, "object": object_, "placed": placed, "syncs": _covered(catalog, scope, object_)}

    return session.on_state(work, actor)


def resume(
    session: Session, held: Held, approve_deletes: bool, actor: Actor, approve_creates: bool = False
) -> ResumedDocument:
    """Lift the person's hold of what is named; with ``approve_deletes`` let the deletions go that a sync's hold names.

    With ``approve_creates`` the items that its hold names are made anew. What is beyond these is judged anew. Lists,
    tables and tenants that fail are tried at once.
    """
    if (approve_deletes or approve_creates) and not isinstance(held, OneSync):
        raise command_errors.APPROVE_ONE_SYNC()

    def work(connection: Connection) -> ResumedDocument:
        catalog = require_applied_definition(connection).catalog
        scope, object_ = named(catalog.definition, held)
        with connection.transaction():
            lifted = holds.lift(connection, scope, object_, PERSON)
            approved = holds.approve(connection, object_) if approve_deletes else None
            made_anew = holds.approve(connection, object_, CREATES) if approve_creates else None
            syncs = _covered(catalog, scope, object_)
            tried = _try_at_once(connection, catalog, syncs)
            left = holds.read(connection)
        return {
            "scope": scope,
            "object": object_,
            "resumed": lifted is not None,
            "approved": _approved(approved),
            "made_anew": _approved(made_anew),
            "tried": tried,
            "remaining": _remaining(catalog, syncs, left),
        }

    return session.on_state(work, actor)


def _try_at_once(connection: Connection, catalog: Catalog, syncs: Sequence[str]) -> int:
    """End the waits of what fails and concerns these syncs, and of the rows that wait for it; how much fails."""
    lists = {("list", ref.id) for sync in syncs for ref in catalog.lists.get(sync, {}).values()}
    tables = {("table", sync) for sync in syncs}
    tenants = {("tenant", catalog.everything[sync].graph) for sync in syncs}
    tried = faults.end_waits(connection, lists | tables | tenants)
    if tried:
        for sync in syncs:
            outbox.make_due(connection, sync)
    return tried


def judge_anew(connection: Connection, sync: str) -> None:
    """Lift what a reconcile that a person asks for lifts: what is held is judged anew, its capture begins again.

    A stop because of the table's shape is no such hold: it ends by itself when the shape fits.
    """
    for kind in (DELETES, CREATES):
        holds.lift(connection, "sync", sync, kind)
    definitions.end_stop(connection, sync, sync_errors.STOPS_OF_CHANGES)


def to_document(hold: Hold) -> HoldDocument:
    """The hold as JSON."""
    return {
        "scope": hold.scope,
        "object": hold.object,
        "kind": hold.kind,
        "code": hold.code,
        "reason": hold.reason,
        "by": hold.actor,
        "since": hold.at,
        "lifts": what_lifts(hold),
    }


def what_lifts(hold: Hold) -> str:
    """What takes the hold away."""
    word = {"all": "--all", "source": f"--source {hold.object}", "tenant": f"--target {hold.object}"}
    object_ = word.get(hold.scope, hold.object)
    match hold.kind:
        case "person":
            return status_reasons.LIFTED_BY_RESUME(object=object_).sentence
        case "capture" if hold.code in sync_errors.STOPS_OF_SHAPE:
            return status_reasons.LIFTED_BY_ITSELF().sentence
        case "capture":
            return status_reasons.LIFTED_BY_RECONCILE(object=object_).sentence
        case "refused" if hold.code == graph_errors.LIST_OF_OTHER_INSTANCE.code:
            return status_reasons.LIFTED_BY_TAKE_OVER().sentence
        case "refused" if hold.code == definition_errors.CONNECTION_OTHER.code:
            return status_reasons.LIFTED_BY_FILE().sentence
        case "slot":
            return status_reasons.LIFTED_BY_TAKING_THE_SLOT(object=hold.object).sentence
        case "deletes":
            return status_reasons.LIFTED_BY_APPROVAL(object=object_).sentence
        case "creates":
            return status_reasons.LIFTED_BY_APPROVAL_OF_CREATES(object=object_).sentence
        case _:
            return status_reasons.LIFTED_BY_ITSELF().sentence


def _covered(catalog: Catalog, scope: str, object_: str) -> list[str]:
    """The syncs that a hold on the object covers."""
    return [sync.sync for sync in catalog.everything.values() if (scope, object_) in places(sync)]


def _remaining(catalog: Catalog, syncs: Sequence[str], left: Sequence[Hold]) -> dict[str, list[HoldDocument]]:
    found = {sync: [to_document(hold) for hold in covering(left, catalog.everything[sync])] for sync in syncs}
    return {sync: documents for sync, documents in found.items() if documents}


def _approved(deletes: HeldDeletes | None) -> ApprovedDocument | None:
    return None if deletes is None else {"count": deletes.count, "sample": list(deletes.sample)}


def accept_source(session: Session, source: str, actor: Actor) -> AcceptedDocument:
    """Take the server that answers for ``source`` now for the source, after a migration: a new stream, reconciled.

    UserError for a source that the definition in force does not have.
    """

    def work(connection: Connection) -> AcceptedDocument:
        definition = require_applied_definition(connection).catalog.definition
        choose_source(definition, source)
        cursors.accept_system(connection, definition.slot(source))
        return {"source": source, "slot": definition.slot(source)}

    return session.on_state(work, actor)


def take_slot(session: Session, source: str, actor: Actor) -> TakenDocument:
    """Have this installation read the slot of ``source`` again, as the one that came to it last.

    An installation that reads the slot still has it left to it once more. UserError for a source that the definition in
    force does not have.
    """

    def work(connection: Connection) -> TakenDocument:
        definition = require_applied_definition(connection).catalog.definition
        choose_source(definition, source)
        slot = definition.slot(source)
        with connection.transaction():
            cursors.forget_owner(connection, slot)
            left = holds.lift(connection, "source", source, SLOT)
        return {"source": source, "slot": slot, "left": left is not None}

    return session.on_state(work, actor)
