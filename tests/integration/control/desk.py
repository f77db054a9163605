"""A directory with a definition, on real databases, and the commands that are typed there."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from typer.testing import CliRunner

from control.cli.main import app

TABLE = """
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE TABLE parts (
    id bigint PRIMARY KEY, name varchar(80) NOT NULL, note text, quantity int, price numeric(10, 2),
    active boolean NOT NULL DEFAULT true, made_at timestamptz, region text NOT NULL DEFAULT 'EU', feels mood, blob bytea
);
INSERT INTO parts (id, name, quantity, region)
SELECT i, 'part ' || i, i, (ARRAY['EU', 'US', 'JP'])[1 + i % 3] FROM generate_series(1, 30) i
"""

SYNC = """
  parts:
    source: {postgres: erp, table: public.parts}
    target: {graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}
    lists: {by: region, map: {EU: Parts EU, US: Parts US}, default: Parts Other}
    fields:
      name: Title
      note: {field: Note, as: note}
      quantity: {field: Quantity, as: number}
"""


@dataclass(slots=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


class Desk:
    """A directory with a definition, and the commands that are typed there."""

    def __init__(self, directory: Path, source_dsn: str, state_dsn: str, slot: str) -> None:
        self.directory = directory
        self.source_dsn = source_dsn
        self.state_dsn = state_dsn
        self.slot = slot
        self.config = directory / "rowtide.yaml"
        self.graph = {"base_url": "http://127.0.0.1:9/v1.0", "authority": "https://127.0.0.1:9", "ca_file": ""}
        self.environment = {
            "ROWTIDE_CONFIG": str(self.config),
            "ROWTIDE_STATE_DSN": state_dsn,
            "ROWTIDE_SOURCE_DSN": source_dsn,
            "ROWTIDE_CLIENT_SECRET": "not-a-secret-of-anyone",
        }
        self.write()

    def write(self, syncs: str = SYNC, **postgres: str) -> None:
        """(Re)write the definition."""
        more = "".join(f", {key}: {value}" for key, value in postgres.items())
        graph = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in self.graph.items() if value)
        self.config.write_text(
            f"""version: 1
state: {{dsn: "env:ROWTIDE_STATE_DSN"}}
postgres:
  erp: {{dsn: "env:ROWTIDE_SOURCE_DSN", slot: {self.slot}, publication: rowtide_erp{more}}}
graph:
  contoso:
    tenant_id: 72f988bf-86f1-41af-91ab-2d7cd011db47
    client_id: 1b2c3d4e-0000-4000-8000-000000000001
    credential: {{client_secret: "env:ROWTIDE_CLIENT_SECRET"}}
{graph}syncs:{syncs}"""
        )

    def type(self, *words: str, **environment: str) -> Answer:
        """Run a command in this process."""
        found = CliRunner().invoke(app, list(words), env={**self.environment, **environment})
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return Answer(found.exit_code, found.stdout, found.stderr)

    def spawn(self, *words: str, **environment: str) -> Answer:
        """Run a command as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "control.cli", *words],
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement on the source."""
        return _run(self.source_dsn, statement, values)

    def state(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement on the state database."""
        return _run(self.state_dsn, statement, values)

    def park(self, *keys: int) -> None:
        """Park rows of the sync, with a value that nobody may see by accident."""
        columns = "sync, key, op, target, fields, mapping_version, era, lsn, ordinal, xid, committed_at, priority"
        values = """'parts', k::text, 'u', 'Parts EU', '{"Title": "secret"}', 1, 1, 16, 0, 1, now(), 0"""
        self.state(
            f"INSERT INTO rowtide.outbox ({columns}, state, reason_code, reason) "
            f"SELECT {values}, 'parked', 'value_too_long', 'too long' FROM unnest(%s::int[]) k",
            list(keys),
        )


def _run(dsn: str, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
