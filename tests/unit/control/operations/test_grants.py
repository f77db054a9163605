"""The DBA's script and the Graph permissions, as text."""

from dataclasses import replace

from connectors.postgres.apply_rights import WrittenTable
from control.operations.grants import (
    GraphRequirements,
    SourceRequirements,
    TableRequirements,
    graph_grants,
    source_statements,
    state_statements,
)

REQUIRED = SourceRequirements(
    "erp",
    "shop",
    "slot",
    "pub",
    True,
    [TableRequirements("public", "orders", "owner"), TableRequirements("s", "Odd", "owner", row_security=True)],
)


def test_names_are_quoted_and_no_comment_ends_early() -> None:
    hostile = TableRequirements("order", 'a"b\nDROP', "Owner", False, True, ["x\nDROP"])
    script = source_statements(SourceRequirements("erp", "user", "slot", "my pub", False, [hostile]))
    assert 'GRANT SELECT ON TABLE "order"."a""b\nDROP" TO "rowtide_reader";' in script
    assert 'GRANT CONNECT ON DATABASE "user" TO "rowtide_admin", "rowtide_reader";' in script
    assert 'GRANT "Owner" TO "rowtide_admin";' in script
    assert 'CREATE PUBLICATION "my pub" FOR TABLE' in script
    assert all("\n" not in line for line in script if line.startswith("--"))


def test_the_publication_comes_before_the_slot() -> None:
    script = "\n".join(source_statements(REQUIRED))
    assert script.index("CREATE PUBLICATION") < script.index("pg_create_logical_replication_slot")
    assert 'GRANT SELECT ON TABLE "s"."Odd" TO "rowtide_reader";' in script
    assert "BYPASSRLS" in script
    assert "SUPERUSER" not in script


def test_members_of_an_owner_who_can_become_superuser_are_not_made() -> None:
    tables = [TableRequirements("public", "orders", "owner"), TableRequirements("s", "Odd", "post\ngres", True)]
    script = source_statements(replace(REQUIRED, tables=tables))
    granted = [line for line in script if line.startswith("GRANT")]
    assert [line for line in granted if "postgres" in line.replace("\n", "") or '"owner"' in line] == []
    assert not any(line.startswith("SET ROLE") for line in script)
    assert 'CREATE PUBLICATION "pub" FOR TABLE' in script
    assert all("\n" not in line for line in script if line.startswith("--"))


def test_what_is_needed_for_the_publication_alone_may_be_taken_back() -> None:
    script = source_statements(REQUIRED)
    assert script[-2:] == [
        '-- REVOKE "owner" FROM "rowtide_admin";',
        '-- REVOKE CREATE ON DATABASE "shop" FROM "rowtide_admin";',
    ]


def test_columns_are_offered_in_place_of_the_table() -> None:
    table = TableRequirements("public", "orders", "owner", columns=("id", "na me"))
    script = source_statements(replace(REQUIRED, tables=[table]))
    whole = 'GRANT SELECT ON TABLE "public"."orders" TO "rowtide_reader";'
    only = 'GRANT SELECT ("id", "na me") ON TABLE "public"."orders" TO "rowtide_reader";'
    assert script[script.index(whole) + 1].startswith("-- or")
    assert script[script.index(whole) + 1].endswith(only)


def test_a_role_that_writes_is_made_where_syncs_go_both_ways() -> None:
    assert not any("rowtide_writer" in line or "rowtide_pull" in line for line in source_statements(REQUIRED))
    table = WrittenTable("s", "Odd", ["id", "na me"], ["na me"], ["id", "na me"], True, [("s", "Odd_seq")])
    script = source_statements(replace(REQUIRED, written=[table, WrittenTable("s", "unknown")]))
    for line in (
        'CREATE ROLE "rowtide_writer" LOGIN;',
        'GRANT CONNECT ON DATABASE "shop" TO "rowtide_writer";',
        'GRANT USAGE ON SCHEMA "s" TO "rowtide_writer";',
        'GRANT SELECT ("id", "na me"), INSERT ("id", "na me"), UPDATE ("na me"), DELETE ON TABLE "s"."Odd" '
        'TO "rowtide_writer";',
        'GRANT USAGE ON SEQUENCE "s"."Odd_seq" TO "rowtide_writer";',
        'GRANT SELECT, INSERT, UPDATE ON TABLE "s"."unknown" TO "rowtide_writer";',
        'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "rowtide_pull"."applied" TO "rowtide_writer";',
    ):
        assert script.count(line) == 1, line


def test_schema_public_is_closed_where_it_is_open_and_the_state_database_to_everybody() -> None:
    closing = "REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
    assert closing in source_statements(REQUIRED)
    assert closing not in source_statements(replace(REQUIRED, public_open=False))
    script = state_statements("records")
    assert 'REVOKE CONNECT, TEMPORARY ON DATABASE "records" FROM PUBLIC;' in script
    assert script.index('\\connect "records"') + 1 == script.index(closing)
    assert 'GRANT TEMPORARY ON DATABASE "records" TO "rowtide_view";' not in script
    assert [line for line in script if line.startswith("CREATE ROLE")] == [
        f'CREATE ROLE "rowtide_{name}" LOGIN;' for name in ("owner", "run", "apply", "view")
    ]


def test_the_runner_may_only_write_where_somebody_else_provisions() -> None:
    alone = graph_grants(GraphRequirements("c", "t", "app", None, ["host:/sites/a"]))
    assert [('"manage"' in grant.requests[0], grant.client_id) for grant in alone] == [(True, "app")]
    both = graph_grants(GraphRequirements("c", "t", "app", "maker", ["host:/sites/a"]))
    assert [('"manage"' in grant.requests[0], grant.client_id) for grant in both] == [(False, "app"), (True, "maker")]
