"""What administrators do to tables and publications, and undo again: source and lists are equal afterwards.

In: one running stack; each kind of act has a table and a sync of its own. Rule: an act is undone within a moment,
before anybody looks at the catalog, or it stands until `status` says what has become of it.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from rowtide.keys import rowtide_key
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until

DEADLINE_S = 60.0
HEARTBEAT = "heartbeat: 2s"

SYNC = """
  {name}:
    source: {{postgres: erp, table: public.{name}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    breaker: {{share: 1.0, rows: 100000}}
    fields: {{note: Title}}
"""

PLAIN = """
CREATE TABLE # (name text PRIMARY KEY, note text);
INSERT INTO # SELECT 'r' || n, 'Note ' || n FROM generate_series(1, 5) n;
"""
PARTED = """
CREATE TABLE # (name text PRIMARY KEY, note text) PARTITION BY RANGE (name);
CREATE TABLE #_low PARTITION OF # FOR VALUES FROM ('a') TO ('m');
CREATE TABLE #_high PARTITION OF # FOR VALUES FROM ('m') TO ('x');
INSERT INTO # VALUES ('b1', 'Note 1'), ('b2', 'Note 2'), ('r1', 'Note 3'), ('r2', 'Note 4');
"""
ENUM = """
CREATE TYPE #_mood AS ENUM ('good', 'bad');
CREATE TABLE # (name text PRIMARY KEY, note #_mood);
INSERT INTO # VALUES ('r1', 'good'), ('r2', 'bad');
"""
GENERATED = """
CREATE TABLE # (name text PRIMARY KEY, note text, twice text GENERATED ALWAYS AS (note || note) STORED);
INSERT INTO # (name, note) VALUES ('r1', 'Note 1'), ('r2', 'Note 2');
"""


@dataclass(frozen=True)
class Kind:
    """An act on a table, what undoes it, and what `status` says while it stands (None: it is carried as it is).

    In the statements ``#`` stands for the table and ``$`` for the number of the round.
    """

    name: str
    act: str
    undo: str
    stops: str | None = None
    make: str = PLAIN


NO_MORE, PUBLISHED = "ALTER PUBLICATION rowtide_erp DROP TABLE #", "ALTER PUBLICATION rowtide_erp ADD TABLE #"
KINDS = [
    Kind(
        "swapped",
        """
        ALTER TABLE # RENAME TO #_old; CREATE TABLE # (LIKE #_old INCLUDING ALL);
        INSERT INTO # VALUES ('r1', 'Other $'), ('r9', 'New'); UPDATE #_old SET note = 'Swapped out $'
        """,
        "DROP TABLE #; ALTER TABLE #_old RENAME TO #",
        stops="not_published",
    ),
    Kind(
        "recreated",
        """
        DROP TABLE #; CREATE TABLE # (name text PRIMARY KEY, note text);
        INSERT INTO # VALUES ('r2', 'Recreated $'), ('r8', 'New')
        """,
        PUBLISHED,
        stops="not_published",
    ),
    Kind(
        "unpublished",
        f"{NO_MORE}; UPDATE # SET note = 'Not published $'; DELETE FROM # WHERE name = 'r$'",
        PUBLISHED,
        stops="not_published",
    ),
    Kind(
        "moved",
        "ALTER TABLE # SET SCHEMA elsewhere; UPDATE elsewhere.# SET note = 'Moved $'",
        "ALTER TABLE elsewhere.# SET SCHEMA public",
        stops="relation_mismatch",
    ),
    Kind(
        "filtered",
        f"{NO_MORE}; {PUBLISHED} WHERE (name <> 'r2'); UPDATE # SET note = 'Filtered $'",
        f"{NO_MORE}; {PUBLISHED}",
        stops="publication_filter",
    ),
    Kind(
        "narrowed",
        f"{NO_MORE}; {PUBLISHED} (name); UPDATE # SET note = 'Narrowed $'",
        f"{NO_MORE}; {PUBLISHED}",
        stops="publication_columns",
    ),
    Kind(
        "inherited",
        "CREATE TABLE #_child () INHERITS (#); INSERT INTO #_child VALUES ('r7', 'Inherited $')",
        "ALTER TABLE #_child NO INHERIT #; DROP TABLE #_child",
        stops="relation_mismatch",
    ),
    Kind(
        "unlogged",
        f"{NO_MORE}; ALTER TABLE # SET UNLOGGED; UPDATE # SET note = 'Unlogged $'",
        f"ALTER TABLE # SET LOGGED; {PUBLISHED}",
        stops="not_published",
    ),
    Kind(
        "converted",
        "ALTER TABLE # ALTER note TYPE text USING upper(note)",
        "ALTER TABLE # ALTER note TYPE varchar(40) USING lower(note)",
    ),
    Kind(
        "relabelled",
        "ALTER TYPE #_mood RENAME VALUE 'good' TO 'fine'; UPDATE # SET note = 'fine'",
        "ALTER TYPE #_mood RENAME VALUE 'fine' TO 'good'",
        make=ENUM,
    ),
    Kind(
        "recomputed",
        """
        ALTER TABLE # DROP COLUMN twice; UPDATE # SET note = 'Between $';
        ALTER TABLE # ADD COLUMN twice text GENERATED ALWAYS AS (upper(note)) STORED
        """,
        """
        ALTER TABLE # DROP COLUMN twice; UPDATE # SET note = 'Behind $';
        ALTER TABLE # ADD COLUMN twice text GENERATED ALWAYS AS (note || note) STORED
        """,
        make=GENERATED,
    ),
    Kind(
        "attached",
        """
        CREATE TABLE #_$ (name text PRIMARY KEY, note text); INSERT INTO #_$ VALUES ('y$', 'Attached');
        ALTER TABLE # ATTACH PARTITION #_$ FOR VALUES FROM ('y$') TO ('y$z')
        """,
        """
        ALTER TABLE # DETACH PARTITION #_$; UPDATE #_$ SET note = 'Attached again';
        ALTER TABLE # ATTACH PARTITION #_$ FOR VALUES FROM ('y$') TO ('y$z')
        """,
        make=PARTED,
    ),
    Kind(
        "detached",
        """
        ALTER TABLE # DETACH PARTITION #_low; DELETE FROM #_low WHERE name = 'b$';
        UPDATE #_low SET note = 'Detached $'
        """,
        "ALTER TABLE # ATTACH PARTITION #_low FOR VALUES FROM ('a') TO ('m')",
        make=PARTED,
    ),
    Kind("emptied", "TRUNCATE #_low", "INSERT INTO # VALUES ('b2', 'Again $')", make=PARTED),
]
CATALOGS = (
    "pg_class", "pg_attribute", "pg_type", "pg_publication", "pg_publication_rel", "pg_publication_namespace",
    "pg_enum", "pg_inherits", "pg_index", "pg_namespace", "pg_attrdef",
)  # fmt: skip
STOPPING = [kind for kind in KINDS if kind.stops is not None]


@pytest.fixture(scope="module")
def stack(pg: Cluster, state_pg: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with a table and a sync of each kind; its lists are equal to them."""
    source, state = f"shapes_source_{os.getpid()}", f"shapes_state_{os.getpid()}"
    source_dsn, state_dsn = pg.create_database(source), state_pg.create_database(state)
    schema.upgrade(state_dsn)
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), "--tier", "off")
    directory = reachable_directory("rowtide-shapes-")
    syncs = "".join(SYNC.format(name=kind.name) for kind in KINDS)
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, syncs, "quota: off")
    stack.config.write_text(stack.config.read_text().replace("heartbeat: 1s", HEARTBEAT))
    stack.simulator = simulator
    stack.sql("CREATE SCHEMA elsewhere")
    for kind in KINDS:
        run(stack, kind, kind.make)
    stack.apply()
    stack.start()
    wait_equal(stack)
    yield stack
    stack.close()
    simulator.close()
    drop_databases(pg, [source])
    drop_databases(state_pg, [state])
    shutil.rmtree(directory, ignore_errors=True)


