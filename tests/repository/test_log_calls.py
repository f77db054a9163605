"""No line of the log holds a value: the rules of `tests.repository.log_calls`, and what each of them finds."""

import ast
import re

import pytest

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import LEFT_OUT
from tests.repository import log_calls, rules
from tests.repository.test_error_catalogue import ENTRIES

FOREIGN = ("said", "message", "sentence")
"""Fields of entries that hold another system's words."""

OF_CONNECTING = re.compile(
    # Said before anything is said of a row: by libpq, TLS and the state database's own schema.
    r"source_errors\.(WRONG_PASSWORD|PG_HBA|NO_SUCH_\w+|NO_\w+_PRIVILEGE|TLS|AUTHENTICATION|TOO_MANY_CONNECTIONS"
    r"|SERVER_NOT_READY|CONNECTION_REFUSED|UNKNOWN_HOST|CONNECT_\w+|STREAM_\w+|SLOT_\w+)"
    r"|state_errors\.STATE_(UNREACHABLE|DATABASE_MISSING|SCHEMA_MISSING|PRIVILEGE|LOGIN|TLS)"
    r"|graph_errors\.(IDENTITY|GRAPH)_CERTIFICATE"
    # Of the demo, whose errors are printed and not logged.
    r"|command_errors\.(DEMO_COMMAND|POSTGRES_INITDB|POSTGRES_START|SIMULATOR)"
)


def planted(text: str, module: str = "flows.planted") -> list[str]:
    """What both rules say of a module."""
    sources = {module: ast.parse(text)}
    return [*log_calls.log_lines_hold_no_values(sources), *log_calls.nothing_is_logged_otherwise(sources)]


def test_no_line_of_the_log_can_hold_a_value() -> None:
    sources = rules.read_sources()
    assert list(log_calls.log_lines_hold_no_values(sources)) == []
    assert list(log_calls.nothing_is_logged_otherwise(sources)) == []


@pytest.mark.parametrize(
    "text",
    [
        "log.info('x', name=row.name)",
        "log.info('x', sync=change.key)",
        "log.warning(f'row {key}')",
        "_log.error('x', problem=error.sentence)",
        "_log.error('x', problem=str(error))",
        "log.error('x', error=repr(error))",
        "log.error('x', error=str(cause))",
        "log.info('x', **change._asdict())",
        "log.info('x', reason=error.diag.message_primary.lower())",
        "log.debug('x', problem=f'{desired.fields}')",
        "import logging",
        "from structlog import get_logger",
        "import structlog\nlogger = structlog.get_logger()",
        "import structlog\nstructlog.get_logger().info('x', row=1)",
    ],
)
def test_a_value_in_a_line_is_found(text: str) -> None:
    assert planted(text)


def test_lines_that_are_as_they_should_be_are_left_alone() -> None:
    good = "import structlog\nlog = structlog.get_logger()\n"
    calls = ("log.info('x', sync=sync, rows=len(rows), after_s=round(s, 1))", "log.error('x', problem=error.unquoted)")
    assert planted(good + "\n".join(calls)) == []


def test_every_key_that_is_allowed_is_used() -> None:
    used = {
        str(word.arg)
        for tree in rules.read_sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
    }
    spread = {"key_hash", "item_id", "position"}  # by `in_log`
    assert log_calls.KEYS - used - spread == set()


@pytest.mark.parametrize("name", sorted(".".join(name) for name in ENTRIES))
def test_another_systems_words_about_rows_are_in_no_log(name: str) -> None:
    module, _, entry_name = name.partition(".")
    entry = ENTRIES[module, entry_name]
    if not isinstance(entry, Entry) or OF_CONNECTING.fullmatch(name):
        return
    error = entry(**{field: "Zweistein" if field in FOREIGN else "1" for field in entry.fields})
    assert "Zweistein" not in error.unquoted
    assert (LEFT_OUT in error.unquoted) == any(f"{{{field}}}" in entry.sentence for field in FOREIGN)
