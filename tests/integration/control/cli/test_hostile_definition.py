"""A stored definition that is nested without end: every command and a process say so in a sentence, and go on."""

import pytest

from flows.applied_view import read_view
from rowtide.connections import Reach
from state import database
from tests.integration.control.desk import Desk

INSERT = """
INSERT INTO rowtide.definition (hash, compiled, needs, applied_by)
SELECT '', jsonb_set(compiled, '{{definition,syncs}}', ({nested})::jsonb), needs, 'somebody'
  FROM rowtide.definition ORDER BY version DESC LIMIT 1
"""
NESTED = {
    "as deep as PostgreSQL takes": "repeat('{\"a\":', 3000) || '1' || repeat('}', 3000)",
    "a hundred lists": "repeat('[', 100) || repeat(']', 100)",
}


@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED)
def test_a_nested_definition_is_not_taken(applied: Desk, nested: str) -> None:
    with database.connect(applied.state_dsn) as connection:
        before = read_view(connection, None, lambda _: Reach())
        applied.state(INSERT.format(nested=nested))
        for known in (before, None):
            view = read_view(connection, known, lambda _: Reach())
            assert view.not_taken is not None
            assert view.not_taken.code == "definition_not_taken"
            assert view.catalog.version == before.latest
    for words in (
        ["status"],
        ["plan"],
        ["doctor"],
        ["pause", "parts"],
        ["diff", "parts"],
        ["forget", "parts", "1", "--yes"],
    ):
        done = applied.type(*words)
        assert done.code in (1, 2, 3), words
        assert len(done.err) < 2000