def run(stack: Stack, kind: Kind, statements: str, number: int = 0) -> None:
    """Each statement a transaction of its own, all within a moment."""
    with psycopg.connect(stack.source_dsn, autocommit=True) as connection:
        for statement in statements.replace("#", kind.name).replace("$", str(number)).split(";"):
            if statement.strip():
                connection.execute(statement)


# --- what is there ----------------------------------------------------------------------------------------------------


def in_tables(stack: Stack, kinds: list[Kind]) -> dict[str, list[str]]:
    """RowtideKey -> the value, as the tables say."""
    found = {}
    for kind in kinds:
        for name, note in stack.sql(f"SELECT name, note::text FROM {kind.name}"):
            found[rowtide_key(kind.name, name)] = [note]
    return found


def in_lists(stack: Stack, kinds: list[Kind]) -> dict[str, list[str]]:
    """RowtideKey -> the value of each item that has it; more than one is a double."""
    found: dict[str, list[str]] = {}
    names = {kind.name for kind in kinds}
    for item in stack.simulator.items():
        if not item["deleted"] and item["list"] in names:
            found.setdefault(item["fields"]["RowtideKey"], []).append(item["fields"].get("Title"))
    return found


def wait_equal(stack: Stack, kinds: list[Kind] = KINDS) -> None:
    """Wait until tables and lists are equal."""
    try:
        wait_until(lambda: in_lists(stack, kinds) == in_tables(stack, kinds), "source and lists equal", DEADLINE_S)
    except AssertionError as error:
        have, want = in_lists(stack, kinds), in_tables(stack, kinds)
        differing = {key: (have.get(key), want.get(key)) for key in have | want if have.get(key) != want.get(key)}
        raise AssertionError(f"{error}\nlists, tables: {differing}\n{stack.logged()[-6000:]}") from None


def codes(stack: Stack) -> dict[str, str]:
    """What `status` says of each sync."""
    return {one["sync"]: one["reason"]["code"] for one in stack.status()["syncs"]}


