"""The DBA's script and the Graph permissions, as text."""

import pytest

from control.operations.grants import (
    GraphRequirements,
    SourceRequirements,
    TableRequirements,
    graph_grants,
    quoted,
    source_statements,
)

REQUIRED = SourceRequirements(
    "erp",
    "shop",
    "slot",
    "pub",
    True,
    [TableRequirements("public", "orders", "owner"), TableRequirements("s", "Odd", "owner", True)],
)


@pytest.mark.parametrize(
    ("name", "sql"), [("orders", "orders"), ("Odd", '"Odd"'), ("9a", '"9a"'), ('a"b', '"a""b"'), ("a b", '"a b"')]
)
def test_quoting(name: str, sql: str) -> None:
    assert quoted(name) == sql


def test_the_publication_comes_before_the_slot() -> None:
    script = "\n".join(source_statements(REQUIRED))
    assert script.index("CREATE PUBLICATION") < script.index("pg_create_logical_replication_slot")
    assert 'GRANT SELECT ON TABLE s."Odd" TO rowtide_reader;' in script
    assert "BYPASSRLS" in script
    assert "SUPERUSER" not in script


def test_the_runner_may_only_write_where_somebody_else_provisions() -> None:
    alone = graph_grants(GraphRequirements("c", "t", "app", None, ["host:/sites/a"]))
    assert [('"manage"' in grant.requests[0], grant.client_id) for grant in alone] == [(True, "app")]
    both = graph_grants(GraphRequirements("c", "t", "app", "maker", ["host:/sites/a"]))
    assert [('"manage"' in grant.requests[0], grant.client_id) for grant in both] == [(False, "app"), (True, "maker")]
