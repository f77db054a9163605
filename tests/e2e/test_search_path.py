"""Whoever may create a function in ``public`` runs nothing as Rowtide: not in a source, not in the state database."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from tests.conftest import drop_databases, reachable_directory
from tests.e2e import hostile_overloads
from tests.e2e.conftest import Simulator
from tests.e2e.stack import TABLE, Stack, wait_until


@pytest.fixture
def stack(pg: Cluster) -> Iterator[Stack]:
    """A stack whose source and state database are full of traps before the first command; nothing is applied yet."""
    names = [f"trapped_{what}_{os.getpid()}" for what in ("template", "source", "state")]
    template, *others = names
    assert min(hostile_overloads.plant(pg.create_database(template))) > 1000
    with psycopg.connect(pg.dsn("postgres"), autocommit=True) as connection:
        for name in others:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    directory = reachable_directory("rowtide-trapped-")
    simulator = Simulator(directory, "--tier", "off")
    stack = Stack(directory, pg.dsn(others[0]), pg.dsn(others[1]), simulator.ready, graph_options="quota: off")
    stack.simulator = simulator
    stack.logins = None
    yield stack
    stack.close()
    simulator.close()
    drop_databases(pg, names)
    shutil.rmtree(directory, ignore_errors=True)


def called(log: Path, since: int) -> list[str]:
    """Which traps were called, each once."""
    with log.open(errors="replace") as stream:
        stream.seek(since)
        lines = stream.read().splitlines()
    return sorted({line.partition(hostile_overloads.MARK)[2] for line in lines if hostile_overloads.MARK in line})


def owner(stack: Stack) -> psycopg.Connection[Any]:
    """A session of the tables' owner, who knows better than to leave a name to the search path."""
    return psycopg.connect(stack.source_dsn, autocommit=True, options="-c search_path=")


def keys(stack: Stack) -> list[str]:
    """The key of each living item."""
    return sorted(one["fields"]["RowtideKey"] for one in stack.simulator.items() if not one["deleted"])


def test_no_overload_in_public_is_ever_called(pg: Cluster, stack: Stack) -> None:
    """Every command and the flow, as a superuser, on each kind of change; on any other session a trap springs."""
    log = pg.directory / "postgres.log"
    begin = log.stat().st_size
    stack.sql("SELECT pg_try_advisory_lock(hashtextextended('x', 0))")
    wait_until(lambda: called(log, begin) == [": hashtextextended(text, int4)"], "a trap springs")

    begin = log.stat().st_size
    with owner(stack) as table:
        table.execute(TABLE.replace("parts", "public.parts"))
        table.execute("INSERT INTO public.parts SELECT i, 'a part', NULL, i FROM generate_series(1, 40) AS i")
        new = str(stack.directory / "new.yaml")
        stack.command("init", "-c", new, "--dsn", "env:ROWTIDE_SOURCE_DSN", "--table", "public.parts")
        stack.command("validate")
        stack.command("plan", "--sql")
        stack.apply()
        process = stack.start()
        wait_until(lambda: len(keys(stack)) == 40, "the first load is done")
        table.execute("INSERT INTO public.parts SELECT i, 'later', NULL, i FROM generate_series(41, 50) AS i")
        table.execute("UPDATE public.parts SET note = 'changed', region = 'US' WHERE id <= 5")
        table.execute("UPDATE public.parts SET id = id + 1000 WHERE id BETWEEN 6 AND 8")
        table.execute("DELETE FROM public.parts WHERE id = 9")
    left = sorted(f"parts:{id}" for id in [*range(1, 6), *range(10, 51), 1006, 1007, 1008])
    wait_until(lambda: keys(stack) == left, "the changes are delivered")
    words: tuple[str, ...]
    for words in (
        ("pause", "parts", "--reason", "a look"),
        ("resume", "parts"),
        ("reconcile", "parts", "--dry-run"),
        ("reconcile", "parts", "--deep"),
        ("diff", "parts"),
        ("status",),
        ("plan",),
        ("slot", "list"),
        ("parked", "list"),
        ("forget", "parts", "9", "--yes"),
    ):
        stack.command(*words)
    # The first two find that this server syncs nothing to its disk, the last one that the sync is in force.
    for words in (("doctor",), ("db", "check"), ("purge", "parts", "--yes")):
        stack.command(*words, check=False)
    assert stack.stop(process) == 0
    assert (called(log, begin), keys(stack)) == ([], left)
