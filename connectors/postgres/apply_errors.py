"""What an error of PostgreSQL means for the one row that was being written.

In: psycopg's error, the `ApplyTable`. Out: an `Outcome` that changed nothing, or `SourceAway`. Rules (docs/design.md
section 21): what passes is tried again; what the table, its constraints, triggers and policies refuse parks the one row
in PostgreSQL's own words; what no row of the table could pass is a hold. A sentence never has the detail of an error,
which quotes the row, nor the message of a data exception, which quotes a value.
"""

from typing import Final

import psycopg

from connectors.postgres.apply_acts import NotPrepared, Outcome, RowLocked, RowRefused, SourceAway, UniqueViolation
from connectors.postgres.apply_table import ApplyTable
from connectors.postgres.connections import source_error
from rowtide.error_catalogue import row_errors

MOST_SAID: Final = 300
"""The most characters that are kept of PostgreSQL's words; a trigger may say as much as it likes."""

_LOCKED: Final = ("55P03", "40001", "40P01", "57014")
"""A row or table that somebody holds, a serialization failure, a deadlock, a statement that took too long."""
_AWAY: Final = ("08", "53", "57P", "58", "XX", "25006", "25P")
"""Connection, resources, operator, system, internal; a server that only reads; an aborted transaction."""
_ROW_SECURITY: Final = "ExecWithCheckOptions"
"""The function of PostgreSQL's source that refuses a row by a policy: its SQLSTATE is that of a missing privilege."""
_RAISED: Final = "exec_stmt_raise"
"""The function that carries out RAISE: the words are the customer's own."""
_QUOTES_NOTHING: Final = ("22001",)
"""Data exceptions whose message has no value in it: a text longer than its column."""


def to_outcome(error: psycopg.Error, table: ApplyTable) -> Outcome:
    """What ``error`` means for the row."""
    state = error.sqlstate
    said = (error.diag.message_primary or "")[:MOST_SAID]
    if state is None and isinstance(error, psycopg.DataError):  # by psycopg itself: a NUL character
        return refused("a value has a character that PostgreSQL does not hold", table)
    if state is None or state.startswith(_AWAY):
        return SourceAway(source_error(error, _doing(table)))
    if state in _LOCKED:
        return RowLocked(said)
    if state == "23505":
        why = row_errors.UNIQUE_IN_SOURCE(table=table.sync.table_text, said=said)
        return UniqueViolation(error.diag.constraint_name or "", why.sentence)
    if _is_of_every_row(error, state):
        return NotPrepared(source_error(error, _doing(table)))
    return refused(_words(error, state, said), table)


def refused(said: str, table: ApplyTable) -> RowRefused:
    """The row is parked; ``said``: why, as PostgreSQL says it."""
    why = row_errors.REFUSED_BY_SOURCE(table=table.sync.table_text, said=said)
    return RowRefused(why.code, why.sentence)


def _is_of_every_row(error: psycopg.Error, state: str) -> bool:
    """Whether no row of the table would fare better: a missing table, column or privilege.

    What a function of the customer's met is the row's: another row may take another way through it.
    """
    if error.diag.context or error.diag.source_function == _ROW_SECURITY:
        return False
    return state.startswith("42") or state == "3F000"


def _words(error: psycopg.Error, state: str, said: str) -> str:
    if state.startswith("22") and state not in _QUOTES_NOTHING and error.diag.source_function != _RAISED:
        return f"a value is refused ({type(error).__name__}, SQLSTATE {state})"
    return said


def _doing(table: ApplyTable) -> str:
    return f"writing table {table.sync.table_text}"
