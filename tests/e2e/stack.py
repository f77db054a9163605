"""The whole product on one machine for a test: a source, a state database, a simulator, a definition, processes.

In: databases and a simulator that fixtures made. Out: `Stack`, with the commands a user would type. `rowtide run` is a
process of its own; commands run through the same command line in the test's process, because a new interpreter costs
as much as the whole command (`spawn` starts one). Rules: nothing here looks inside the product; it sees its databases,
its lists and its output. In the state database each process and command has the role that is made for it
(`state_logins`); the test itself looks there as superuser.
"""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from typer.testing import CliRunner

from control.cli.main import app
from tests.e2e.state_logins import PASSWORD, StateLogins

SECRET = "not-a-secret-of-anyone"
TOKEN = r"sim\.[0-9a-f]{64}"
"""How access tokens of the simulator begin."""

TABLE = """
CREATE TABLE parts (
    id bigint PRIMARY KEY, name text NOT NULL, note text, quantity int, price numeric(10, 2),
    active boolean NOT NULL DEFAULT true, made_at timestamptz, region text NOT NULL DEFAULT 'EU', internal text
)
"""

SYNC = """
  parts:
    source: {postgres: erp, table: public.parts}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    lists: {by: region, map: {EU: Parts EU, US: Parts US}, default: Parts Other}
    where: "quantity IS NULL OR quantity >= 0"
    breaker: {share: 1.0, rows: 100000}
    fields:
      name: Title
      note: {field: Note, as: note}
      quantity: {field: Quantity, as: number}
      price: {field: Price, as: number}
      active: {field: Active, as: boolean}
      made_at: {field: MadeAt, as: dateTime}
      region: {field: Region, as: choice, choices: [EU, US, APAC]}
"""


PAUSE_S = 0.05
NESTED = ("slot", "db", "parked", "conflicts", "runs")
"""Commands that have commands of their own."""


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = 60.0) -> Any:
    """The first true value of ``condition``, or an AssertionError that says what did not come.

    The pause between two looks is as long as a look takes, so that looking leaves the cores to what is awaited.
    """
    end = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what}; last seen {value!r}")
        time.sleep(max(PAUSE_S, now - began))


def replace_text(path: Path, text: str) -> None:
    """Give a file another text at once: a process that starts in this moment reads the old one or the new one."""
    beside = path.with_suffix(".new")
    beside.touch(0o600)
    beside.write_text(text)
    beside.replace(path)


