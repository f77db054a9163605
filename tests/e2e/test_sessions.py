"""What administrators set for every session, and do to sessions: nothing of it reaches what is carried.

In: a running stack with a state database on a server of its own. Rule: settings are made for the database and the role,
so that each new session of every process has them.
"""

import json
from collections.abc import Callable

import pytest

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_administration import no_doubles
from tests.e2e.test_push import settled, wait_equal

SETTINGS = {
    "default_transaction_isolation": "serializable",
    "idle_session_timeout": "1s",
    "idle_in_transaction_session_timeout": "5s",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kolkata",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_custom_plan",
    "row_security": "off",
    "client_min_messages": "debug1",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "quote_all_identifiers": "on",
    "xmloption": "document",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "lc_messages": "C",
}


@pytest.fixture
def stack(
    new_simulator: Callable[..., Simulator], new_stack: Callable[..., Stack], new_cluster: Callable[..., Cluster]
) -> Stack:
    """A stack on servers of its own."""
    source, state = new_cluster(wal_level="logical"), new_cluster()
    options = {"source_dsn": source.create_database("source"), "state_dsn": state.create_database("state")}
    return new_stack(new_simulator("--tier", "off"), rows=30, **options)


def wait_quiet(stack: Stack) -> None:
    """Until source and lists are equal, and nothing is left to do."""
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled", 120)
    no_doubles(stack)


def change(stack: Stack, turn: int) -> None:
    """An update, an insert and a delete."""
    stack.sql(f"UPDATE parts SET name = 'turn {turn}', made_at = now() WHERE id % 3 = {turn % 3}")
    stack.sql(f"INSERT INTO parts (id, name, price, made_at) VALUES ({1000 + turn}, 'new', 12.5, now())")
    stack.sql(f"DELETE FROM parts WHERE id = {10 + turn}")


def test_settings_of_database_and_role_change_nothing(stack: Stack) -> None:
    for ask, name in ((stack.sql, "source"), (stack.state, "state")):
        for key, value in SETTINGS.items():
            ask(f"ALTER DATABASE {name} SET {key} = '{value}'")
            ask(f"ALTER ROLE postgres SET {key} = '{value}'")
    stack.apply()
    process = stack.start()
    wait_quiet(stack)
    for turn in range(3):
        change(stack, turn)
        wait_quiet(stack)
    document = json.loads(stack.command("reconcile", "parts", "--deep", "--json").stdout)
    assert document["done"], document
    wait_quiet(stack)
    assert not document["counts"].get("updates"), document
    assert process.poll() is None


def test_sessions_that_an_administrator_ends_are_made_again(stack: Stack) -> None:
    process = stack.start()
    wait_quiet(stack)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'rowtide%'"
    ended = 0
    for turn in range(8):
        change(stack, turn)
        ended += len(stack.sql(others)) + len(stack.state(others))
    assert ended >= 8
    wait_quiet(stack)
    assert process.poll() is None
