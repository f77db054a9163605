"""Hold syncs back, and let them go on.

In: a selection of syncs of the definition in force, a reason, an actor. Out: what was paused or resumed; the records
in the state database that a running flow obeys within two seconds. Rules: a paused sync never holds the slot back: its
changes are still staged, and only the last state of each row is delivered afterwards. A sync that stopped at capture
has a gap, so resuming it asks for a reconcile.
"""

from dataclasses import dataclass
from typing import TypedDict, assert_never

from control.operations.session import Session, choose_source, require_applied_definition, require_sync
from rowtide.actor import Actor
from rowtide.definition.model import Definition
from rowtide.error_catalogue import command_errors, sync_errors
from state import cursors, definitions
from state.database import Connection
from state.reconcile import record as reconciles


@dataclass(frozen=True, slots=True)
class OneSync:
    """The sync of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class SyncsOfGraph:
    """Every sync that writes to the graph of that name."""

    graph: str


@dataclass(frozen=True, slots=True)
class EverySync:
    """Every sync of the definition in force."""


SyncSelection = OneSync | SyncsOfGraph | EverySync


class PausedDocument(TypedDict):
    """What was paused; ``reconcile`` is always empty and stands for symmetry with `ResumedDocument`."""

    paused: list[str]
    reconcile: list[str]


class AcceptedDocument(TypedDict):
    """The source whose next server is accepted, and its slot."""

    source: str
    slot: str


class ResumedDocument(TypedDict):
    """What was resumed, and of which syncs a reconcile was asked for."""

    resumed: list[str]
    reconcile: list[str]


def select(definition: Definition, selection: SyncSelection) -> list[str]:
    """The ids of the selected syncs; UserError when the definition has no such sync or graph."""
    match selection:
        case OneSync(name):
            return [require_sync(definition, name)]
        case SyncsOfGraph(graph):
            if graph not in definition.graph:
                raise command_errors.UNKNOWN_GRAPH(graph=graph, known=", ".join(definition.graph))
            return [definition.id_of(name) for name, one in definition.syncs.items() if one.target.graph == graph]
        case EverySync():
            return [definition.id_of(name) for name in definition.syncs]
        case _:
            assert_never(selection)


def pause(session: Session, selection: SyncSelection, reason: str, actor: Actor) -> PausedDocument:
    """Stop delivering for the selected syncs; ``reason`` is what `status` shows. A paused sync stays as it is."""

    why = sync_errors.PAUSED_BY_HAND(reason=reason or "Paused by hand.")

    def work(connection: Connection) -> list[str]:
        syncs = select(require_applied_definition(connection).catalog.definition, selection)
        definitions.pause(connection, syncs, why.code, why.sentence, actor.name)
        return syncs

    return {"paused": session.on_state(work, actor), "reconcile": []}


def resume(session: Session, selection: SyncSelection, approve_deletes: bool, actor: Actor) -> ResumedDocument:
    """Let the selected syncs deliver again; with ``approve_deletes`` also the deletions that the breaker held back."""

    def work(connection: Connection) -> ResumedDocument:
        syncs = select(require_applied_definition(connection).catalog.definition, selection)
        with connection.transaction():
            gaps = definitions.resume(connection, syncs, actor.name, approve_deletes)
            for name in gaps:
                reconciles.request(connection, name, "resumed after it was stopped at capture")
        return {"resumed": syncs, "reconcile": gaps}

    return session.on_state(work, actor)


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