def wait_idle(stack: Stack) -> None:
    """Wait until `status` says of every sync that nothing is waiting."""
    try:
        wait_until(lambda: set(codes(stack).values()) == {"idle"}, "nothing is waiting", DEADLINE_S)
    except AssertionError:
        raise AssertionError(f"{codes(stack)}\n{stack.logged()[-6000:]}") from None


def looks(stack: Stack) -> list[tuple[Any, ...]]:
    """When the catalog was looked at last."""
    return stack.sql("SELECT query_start FROM pg_stat_activity WHERE application_name = 'rowtide shape'")


def wait_looks(stack: Stack, number: int) -> None:
    """Wait until the catalog has been looked at so often, beginning now."""
    for _ in range(number):
        before = looks(stack)
        wait_until(lambda: looks(stack) not in ([], before), "the catalog is looked at", DEADLINE_S)  # noqa: B023


def passes(stack: Stack) -> dict[str, int]:
    """How many reconciles of each sync were asked for."""
    return dict(stack.state("SELECT sync, asked FROM rowtide.reconcile"))


# --- acts -------------------------------------------------------------------------------------------------------------


def test_an_act_that_is_undone_before_anybody_looks_leaves_nothing_behind(stack: Stack) -> None:
    for kind in KINDS:
        run(stack, kind, f"{kind.act};{kind.undo}", 1)
    wait_equal(stack)
    wait_idle(stack)
    wait_equal(stack)


def test_actions_that_were_not_published_for_a_moment_are_made_up_for(stack: Stack) -> None:
    [kind] = [kind for kind in KINDS if kind.name == "unpublished"]
    stack.sql("ALTER PUBLICATION rowtide_erp SET (publish = 'insert')")
    stack.sql("UPDATE unpublished SET note = 'Not carried'")
    stack.sql("DELETE FROM unpublished WHERE name = 'r4'")
    stack.sql("ALTER PUBLICATION rowtide_erp SET (publish = 'insert, update, delete, truncate')")
    wait_equal(stack, [kind])
    wait_idle(stack)


def test_an_act_that_stands_is_carried_or_said_and_carried_once_it_is_undone(stack: Stack) -> None:
    for kind in KINDS:
        run(stack, kind, kind.act, 2)
    stops = {kind.name: kind.stops for kind in STOPPING}
    wait_until(
        lambda: {name: code for name, code in codes(stack).items() if name in stops} == stops,
        "status says which syncs are stopped",
        DEADLINE_S,
    )
    wait_equal(stack, [kind for kind in KINDS if kind.stops is None])
    for kind in KINDS:
        run(stack, kind, kind.undo, 2)
    wait_equal(stack)
    wait_idle(stack)
    wait_equal(stack)


@pytest.mark.long
def test_a_pause_by_a_person_outlives_a_stop_that_ends_by_itself(stack: Stack) -> None:
    names = ("unpublished", "moved")
    kinds = [kind for kind in KINDS if kind.name in names]
    stack.command("pause", names[0], "--reason", "a person's")  # before the stop
    for kind in kinds:
        run(stack, kind, kind.act, 3)
    stopped = "SELECT count(*) FROM rowtide.hold WHERE kind = 'capture'"
    wait_until(lambda: stack.state(stopped) == [(2,)], "both are stopped")
    stack.command("pause", names[1], "--reason", "a person's")  # after it
    for kind in kinds:
        run(stack, kind, kind.undo, 3)
    wait_until(lambda: stack.state(stopped) == [(0,)], "both are captured again")
    assert {codes(stack)[name] for name in names} == {"paused"}
    for name in names:
        stack.command("resume", name)
    wait_equal(stack, kinds)
    wait_idle(stack)


@pytest.mark.long
def test_actions_that_the_publication_leaves_out_stop_every_sync(stack: Stack) -> None:
    """Publishing them again ends it."""
    stack.sql("ALTER PUBLICATION rowtide_erp SET (publish = 'insert, update')")
    wait_until(lambda: set(codes(stack).values()) == {"publication_actions"}, "status says so", DEADLINE_S)
    stack.sql("DELETE FROM emptied")
    stack.sql("ALTER PUBLICATION rowtide_erp SET (publish = 'insert, update, delete, truncate')")
    wait_equal(stack)
    wait_idle(stack)


@pytest.mark.long
def test_upkeep_asks_for_no_reconcile(stack: Stack) -> None:
    """ANALYZE, VACUUM, FREEZE and catalogs written anew change no shape; a table written anew costs reading alone."""
    wait_looks(stack, 2)
    before, writes = passes(stack), stack.simulator.writes()
    for statement in ("ANALYZE", "VACUUM", "VACUUM (FREEZE, ANALYZE)"):
        stack.sql(statement)
    wait_looks(stack, 3)
    assert passes(stack) == before
    for catalog in CATALOGS:
        stack.sql(f"VACUUM (FULL) {catalog}")
    wait_looks(stack, 3)
    assert passes(stack) == before
    stack.sql("CLUSTER swapped USING swapped_pkey")
    wait_looks(stack, 3)
    wait_idle(stack)
    wait_equal(stack)
    assert stack.simulator.writes() == writes
