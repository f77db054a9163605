"""The roles of the state database, as the DBA's script makes them: each is enough for what it is for, and no more.

In: a state database on a server of its own, whose roles come from `rowtide plan --sql` and whose grants come from
`rowtide db upgrade`; a process that runs as ``rowtide_run`` while an operator types as ``rowtide_apply``. Rule: whoever
only looks sees no value of a row.
"""

import json
import shutil
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.postgres import Cluster
from state import roles
from tests.conftest import reachable_directory
from tests.e2e.conftest import Simulator, fill
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_push import wait_equal

PASSWORD = "of-a-role-of-the-state"


@pytest.fixture(scope="module")
def as_role(state_server: Cluster) -> Callable[[str], str]:
    """The DSN of the state database for a role."""
    return lambda role: make_conninfo(state_server.dsn("records"), user=role, password=PASSWORD)


@pytest.fixture
def stack(
    state_server: Cluster, database: str, as_role: Callable[[str], str], new_simulator: Callable[..., Simulator]
) -> Iterator[Stack]:
    """The definition is applied, and a process runs, each as its own role."""
    directory = reachable_directory("rowtide-e2e-")
    simulator = new_simulator("--tier", "off")
    stack = Stack(directory, database, state_server.dsn("records"), simulator.ready, graph_options="quota: off")
    stack.simulator = simulator
    fill(stack, 20)
    script = json.loads(stack.command("plan", "--sql", "--json").stdout)["sql"]
    obey(state_server, script[script.index(next(line for line in script if "the state database" in line)) :])
    for role, words in ((roles.OWNER, ["db", "upgrade"]), (roles.APPLY, ["apply", "--yes"])):
        stack.environment["ROWTIDE_STATE_DSN"] = as_role(role)
        stack.command(*words)
    stack.environment["ROWTIDE_STATE_DSN"] = as_role(roles.RUN)
    stack.start()
    stack.environment["ROWTIDE_STATE_DSN"] = as_role(roles.APPLY)
    yield stack
    stack.close()
    shutil.rmtree(directory, ignore_errors=True)


def obey(server: Cluster, script: list[str]) -> None:
    """Run the DBA's script as the superuser, and give each role its password."""
    dsn = server.dsn("postgres")
    for line in script:
        if line.startswith("\\connect"):
            dsn = server.dsn(line.split('"')[1])
        elif line and not line.startswith("--"):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(line.encode())
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role in roles.ROLES:
            connection.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")


def refused(dsn: str, *statements: str) -> list[str]:
    """Those that are allowed although they must not be."""
    allowed = []
    for statement in statements:
        with psycopg.connect(dsn) as connection:
            try:
                connection.execute(statement.encode())
                allowed.append(statement)
            except psycopg.errors.InsufficientPrivilege:
                pass
            connection.rollback()
    return allowed


@pytest.mark.long
def test_each_role_is_enough_and_least(stack: Stack, as_role: Callable[[str], str]) -> None:
    wait_equal(stack)
    stack.sql("UPDATE parts SET name = 'changed' WHERE id <= 5; DELETE FROM parts WHERE id = 20")
    stack.command("pause", "parts", "--reason", "stock taking")
    stack.command("resume", "parts")
    wait_equal(stack)
    wait_until(lambda: stack.status()["syncs"][0]["reason"]["code"] == "idle", "idle")
    for words in (["diff", "parts"], ["reconcile", "parts"], ["reconcile", "parts", "--deep"], ["parked", "list"]):
        stack.command(*words)
    wait_equal(stack)
    assert stack.command("doctor", check=False).returncode in (0, 3)
    stack.command("apply", "--yes", "--upgrade")

    stack.environment["ROWTIDE_STATE_DSN"] = as_role(roles.VIEW)
    assert stack.status()["syncs"][0]["reason"]["code"] == "idle"
    assert stack.command("pause", "parts", check=False).returncode == 1
    insert = "INSERT INTO rowtide.definition (hash, compiled, needs, applied_by) VALUES ('', '{}', 1, '')"
    change = ["UPDATE rowtide.definition SET compiled = '{}'", "DELETE FROM rowtide.definition"]
    create = ["CREATE TABLE rowtide.mine (a int)", "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"]
    values = [f"SELECT {name} FROM rowtide.{table}" for table, names in roles.VALUES.items() for name in names]
    values += ["TABLE rowtide.outbox", "UPDATE rowtide.sync SET retired = true", "DELETE FROM rowtide.hold"]
    assert refused(as_role(roles.RUN), insert, *change, *create) == []
    assert refused(as_role(roles.APPLY), *change, *create) == []
    assert refused(as_role(roles.VIEW), insert, *change, *create, *values) == []
