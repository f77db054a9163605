"""What administrators set for every session, and do to sessions: nothing of it reaches what is carried.

In: a running stack with a state database on a server of its own. Rule: settings are made for the database and the role,
so that each new session of every process has them.
"""

import json
import shutil
from collections.abc import Iterator

import pytest

from demo.postgres import Cluster
from tests.conftest import reachable_directory
from tests.e2e.conftest import parts_of, shared_stack
from tests.e2e.stack import Stack
from tests.e2e.test_administration import wait_quiet

pytestmark = pytest.mark.long

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


@pytest.fixture(scope="module")
def stack(state_server: Cluster) -> Iterator[Stack]:
    """A stack on servers of its own, because roles are a server's; nothing runs."""
    source = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "wal_level": "logical"})
    source.start()
    with shared_stack(source, state_server, "sessions", parts_of(30)) as stack:
        yield stack
    source.kill()
    shutil.rmtree(source.directory, ignore_errors=True)


def change(stack: Stack, turn: int) -> None:
    """An update, an insert and a delete."""
    stack.sql(f"UPDATE parts SET name = 'turn {turn}', made_at = now() WHERE id % 3 = {turn % 3}")
    stack.sql(f"INSERT INTO parts (id, name, price, made_at) VALUES ({1000 + turn}, 'new', 12.5, now())")
    stack.sql(f"DELETE FROM parts WHERE id = {10 + turn}")


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
    assert stack.stop(process) == 0


def test_settings_of_database_and_role_change_nothing(stack: Stack) -> None:
    """The last test: they stay."""
    for ask in (stack.sql, stack.state):
        [(name,)] = ask("SELECT current_database()")
        for key, value in SETTINGS.items():
            ask(f"ALTER DATABASE {name} SET {key} = '{value}'")
            ask(f"ALTER ROLE postgres SET {key} = '{value}'")
    stack.apply()
    process = stack.start()
    wait_quiet(stack)
    for turn in range(10, 13):
        change(stack, turn)
        wait_quiet(stack)
    document = json.loads(stack.command("reconcile", "parts", "--deep", "--json").stdout)
    assert document["done"], document
    wait_quiet(stack)
    assert not document["counts"].get("updates"), document
    assert process.poll() is None
