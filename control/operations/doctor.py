"""What would keep Rowtide from working.

In: a session. Out: findings on versions, state database, sources and tenants, with a remedy each. Rule: nothing is
changed; every part is looked at, whatever the others say.
"""

import platform
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from typing import TypedDict

from connectors import clocks, settings
from connectors.postgres import apply_rights, excess_rights, preflight
from control.operations import list_plan
from control.operations.session import AppliedCatalog, Session, read_applied_definition
from rowtide import connections
from rowtide.error_catalogue import doctor_findings as findings
from rowtide.error_catalogue.entries import Check, Level
from rowtide.errors import RowtideError
from rowtide.lists import KnownList, ListMark
from rowtide.mapping.columns_written import columns_written
from rowtide.mapping.source_table import columns_read
from state import cursors, database, instance, lists, processes, schema
from state.database import Connection

BYTEWAX = "0.21.1"
"""The version of Bytewax that this release is made for."""


class CheckDocument(TypedDict):
    """What was found about one part; ``remedy`` is empty when all is well."""

    part: str
    name: str
    level: Level
    sentence: str
    remedy: str


class DoctorDocument(TypedDict):
    """Everything that was looked at."""

    checks: list[CheckDocument]


def run_checks(session: Session) -> DoctorDocument:
    """Look at every part."""
    return {
        "checks": [*_versions(), *_state(session), *_sources(session), *_graphs(session)],
    }


def _finding(part: str, check: Check) -> CheckDocument:
    return {
        "part": part,
        "name": check.name,
        "level": check.level,
        "sentence": check.sentence,
        "remedy": check.remedy,
    }


def _versions() -> Iterator[CheckDocument]:
    release, bytewax = metadata.version("rowtide"), metadata.version("bytewax")
    yield _finding("rowtide", findings.RELEASE_OK(release=release, python=platform.python_version()))
    if bytewax == BYTEWAX:
        yield _finding("rowtide", findings.BYTEWAX_OK(version=bytewax))
    else:
        yield _finding("rowtide", findings.BYTEWAX(version=bytewax, wanted=BYTEWAX))


def _state(session: Session) -> Iterator[CheckDocument]:
    try:
        found, misfits = schema.check(session.state_dsn()), schema.check_version(session.state_dsn())
        for sentence in found:
            entry = findings.SCHEMA_MISFIT if sentence in misfits else findings.SCHEMA_SETTING
            yield _finding("state", entry(finding=f"{sentence[:1].upper()}{sentence[1:]}"))
        if not found:
            yield _finding("state", findings.SCHEMA_OK())
        dsn = session.state_dsn()
        for check in session.on_state(lambda connection: preflight.transport(connection, dsn)):
            yield _finding("state", check)
        yield _finding("state", session.on_state(_rights))
        if session.on_state(schema.public_is_open):
            yield _finding("state", findings.PUBLIC_OPEN(database=_state_database(session)))
        if not misfits:
            yield from _records(session)
    except RowtideError as error:
        yield _finding("state", Check.of_error("connection", error))


def _rights(connection: Connection) -> Check:
    return excess_rights.of_state_role(connection, database.SCHEMA)


def _state_database(session: Session) -> str:
    return session.on_state(lambda connection: connection.info.dbname)


def _records(session: Session) -> Iterator[CheckDocument]:
    found = session.on_state(read_applied_definition)
    if found is None:
        yield _finding("state", findings.DEFINITION_MISSING())
        return
    yield _finding("state", session.on_state(clocks.check))
    yield _finding("state", _in_force(session, found))
    for (scope, name), error in session.reach(found.catalog).apart.items():
        yield _finding(f"{'graph' if scope == 'tenant' else scope} {name}", Check.of_error("file", error))
    yield _finding("state", _running(session))


def _in_force(session: Session, found: AppliedCatalog) -> Check:
    version = found.record.version
    applied, own = found.catalog, session.definition
    same = applied.definition.to_json() == own.to_json() and applied.tenants == connections.tenants_of(own)
    if same and not applied.strayed:
        return findings.DEFINITION_OK(version=version)
    return findings.DEFINITION_DIFFERS(path=session.loaded.path, version=version)


def _running(session: Session) -> Check:
    alive = [process for process in session.on_state(processes.read) if process.is_alive]
    if not alive:
        return findings.PROCESS_MISSING()
    return findings.PROCESS_OK(roles=", ".join(sorted({role for one in alive for role in one.roles})))


def _cursor(session: Session, slot: str) -> cursors.SlotCursor | None:
    """Where capture stands; None too while the state database cannot be asked: that is a finding already."""
    try:
        return session.on_state(lambda connection: cursors.read_slot(connection, slot))
    except RowtideError:
        return None


def _instance(session: Session) -> str | None:
    """The installation's id; None too while the state database cannot be asked."""
    try:
        return session.on_state(instance.known) or None
    except RowtideError:
        return None


def _sources(session: Session) -> Iterator[CheckDocument]:
    definition, here = session.definition, _instance(session)
    for name, section in definition.postgres.items():
        part = f"source {name}"
        try:
            dsn = settings.resolve_secret(section.dsn)
        except RowtideError as error:
            yield _finding(part, Check.of_error("secret", error))
            continue
        slot, publication = definition.slot(name), definition.publication(name)
        wanted = preflight.WantedSource(
            dsn,
            slot,
            publication,
            definition.tables(name),
            section.failover,
            section.on_gap == "heal",
            partial(_cursor, session, slot),
            session.expected_server(name),
            here,
            columns_read(definition, name),
        )
        yield from (_finding(part, check) for check in preflight.checks(wanted))
        yield from (_finding(part, check) for check in _writing(session, name))


def _writing(session: Session, name: str) -> list[Check]:
    """Whether people's edits can be written to a source; nothing where no sync goes both ways."""
    written = columns_written(session.definition, name)
    if not written:
        return []
    try:
        with session.writer(name) as connection:
            own = session.definition.postgres[name].apply_dsn is not None  # else its rights were looked at before
            return [
                *apply_rights.checks(connection, written),
                *([excess_rights.of_writer(connection)] if own else []),
            ]
    except RowtideError as error:
        return [Check.of_error("edits", error)]


def _graphs(session: Session) -> Iterator[CheckDocument]:
    known, here = _known_lists(session), _instance(session)
    for name in session.definition.graph:
        checks = list_plan.check_graph(session.definition, name, known, None if here is None else ListMark(here))
        yield from (_finding(f"graph {name}", check) for check in checks)


def _known_lists(session: Session) -> list[KnownList]:
    """The lists that syncs have or had; none while the state database cannot be asked: that is a finding already."""
    try:
        return [] if schema.check_version(session.state_dsn()) else session.on_state(lists.read)
    except RowtideError:
        return []
