"""Put a definition into force.

In: a session, the `ApplyPlan` that was shown and agreed to, an actor. Out: publication and slot on each source, lists
and columns in each tenant, the compiled definition stored and in force; a document that says what was done. Rules: the
publication is made before the slot; nothing is ever deleted, what is left is named; the definition is stored last, so
that a running flow never sees one whose parts are missing; whatever would stop it midway is found before the first
change; of two that are run at once the later makes nothing before the earlier has ended. It may be run again at any
time.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict

from connectors.postgres import apply_record, apply_rights, publishing_rights, server_proof, slots
from control.operations import compile, list_plan
from control.operations.compile import CompiledDefinition
from control.operations.differences import differences
from control.operations.list_plan import MadeLists
from control.operations.plan_document import ApplyPlan
from control.operations.session import Session, require_schema
from rowtide import catalog, connections
from rowtide.actor import Actor
from rowtide.catalog import ListRef
from rowtide.error_catalogue import command_errors, graph_errors, source_errors, status_reasons
from rowtide.holds import MATCH, REFUSED
from rowtide.legible import legible
from rowtide.lists import NOTHING_HELD, ListMark
from rowtide.mapping.columns_written import columns_written
from state import database, definitions, holds, instance, lists
from state.database import Connection
from state.definitions import AppliedDefinition
from state.reconcile import record as reconciles

PATIENCE_S = 60
"""For how many seconds one `apply` waits for the end of another."""
VERSIONS = 10
"""How many versions back the one is looked for that a refused definition was planned for."""


class AppliedDocument(TypedDict):
    """The version in force, whether it is a new one, and what was done to sources and tenants.

    ``revocable``: statements that take back what a publication needed, where it was made or changed now. ``readers``:
    who can read the lists that were made.
    """

    version: int
    changed: bool
    sources: dict[str, list[str]]
    graphs: dict[str, list[str]]
    left_alone: list[str]
    warnings: list[str]
    revocable: list[str]
    readers: list[str]


def apply(session: Session, plan: ApplyPlan, actor: Actor) -> AppliedDocument:
    """Do what the plan says and store the definition.

    Nothing is changed while a source or a tenant does not answer, or when another version came into force since the
    plan was made (UserError ``plan_outdated``).
    """
    require_schema(session)
    require_answers(plan)
    _require_unchanged(session.on_state(definitions.read_applied), plan)
    with _others_kept_out(session, plan, actor):
        return _apply(session, plan, actor)


def _apply(session: Session, plan: ApplyPlan, actor: Actor) -> AppliedDocument:
    sources, revocable = dict[str, list[str]](), list[str]()
    for name in session.definition.postgres:
        sources[name], taken_back = _apply_source(session, name, actor)
        revocable += taken_back
    compiled = compile.compile_known(session.loaded, compile.read_all_tables(session))
    known, mark = session.on_state(lists.read), ListMark(session.on_state(_confirm_instance), plan.take_over)
    made = {
        name: list_plan.make_lists(session.definition, name, compiled, known, mark) for name in session.definition.graph
    }
    version, changed = _store(session, plan, compiled, made, _servers(session, actor), actor)
    return {
        "version": version,
        "changed": changed,
        "sources": sources,
        "graphs": {name: list(one.done) for name, one in made.items()},
        "left_alone": list(plan.left_alone),
        "warnings": list(plan.warnings),
        "revocable": revocable,
        "readers": plan.readers,
    }


@contextmanager
def _others_kept_out(session: Session, plan: ApplyPlan, actor: Actor) -> Iterator[None]:
    """Nobody else applies meanwhile; nothing is made at all where another did so while this one waited."""
    connection = database.connect(session.state_dsn(actor))
    try:
        with database.translated():
            if not definitions.keep_others_out(connection, PATIENCE_S):
                raise command_errors.APPLY_UNDER_WAY(seconds=PATIENCE_S)
            _require_unmoved(connection, definitions.read_applied(connection), plan)
        yield
    finally:
        connection.close()


def _confirm_instance(connection: Connection) -> str:
    """The installation's id; records that are found elsewhere get another one."""
    instance.confirm(connection)
    return instance.known(connection)


def require_answers(plan: ApplyPlan) -> None:
    """Raise why a source or a tenant did not answer the plan, or what would stop `apply` midway: it changes nothing."""
    for work in [*plan.sources.values(), *plan.graphs.values()]:
        if work.error is not None:
            raise work.error
    faults = [(name, fault) for name, work in plan.sources.items() for fault in work.faults]
    if faults:
        problems = "\n".join(legible(f"source {name}: {fault.sentence}") for name, fault in faults)
        raise source_errors.SOURCE_UNFIT(
            problems=problems, remedies="\n".join(legible(fault.remedy) for _, fault in faults)
        )


def _require_unchanged(applied: AppliedDefinition | None, plan: ApplyPlan) -> None:
    """What was agreed to is a difference to one version; it says nothing about another."""
    version = None if applied is None else applied.version
    if version != plan.applied_version:
        raise command_errors.PLAN_OUTDATED(version=version)


def _require_unmoved(connection: Connection, applied: AppliedDefinition | None, plan: ApplyPlan) -> None:
    """What was stored meanwhile is not overwritten: nobody has agreed to its loss."""
    if applied is None or applied.version == plan.applied_version:
        return
    before = [one for one in definitions.read_newest(connection, VERSIONS) if one.version == plan.applied_version]
    old = before[0].compiled["definition"] if before else None
    changes = differences(old, applied.compiled["definition"])
    raise command_errors.DEFINITION_MOVED(version=applied.version, by=applied.applied_by, changes="; ".join(changes))


