"""Doctor's checks and the columns of a table, on a real server."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from connectors.postgres import preflight, slots, table_catalog
from connectors.postgres.preflight import WantedSource
from rowtide.error_catalogue.entries import Check
from rowtide.errors import SourceRefused
from rowtide.mapping.columns import SourceColumn


def checks(source: Any, dsn: str | None = None, **more: Any) -> dict[str, list[Check]]:
    """The findings by name."""
    tables = more.pop("tables", [("public", "t")])
    found: dict[str, list[Check]] = {}
    for check in preflight.checks(WantedSource(dsn or source.dsn, source.slot, source.publication, tables, **more)):
        found.setdefault(check.name, []).append(check)
    return found


def test_a_fit_source_has_no_failure(source: Any, until: Any) -> None:
    slots.ensure_slot(source.conn, source.slot, source.publication)
    found = checks(source)
    assert {check.level for checks in found.values() for check in checks} <= {"ok", "warning"}
    assert list(found) == [
        "connection", "clock", "version", "wal_level", "capacity", "role", "public", "rights", "publication", "table",
        "slot", "probe", "wal_limit", "heartbeat",
    ]  # fmt: skip
    assert found["slot"][0].level == "ok"
    temporary = "SELECT count(*) FROM pg_replication_slots WHERE temporary"
    until(lambda: source.one(temporary) == 0, "the probe's slot has gone with its session")


def test_a_schema_public_that_is_open_to_everybody_is_told(source: Any) -> None:
    assert checks(source)["public"][0].level == "ok"
    source.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
    (found,) = checks(source)["public"]
    assert (found.level, found.remedy) == ("warning", "REVOKE CREATE ON SCHEMA public FROM PUBLIC;")
    source.run(found.remedy)
    assert checks(source)["public"][0].level == "ok"


def test_rights_that_nothing_needs_are_told(source: Any) -> None:
    assert checks(source)["rights"][0].sentence == "The role postgres is superuser."
    role = f"reader_{source.slot}"[:60]
    source.run(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'of-the-reader'", f"GRANT SELECT ON t TO {role}")
    dsn = psycopg.conninfo.make_conninfo(source.dsn, user=role, password="of-the-reader")

    def rights() -> str:
        (found,) = checks(source, dsn)["rights"]
        assert (found.level == "ok") == (not found.remedy)
        return found.sentence

    none = f"The role {role} may do no more than is needed."
    try:
        assert rights() == none
        source.run(f"GRANT UPDATE (id) ON t TO {role}", f"GRANT CREATE ON SCHEMA public TO {role}")
        assert rights() == f"The role {role} may also: write to public.t; create something in schema public."
        source.run(f"REVOKE ALL ON t FROM {role}", f"REVOKE CREATE ON SCHEMA public FROM {role}")
        source.run(f"GRANT SELECT ON t TO {role}", f"ALTER ROLE {role} BYPASSRLS CREATEROLE")
        assert rights() == f"The role {role} may also: make roles; bypass row security, which is on for no table."
        source.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY", f"ALTER ROLE {role} NOCREATEROLE")
        assert rights() == none
        source.run(f"GRANT pg_write_all_data TO {role}")
        assert "act as pg_write_all_data; write to public.t" in rights()
    finally:
        source.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_an_unreachable_server_is_the_only_finding(source: Any) -> None:
    (check,) = preflight.checks(WantedSource("host=127.0.0.1 port=1 dbname=x password=hush", "s", "p", []))
    assert (check.name, check.level) == ("connection", "failure")
    assert "127.0.0.1:1/x: Connection refused" in check.sentence
    assert "hush" not in check.sentence


def test_what_is_missing_is_named(source: Any) -> None:
    source.run("CREATE TABLE keyless (id int)", "CREATE UNLOGGED TABLE quick (id int PRIMARY KEY)")
    source.run("CREATE TABLE later (id int PRIMARY KEY DEFERRABLE)")
    tables = [("public", name) for name in ("t", "keyless", "quick", "later", "nowhere")]
    found = checks(source, tables=tables)
    assert [check.level for check in found["table"]] == ["ok", "failure", "failure", "failure", "failure"]
    assert found["slot"][0].level == "warning"
    assert "lacks something" in found["publication"][0].sentence
    source.run(f'DROP PUBLICATION "{source.publication}"')
    assert checks(source)["publication"][0].sentence.endswith("would be lost.")


def test_a_role_without_rights_is_told_which(source: Any, pg: Any) -> None:
    name = f"poor_{source.conn.info.dbname}"
    source.run(f"CREATE ROLE {name} LOGIN PASSWORD 'p'")
    try:
        found = checks(source, pg.dsn(source.conn.info.dbname, name, "p"))
        assert {key for key, value in found.items() if value[0].level == "failure"} == {"role", "table", "probe"}
        assert "REPLICATION" in found["role"][0].remedy
        source.run(f"ALTER ROLE {name} REPLICATION", f"GRANT SELECT ON t TO {name}")
        found = checks(source, pg.dsn(source.conn.info.dbname, name, "p"))
        assert not {key for key, value in found.items() if value[0].level == "failure"}
        source.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
        found = checks(source, pg.dsn(source.conn.info.dbname, name, "p"))
        assert "Row security" in found["table"][0].sentence
    finally:
        source.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_row_filters_and_column_lists_are_found(source: Any) -> None:
    source.run(f'ALTER PUBLICATION "{source.publication}" SET TABLE t WHERE (id > 5)')
    assert "row filter" in checks(source)["publication"][0].sentence
    source.run(f'ALTER PUBLICATION "{source.publication}" SET TABLE t (id)')
    assert "column list" in checks(source)["publication"][0].sentence


def test_an_open_transaction_makes_the_probe_warn_not_wait(source: Any) -> None:
    with psycopg.connect(source.dsn) as other:
        other.execute("INSERT INTO t VALUES (1, 'open')")
        (probe,) = checks(source)["probe"]
    assert probe.level == "warning"


def test_wal_level_is_named(new_cluster: Callable[..., Any]) -> None:
    cluster = new_cluster(wal_level="replica")
    found = {check.name: check for check in preflight.checks(WantedSource(cluster.dsn("postgres"), "s", "p", []))}
    assert found["wal_level"].sentence == "wal_level is replica; logical decoding needs logical."


def test_columns(source: Any) -> None:
    source.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE DOMAIN code AS varchar(8)",
        "CREATE DOMAIN strict_code AS code NOT NULL",
        "CREATE COLLATION blind (provider = builtin, locale = 'C.UTF-8')"
        if source.conn.info.server_version >= 170000
        else "SELECT 1",
        "CREATE TABLE c (b int, a text NOT NULL, gone int, m mood, d strict_code, n numeric(10,2), "
        "g int GENERATED ALWAYS AS (b * 2) STORED, tags text[], PRIMARY KEY (a, b) INCLUDE (n))",
        "ALTER TABLE c DROP COLUMN gone",
    )
    columns = {column.name: column for column in table_catalog.read_columns(source.conn, "public", "c")}
    assert list(columns) == ["b", "a", "m", "d", "n", "g", "tags"]
    assert (columns["a"].key, columns["b"].key, columns["n"].key) == (1, 2, 0)
    assert columns["a"] == SourceColumn("a", "text", 25, True, 1)
    assert (columns["m"].type_kind, columns["m"].enum_labels) == ("e", ("sad", "glad"))
    assert (columns["d"].type_kind, columns["d"].type_name, columns["d"].not_null) == (
        "d",
        "character varying(8)",
        True,
    )
    assert columns["n"].type_name == "numeric(10,2)"
    assert columns["g"].generated
    assert not columns["b"].generated
    assert columns["tags"].type_name == "text[]"
    assert not any(column.key_deferrable for column in columns.values())


def test_what_postgresql_fills_in_is_seen(source: Any) -> None:
    source.run(
        "CREATE DOMAIN stated AS text DEFAULT 'new'",
        "CREATE DOMAIN unstated AS stated",
        "CREATE TABLE filled (a int GENERATED ALWAYS AS IDENTITY, d int GENERATED BY DEFAULT AS IDENTITY, s serial, "
        "t text DEFAULT 'x', n unstated, g int GENERATED ALWAYS AS (d * 2) STORED, plain text)",
    )
    columns = table_catalog.read_columns(source.conn, "public", "filled")
    assert [column.name for column in columns if column.has_default] == ["a", "d", "s", "t", "n"]
    assert [column.name for column in columns if column.identity_always] == ["a"]


def test_a_deferrable_key_is_seen(source: Any) -> None:
    source.run("CREATE TABLE later (id int PRIMARY KEY DEFERRABLE, v int)")
    first, second = table_catalog.read_columns(source.conn, "public", "later")
    assert (first.key, first.key_deferrable) == (1, True)
    assert (second.key, second.key_deferrable) == (0, False)


def test_a_missing_table_is_refused(source: Any) -> None:
    with pytest.raises(SourceRefused, match=r"public\.nowhere does not exist"):
        table_catalog.read_columns(source.conn, "public", "nowhere")


def test_another_installation_on_the_slot_is_found(source: Any, tap: Any, pg: Any) -> None:
    """By a role that sees no other sessions, too."""
    name, reader = f"poor_{source.conn.info.dbname}", tap.store.here.id
    source.run(f"CREATE ROLE {name} LOGIN PASSWORD 'p'")
    try:
        dsn = pg.dsn(source.conn.info.dbname, name, "p")
        assert [check.level for check in checks(source, dsn, instance=reader)["slot"]] == ["ok"]
        _, shared = checks(source, dsn, instance="another")["slot"]
        assert (shared.level, reader in shared.sentence) == ("failure", True)
    finally:
        source.run(f"DROP ROLE {name}")
