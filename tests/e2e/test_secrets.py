"""A secret that is mistyped is shown nowhere: not on stdout or stderr, not as JSON, not in the log, not in a table.

What is checked here for malformed DSNs is checked for every secret in use when each end-to-end test ends
(`Stack.leaks`); that such a check finds a leak, wherever it is, is the second test.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from demo.postgres import Cluster
from tests.e2e.stack import SECRET, Stack, wait_until
from tests.e2e.state_logins import PASSWORD
from tests.malformed_dsns import MALFORMED

SHOWN = re.compile("Pa55|geheim")


@pytest.fixture
def stack(
    new_stack: Callable[..., Stack], new_simulator: Callable[..., object], state_server: Cluster, reachable_path: Path
) -> Stack:
    """A stack whose source's DSN is in a file, with a state database on a server of its own."""
    secret = reachable_path / "dsn"
    source_dsn, state_dsn = (
        state_server.create_database(f"{what}_of_{reachable_path.name}") for what in ("source", "state")
    )
    secret.touch(0o600)
    secret.write_text(source_dsn)
    databases = {"source_dsn": source_dsn, "state_dsn": state_dsn, "source_secret": f"file:{secret}"}
    return new_stack(new_simulator("--tier", "off"), **databases)


def test_a_malformed_dsn_is_shown_nowhere(stack: Stack, reachable_path: Path) -> None:
    """Each is the DSN of a source, then that of the state database, then that of a source that a process reads."""
    text = stack.config.read_text()
    sources = "".join(f'  s{place}: {{dsn: "env:MISTYPED_{place}"}}\n' for place in range(len(MALFORMED)))
    stack.config.write_text(text.replace("postgres:\n", f"postgres:\n{sources}"))
    stack.environment |= {f"MISTYPED_{place}": mistyped for place, mistyped in enumerate(MALFORMED)}
    for words in (("doctor",), ("plan", "--sql"), ("plan", "--json"), ("doctor", "--json")):
        stack.command(*words, check=False)
    checks = json.loads(stack.said[-2])["checks"]
    assert sum("DSN cannot be read" in check["sentence"] for check in checks) == len(MALFORMED)

    stack.config.write_text(text)
    for mistyped in MALFORMED:
        stack.environment["ROWTIDE_STATE_DSN"] = mistyped
        assert "state_dsn_invalid" in stack.command("status", "--json", check=False).stdout
    stack.environment["ROWTIDE_STATE_DSN"] = stack.state_dsn

    (reachable_path / "dsn").write_text(MALFORMED[0])
    stack.start()
    wait_until(lambda: "dsn_invalid" in stack.logged(), "the process has met it")
    wait_until(lambda: "dsn_invalid" in stack.command("status", "--json").stdout, "status says so")
    assert SHOWN.findall("".join(stack.said) + stack.logged()) == []
    with psycopg.connect(stack.state_dsn) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'rowtide'").fetchall()
        for (table,) in tables:
            query = f'SELECT t::text FROM rowtide."{table}" AS t WHERE t::text ~ %s'
            assert connection.execute(query, [SHOWN.pattern]).fetchall() == []


def test_a_leak_is_found_wherever_it_is(stack: Stack) -> None:
    """Of the client's secret, of a password that was in use for one command, and of a token; then it is taken away."""
    assert stack.leaks() == []
    stack.environment["ROWTIDE_OTHER_DSN"] = "host=h password=of-another-server"
    stack.command("status", "--json")
    del stack.environment["ROWTIDE_OTHER_DSN"]
    store = stack.directory / "recovery" / "part-0.sqlite3"
    store.parent.mkdir(parents=True)
    for secret in (SECRET, "of-another-server", PASSWORD, "sim." + "0a" * 32):
        stack.said.append(secret)
        stack.log.write_text(secret)
        store.write_bytes(b"\x00" + secret.encode() + b"\xff")
        stack.state("INSERT INTO rowtide.runs (kind, detail) VALUES ('x', jsonb_build_object('why', %s::text))", secret)
        assert stack.leaks() == ["output", store.name, stack.log.name, "table runs"]
        stack.said.pop()
        stack.log.write_text("")
        store.write_bytes(b"")
        stack.state("DELETE FROM rowtide.runs WHERE kind = 'x'")
    assert stack.leaks() == []
