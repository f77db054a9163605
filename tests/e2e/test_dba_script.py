"""The statements of `plan --sql` are enough: with them alone, granted column by column, a sync is applied and runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator, fill
from tests.e2e.stack import SYNC, Stack, wait_until

ROLES = ("rowtide_reader", "rowtide_admin", "rowtide_state", "shop_owner")
RUN = ("GRANT", "CREATE ROLE", "CREATE DATABASE", "REVOKE")
"""How the statements begin that these tests run; `apply` is to make publication and slot itself."""


@pytest.fixture
def stack(
    new_simulator: Callable[..., Simulator], database: str, state_server: Cluster, reachable_path: Path
) -> Iterator[Stack]:
    """A stack that is not applied yet; its table belongs to an ordinary role, as does nothing of the server's."""
    simulator = new_simulator("--tier", "off")
    state_dsn = state_server.create_database("dba_script")
    stack = Stack(reachable_path, database, state_dsn, simulator.ready, SYNC, "quota: off")
    stack.simulator = simulator
    fill(stack, 20)
    stack.sql("CREATE ROLE shop_owner")
    stack.sql("ALTER TABLE parts OWNER TO shop_owner")
    yield stack
    stack.close()
    for role in ROLES:
        stack.sql(
            f"DO $$ BEGIN IF to_regrole('{role}') IS NOT NULL THEN REASSIGN OWNED BY {role} TO postgres; END IF; END $$"
        )
        stack.sql(f"DO $$ BEGIN IF to_regrole('{role}') IS NOT NULL THEN DROP OWNED BY {role}; END IF; END $$")
        stack.sql(f"DROP ROLE IF EXISTS {role}")


def column_wise(script: list[str]) -> list[str]:
    """The statements of the part that is the source's, with the offer of single columns in place of the table."""
    lines = script[: script.index(next(line for line in script if line.startswith("-- the state database")))]
    offered = [line.partition(": ")[2] for line in lines if line.startswith("-- or, in its place")]
    kept = [line for line in lines if line.startswith(RUN) and not line.startswith("GRANT SELECT ON TABLE")]
    return [*kept, *offered]


@pytest.mark.long
def test_with_the_statements_of_the_script_a_sync_runs(stack: Stack) -> None:
    script = stack.command("plan", "--sql").stdout.splitlines()
    for statement in column_wise(script):
        stack.sql(statement)
    for role in ("rowtide_reader", "rowtide_admin"):
        stack.sql(f"ALTER ROLE {role} PASSWORD 'of-a-role'")
    reader, admin = (
        make_conninfo(stack.source_dsn, user=role, password="of-a-role") for role in ("rowtide_reader", "rowtide_admin")
    )
    stack.environment |= {"ROWTIDE_SOURCE_DSN": reader, "ROWTIDE_ADMIN_DSN": admin}
    text = stack.config.read_text()
    stack.config.write_text(text.replace("slot:", 'admin_dsn: "env:ROWTIDE_ADMIN_DSN", slot:'))

    said = stack.command("apply", "--yes", "--upgrade").stdout
    revokes = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("may be taken back")]
    assert [f"-- {statement}" in script for statement in revokes] == [True, True]
    for statement in revokes:
        stack.sql(statement)
    assert stack.command("plan").returncode == 0
    checks = stack.command("doctor", "--json", check=False).stdout
    assert '"failure"' not in checks, checks

    stack.start("--roles", "capture,deliver")
    wait_until(lambda: len(stack.simulator.items()) == 20, "the first load arrives")
    stack.sql("UPDATE parts SET name = 'changed' WHERE id = 7")
    wait_until(lambda: "changed" in {one["fields"]["Title"] for one in stack.simulator.items()}, "a change arrives")
    with psycopg.connect(reader) as as_reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_reader.execute("SELECT internal FROM parts")
