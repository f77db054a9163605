"""The table ``rowtide_pull.applied``: made once, read for many rows, pruned; in no publication of ours."""

from datetime import timedelta
from typing import Any

import pytest
from psycopg import sql

from connectors.postgres import apply_record, apply_rights, slots
from connectors.postgres.apply_acts import EditRecord
from connectors.postgres.apply_session import ApplySession
from rowtide.errors import SourceRefused
from state.pulled import OldEdit
from tests.integration.postgres.pulled_table import PulledTable, place


@pytest.fixture
def session(pulled: PulledTable) -> ApplySession:
    """A session in whose source rows 1 to 4 were applied in version 1, two of them long ago."""
    session = pulled.session()
    for key in "1234":
        apply_record.write(
            session.connection, "parts", key, place(key, key), EditRecord(1, None if key == "4" else {"Title": key})
        )
    pulled.run("UPDATE rowtide_pull.applied SET applied_at = now() - interval '8 days' WHERE key IN ('1', '2')")
    return session


def test_what_is_missing_is_made_and_nothing_else(pulled: PulledTable) -> None:
    assert apply_record.ensure(pulled.owner) == []
    pulled.run("DROP INDEX rowtide_pull.applied_item")
    assert apply_record.ensure(pulled.owner) == [apply_record.DDL[2]]
    pulled.run("DROP SCHEMA rowtide_pull CASCADE")
    assert apply_record.ensure(pulled.owner) == list(apply_record.DDL)
    assert apply_record.missing_statements(pulled.owner) == []


def test_a_role_that_may_make_no_schema_is_told(pulled: PulledTable) -> None:
    pulled.run("DROP SCHEMA rowtide_pull CASCADE")
    with pytest.raises(SourceRefused) as raised:
        apply_record.ensure(pulled.connect(pulled.puller))
    assert raised.value.code == "no_privilege"


def test_rights_are_given_by_whoever_owns_the_table(pulled: PulledTable) -> None:
    pulled.run(
        f"REVOKE ALL ON rowtide_pull.applied FROM {pulled.puller}",
        f"REVOKE ALL ON SCHEMA rowtide_pull FROM {pulled.puller}",
    )
    writer = pulled.connect(pulled.puller)
    grants = apply_record.grants(sql.Identifier(pulled.puller))
    assert apply_rights.record_grants(writer) == grants
    assert apply_record.ensure(pulled.connect(pulled.reader), grants) == []  # not its own
    assert apply_record.ensure(pulled.owner, grants) == grants
    assert apply_rights.record_grants(writer) == []


def test_what_would_stop_apply_is_told_before(pulled: PulledTable) -> None:
    weak = pulled.connect(pulled.puller)
    assert apply_rights.blockers(weak) == []
    pulled.run("DROP SCHEMA rowtide_pull CASCADE")
    assert [one.sentence[:28] for one in apply_rights.blockers(weak)] == ["There is no complete table r"]
    assert apply_rights.blockers(pulled.owner) == []


def test_records_are_read_by_key(session: ApplySession) -> None:
    found = apply_record.read_many(session.connection, "parts", ["1", "4", "9"])
    assert {key: (one.version, one.base) for key, one in found.items()} == {"1": (1, {"Title": "1"}), "4": (1, None)}
    assert apply_record.read_many(session.connection, "others", ["1"]) == {}


def test_old_records_go_unless_something_was_applied_meanwhile(pulled: PulledTable, session: ApplySession) -> None:
    connection = session.connection
    first, second = OldEdit("1", "list-a", "1", 1), OldEdit("2", "list-a", "2", 1)
    assert apply_record.read_old(connection, "parts", limit=1) == [first]
    assert apply_record.read_old(connection, "parts", after="1") == [second]
    apply_record.write(connection, "parts", "2", place("2", "2"), EditRecord(2, {}))
    third = OldEdit("3", "list-a", "3", 1)
    assert apply_record.prune(connection, "parts", [first, second, third]) == 1
    assert sorted(apply_record.read_many(connection, "parts", list("1234"))) == ["2", "3", "4"]
    assert apply_record.prune(connection, "parts", [third._replace(version=7)], kept=timedelta(0)) == 0
    assert apply_record.prune(connection, "parts", [third], kept=timedelta(0)) == 1


def test_it_is_published_by_nobody_but_a_publication_of_all_tables(source: Any) -> None:
    apply_record.ensure(source.owner)
    published = "SELECT count(*) FROM pg_publication_tables WHERE schemaname = 'rowtide_pull'"
    assert source.one(published) == 0
    assert slots.ensure_publication(source.conn, source.publication, [("public", "t")]) == []
    assert source.one(published) == 0