def _apply_source(session: Session, name: str, actor: Actor) -> tuple[list[str], list[str]]:
    """Make publication, then slot, where they are missing; what was done, and what may be revoked now, as SQL."""
    definition, revocable = session.definition, list[str]()
    publication, slot = definition.publication(name), definition.slot(name)
    failover = definition.postgres[name].failover
    with session.source(name, admin=True, actor=actor) as connection:
        done = slots.ensure_publication(connection, publication, definition.tables(name))
        if done:
            revocable = publishing_rights.revocable(connection, definition.tables(name))
    with session.source(name, actor=actor) as connection:
        _, made = slots.ensure_slot(connection, slot, publication, failover)
    done = [*done, *([slots.slot_statement(slot, failover)] if made else [])]
    return [*done, *_make_record(session, name, actor)], revocable


def _make_record(session: Session, name: str, actor: Actor) -> list[str]:
    """Make the record of people's edits where syncs go both ways, and let the role that writes them use it."""
    if not columns_written(session.definition, name):
        return []
    with session.writer(name, actor) as writer, session.source(name, admin=True, actor=actor) as admin:
        return [*apply_record.ensure(admin), *apply_record.ensure(admin, apply_rights.record_grants(writer))]


def _servers(session: Session, actor: Actor) -> dict[str, str]:
    """By source the system id of the server that answers now."""
    found = {}
    for name in session.definition.postgres:
        with session.source(name, actor=actor) as connection:
            found[name] = server_proof.read_server(connection, None).system_id
    return found


def _store(
    session: Session,
    plan: ApplyPlan,
    compiled: CompiledDefinition,
    made: Mapping[str, MadeLists],
    servers: Mapping[str, str],
    actor: Actor,
) -> tuple[int, bool]:
    """Store the definition unless it is in force already; the version in force, and whether it is a new one."""
    known = [one for of_graph in made.values() for one in of_graph.lists]
    gone = frozenset[str]().union(*(of_graph.gone for of_graph in made.values()))
    held = {list_id: left_out for of_graph in made.values() for list_id, left_out in of_graph.held.items()}
    filled = frozenset[str]().union(*(of_graph.filled for of_graph in made.values()))

    def work(connection: Connection) -> tuple[int, bool]:
        with connection.transaction():
            definitions.lock(connection)
            applied = definitions.read_applied(connection)
            _require_unmoved(connection, applied, plan)
            for sync in sorted(one.sync for one in compiled.syncs.values()):
                holds.lift(connection, "sync", sync, REFUSED, [graph_errors.LIST_OF_OTHER_INSTANCE.code])
            before = lists.read_held(connection)
            left = lists.take_over(connection, known, {one.sync for one in compiled.syncs.values()}, gone, held)
            for sync in sorted(filled):
                reconciles.request(connection, sync, "its list may hold items that are not known", deep=True)
            _hold_to_match(connection, compiled, applied, filled, actor)
            for one in known:
                if before.get(one.id, NOTHING_HELD).is_mended_by(held[one.id]):
                    reconciles.request(connection, one.sync, "columns of its list were mended")
            tenants = connections.tenants_of(session.definition)
            stored = catalog.to_compiled(
                session.definition, tenants, compiled.columns, _refs(compiled, made), left, servers
            )
            if applied is not None and _is_in_force(applied, stored):
                return applied.version, False
            version = definitions.apply(connection, stored, actor.name, plan.applied_version)
            assert version is not None, "the lock is held, and the version in force was read under it"
            return version, True

    return session.on_state(work, actor)


def _hold_to_match(
    connection: Connection,
    compiled: CompiledDefinition,
    applied: AppliedDefinition | None,
    filled: Collection[str],
    actor: Actor,
) -> None:
    """Hold each sync whose rows and items are to be paired first, and ask for the pass that does it."""
    before = {} if applied is None else _matched_by(applied.compiled["definition"])
    for one in compiled.syncs.values():
        columns = tuple(column.column for column in one.match)
        if not columns:
            holds.lift(connection, "sync", one.sync, MATCH)
        elif one.sync in filled or before.get(one.sync) != (columns, one.two_ways):
            said = status_reasons.MATCHING(columns=", ".join(columns))
            holds.place(connection, "sync", one.sync, MATCH, said.code, said.sentence, actor.name)
            reconciles.request(connection, one.sync, "rows and items are to be matched", deep=True)


def _matched_by(document: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], bool]]:
    """By the id of each sync the columns by which it matches, and whether it goes both ways."""
    return {
        sync.get("id") or name: (tuple(sync.get("match") or ()), sync.get("direction") == "both")
        for name, sync in document["syncs"].items()
    }


def _is_in_force(applied: AppliedDefinition, compiled: Mapping[str, object]) -> bool:
    return applied.compiled == compiled and applied.needs == catalog.FORMAT


def _refs(compiled: CompiledDefinition, made: Mapping[str, MadeLists]) -> dict[str, dict[str, ListRef]]:
    """Id of the sync -> title -> list."""
    refs: dict[str, dict[str, ListRef]] = {one.sync: {} for one in compiled.syncs.values()}
    for graph, of_graph in made.items():
        for one in of_graph.lists:
            refs[one.sync][one.title] = ListRef(one.id, one.site_id, graph, one.columns)
    return refs