class Looks:
    """Queries of a test that polls: one connection to each database, kept from look to look."""

    def __init__(self) -> None:
        self._kept: dict[str, psycopg.Connection[Any]] = {}

    def ask(self, dsn: str, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        kept = self._kept.get(dsn)
        if kept is None or _has_ended(kept):
            if kept is not None:
                kept.close()
            # Never prepared: tables are altered between two looks.
            kept = self._kept[dsn] = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
        return kept.execute(query, values or None).fetchall()

    def close(self) -> None:
        """Close every connection."""
        while self._kept:
            self._kept.popitem()[1].close()


def _has_ended(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has ended an idle connection (or has said something unasked, which is as rare)."""
    return connection.closed or bool(select.select([connection], [], [], 0)[0])


class Stack:
    """One definition and the processes that work on it."""

    def __init__(
        self,
        directory: Path,
        source_dsn: str,
        state_dsn: str,
        graph: dict[str, str],
        syncs: str = SYNC,
        graph_options: str = "",
        slot: str = "",
        source_secret: str = "env:ROWTIDE_SOURCE_DSN",
        request_timeout: str = "10s",
    ) -> None:
        self.directory = directory
        self.slot = slot or f"rowtide_{directory.name.lower().replace('-', '_')[-40:]}"
        self.source_dsn = source_dsn
        self.state_dsn = state_dsn
        self.config = directory / "rowtide.yaml"
        self.environment = {
            **os.environ,
            "ROWTIDE_STATE_DSN": state_dsn,
            "ROWTIDE_SOURCE_DSN": source_dsn,
            "ROWTIDE_CLIENT_SECRET": SECRET,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.said: list[str] = []
        self._used: set[str] = set()
        self.looks = Looks()
        self.logins: StateLogins | None = StateLogins()
        """None: the product logs in to the state database as the superuser."""
        self.log = directory / "run.log"
        self.module = "control.cli"
        """What a process is started as; whatever stands in its place takes the same words."""
        self._graph = graph
        self._source_secret = source_secret
        self._graph_options = graph_options
        self._request_timeout = request_timeout
        self.simulator: Any = None
        self.write(syncs)

    def write(self, syncs: str) -> None:
        """(Re)write the definition with these syncs."""
        replace_text(
            self.config,
            f"""version: 1
state: {{dsn: "env:ROWTIDE_STATE_DSN"}}
run: {{recovery_dir: {self.directory}/recovery, listen: "127.0.0.1:0"}}
postgres:
  erp: {{dsn: "{self._source_secret}", slot: {self.slot}, heartbeat: 1s}}
graph:
  contoso:
    tenant_id: 72f988bf-86f1-41af-91ab-2d7cd011db47
    client_id: 1b2c3d4e-0000-4000-8000-000000000001
    credential: {{client_secret: "env:ROWTIDE_CLIENT_SECRET"}}
    base_url: {self._graph["base_url"]}
    authority: {self._graph["authority"]}
    ca_file: {self._graph["ca_file"]}
    request_timeout: {self._request_timeout}
    absent_after: 1s
    {self._graph_options}
syncs:{syncs}""",
        )

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What ``rowtide`` does and says when these words are typed, in this process."""
        typed = self._typed(words)
        found = CliRunner().invoke(app, typed, env=self.environment_of(words[0]))
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        self.said += [found.stdout, found.stderr]
        return _checked(subprocess.CompletedProcess(typed, found.exit_code, found.stdout, found.stderr), check)

    def spawn(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The same in a process of its own."""
        command = [sys.executable, "-m", "control.cli", *self._typed(words)]
        done = subprocess.run(command, env=self.environment_of(words[0]), capture_output=True, text=True, timeout=120)
        self.said += [done.stdout, done.stderr]
        return _checked(done, check)

    def environment_of(self, command: str) -> dict[str, str]:
        """The environment of a command, with the role that it has in the state database."""
        self._used |= _secrets_in(self.environment)
        dsn = self.environment["ROWTIDE_STATE_DSN"]
        return self.environment | {"ROWTIDE_STATE_DSN": self.logins.dsn(dsn, command) if self.logins else dsn}

    def _typed(self, words: tuple[str, ...]) -> list[str]:
        nouns = 2 if words[0] in NESTED else 1
        return [*words[:nouns], "-c", str(self.config), *words[nouns:]]

    def apply(self) -> None:
        """Create what is missing and store the definition."""
        self.command("apply", "--yes", "--upgrade")

    def start(self, *words: str, failpoints: str = "") -> subprocess.Popen[bytes]:
        """Start ``rowtide run`` in the background, its stderr appended to `log`."""
        environment = {**self.environment_of("run"), "ROWTIDE_FAILPOINTS": failpoints}
        module = "tests.failpoints" if failpoints else self.module
        with self.log.open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "run", "-c", str(self.config), *words],
                env=environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Until the process is at work: before that SIGTERM ends it as it ends any program."""
        known = "SELECT 1 FROM rowtide.process WHERE pid = %s"
        wait_until(lambda: process.poll() is not None or self.state(known, process.pid), "the process is at work")

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """SIGTERM and the exit code."""
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    def close(self) -> None:
        """Kill what still runs."""
        self.looks.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait(10)
        assert not self.leaks(), self.leaks()

    def leaks(self) -> list[str]:
        """Where a secret stands that was in use: in what was said, in a log or the recovery store, in a table.

        Of a state database whose server is away nobody can say; every other one is looked through.
        """
        pattern = "|".join(sorted(map(re.escape, self._secrets()))) + f"|{TOKEN}"
        found = ["output"] if re.search(pattern, "".join(self.said)) else []
        kept = [self.log, *self.directory.glob("*.log"), *self.directory.glob("recovery/**/*")]
        for path in sorted({path for path in kept if path.is_file()}):
            if re.search(pattern.encode(), path.read_bytes()):
                found.append(path.name)
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.state_dsn, connect_timeout=2) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'rowtide'").fetchall()
            for (table,) in tables:
                query = f'SELECT EXISTS (SELECT FROM rowtide."{table}" AS t WHERE t::text ~ %s)'
                if connection.execute(query, [pattern]).fetchone() == (True,):
                    found.append(f"table {table}")
        return found

    def _secrets(self) -> set[str]:
        return (
            {SECRET, PASSWORD} | self._used | _secrets_in({"source_DSN": self.source_dsn, "state_DSN": self.state_dsn})
        )

    def status(self) -> dict[str, Any]:
        """`rowtide status --json`."""
        document: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return document

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one transaction on the source."""
        return self._run(self.source_dsn, statement, values)

    def state(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement on the state database."""
        return self._run(self.state_dsn, statement, values)

    def _run(self, dsn: str, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if statement.startswith(("SELECT", "SHOW")):
            return self.looks.ask(dsn, statement, values)
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def logged(self) -> str:
        """Everything the processes have written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def _secrets_in(environment: Mapping[str, str]) -> set[str]:
    """The passwords of DSNs and the other secrets in an environment, unless they are words that stand everywhere."""
    found = {value for name, value in environment.items() if name.startswith("ROWTIDE_") and name.endswith("_SECRET")}
    for name, value in environment.items():
        if name.endswith("_DSN"):
            with contextlib.suppress(psycopg.Error):
                found.add(str(psycopg.conninfo.conninfo_to_dict(value).get("password") or ""))
    return {secret for secret in found if len(secret) > 8}


def _checked(done: subprocess.CompletedProcess[str], check: bool) -> subprocess.CompletedProcess[str]:
    if check:
        assert done.returncode == 0, f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
