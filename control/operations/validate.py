"""Whether a definition is sound.

In: a session. Out: doubts, and the sources whose tables could not be checked; DefinitionError with every problem as
``file:line: sentence``. Rule: nothing is changed anywhere; a source that cannot be reached is no problem of the
definition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from connectors.postgres import apply_rights
from control.operations import compile, polls
from control.operations.compile import Tables
from control.operations.session import Session
from rowtide.errors import DefinitionError, RowtideError
from rowtide.mapping.columns_written import columns_written


class ValidationDocument(TypedDict):
    """Whether a definition is valid; ``unreached``: per source whose tables were not checked, why."""

    valid: bool
    problems: list[str]
    warnings: list[str]
    polls: list[str]
    unreached: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Validation:
    """A sound definition: what may go wrong with some values, how many syncs were checked against their tables.

    ``polls``: how often lists are asked for what people change.
    """

    doubts: Sequence[str]
    checked: int
    unreached: Mapping[str, str]
    polls: Sequence[str] = ()

    def document(self) -> ValidationDocument:
        """The validation as JSON."""
        return {
            "valid": True, "problems": [], "warnings": list(self.doubts), "polls": list(self.polls),
            "unreached": self.unreached,
        }  # fmt: skip


def validate(session: Session, offline: bool) -> Validation:
    """Check the definition against the tables it names, unless ``offline``; DefinitionError when it is not sound."""
    tables, unreached = ({}, {}) if offline else _ask_sources(session)
    compiled = compile.compile_known(session.loaded, tables)
    unwritten = [] if offline else _ask_writers(session, unreached)
    reckoned = polls.reckon(session.definition, compiled.syncs)
    return Validation([*compiled.doubts, *unwritten, *reckoned.unkept], len(tables), unreached, reckoned.kept)


def invalid_document(error: DefinitionError) -> ValidationDocument:
    """The document for a definition that is not sound."""
    return {"valid": False, "problems": error.sentence.splitlines(), "warnings": [], "polls": [], "unreached": {}}


def _ask_sources(session: Session) -> tuple[Tables, dict[str, str]]:
    """Tables of the tables that could be asked, and why others could not."""
    tables: Tables = {}
    unreached: dict[str, str] = {}
    for name in compile.used_sources(session.definition):
        try:
            with session.source(name) as connection:
                tables |= compile.read_source_tables(session.definition, name, connection)
        except RowtideError as error:
            unreached[name] = error.sentence
    return tables, unreached


def _ask_writers(session: Session, unreached: dict[str, str]) -> list[str]:
    """What keeps people's edits from being written; a source that does not answer the writer joins the unreached."""
    found: list[str] = []
    for name in compile.used_sources(session.definition):
        written = columns_written(session.definition, name)
        if not written or name in unreached:
            continue
        try:
            with session.writer(name) as connection:
                checks = apply_rights.checks(connection, written)
                found += [f"postgres.{name}: {check.sentence}" for check in checks if check.level != "ok"]
        except RowtideError as error:
            unreached[name] = error.sentence
    return found
