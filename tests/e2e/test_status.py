"""What `rowtide status` says of every state that can be broken, and that it says it of nobody else.

In: one stack for all: two sources, three syncs of one tenant, capture and deliver in processes of their own; the state
database is on the second source's server. Rules: a case breaks one thing, waits for the code on the syncs that it
concerns, sees the others accused of nothing, mends it and waits until all are well; none may fall through to `moving`.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from control.cli.main import app
from demo.postgres import Cluster
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_lists import Line
from tests.proxy import TcpProxy

SYNC = """
  {name}:
    source: {{postgres: {source}, table: public.{name}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {name}
    breaker: {{share: 0.2, rows: 500}}
    fields: {{note: Title, weight: {{field: Weight, as: number}}}}
"""
TABLE = """
CREATE TABLE {name} (id bigint PRIMARY KEY, note text, weight numeric);
INSERT INTO {name} SELECT n, 'note ' || n, n FROM generate_series(1, 30) n
"""
PLACES = {"orders": "erp", "lines": "erp", "far": "crm"}
SYNCS = "".join(SYNC.format(name=name, source=source) for name, source in PLACES.items())
ERP, ALL = ("orders", "lines"), tuple(PLACES)


class World:
    """The stack, and what can be taken away from it."""

    def __init__(self, stack: Stack, erp: str, crm: str, role: str, proxy: TcpProxy, address: Path) -> None:
        self.stack, self.erp, self.crm, self.role = stack, erp, crm, role
        self.proxy, self.address = proxy, address
        self.capture = stack.start("--roles", "capture")
        self.deliver = stack.start("--roles", "deliver")

    def sql(self, *statements: str, dsn: str = "") -> None:
        """Run statements as the owner of the tables, one transaction each."""
        with psycopg.connect(dsn or self.erp, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def type(self, *words: str) -> str:
        """What a command prints, run in this process: it is asked for very often."""
        found = CliRunner().invoke(app, [*words, "-c", str(self.stack.config)], env=self.stack.environment_of(words[0]))
        return found.stdout

    def status(self) -> dict[str, Any]:
        """The syncs of `status --json`, by name."""
        return {sync["sync"]: sync for sync in json.loads(self.type("status", "--json"))["syncs"]}

    def touch(self, sync: str, where: str = "id = 1") -> None:
        """Change a row, so that its item has to be written."""
        self.sql(f"UPDATE {sync} SET note = note || '.' WHERE {where}")

    def ask(self, sync: str) -> None:
        """Ask for a pass over a sync, as `rowtide reconcile` does, and do not wait for it."""
        self.stack.state(
            "UPDATE rowtide.reconcile SET asked = asked + 1, state = 'wanted', requested_at = now() WHERE sync = %s",
            sync,
        )

    def is_well(self) -> bool:
        """Whether nothing is wrong, nothing is to be done, and that is known. Rows do not wait for another attempt."""
        self.stack.state("UPDATE rowtide.outbox SET due_at = now() WHERE due_at > now() AND lease_until IS NULL")
        # A list that was away asks for a pass once it is back: that is looked at first.
        if self.stack.state("SELECT FROM rowtide.list WHERE missing_since IS NOT NULL"):
            return False
        well = ("run", "ok", "idle", {"rows": 0, "unknown_since": None})
        return all(
            (one["wanted"], one["health"]["code"], one["reason"]["code"], one["out_of_sync"]) == well
            for one in self.status().values()
        )

    def wait_well(self) -> None:
        """Until all is well."""
        wait_until(self.is_well, f"all is well; {self.stack.logged()[-1500:]}", 90)

    def faults(self, *rules: dict[str, Any]) -> None:
        """These faults of Graph and no others."""
        self.stack.simulator.set_faults(list(rules))


@pytest.fixture(scope="module")
def world(pg: Cluster) -> Iterator[World]:
    """All syncs run, and nothing is wrong."""
    cluster = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB"})
    cluster.start()
    name, directory = f"status_{os.getpid()}", reachable_directory("rowtide-e2e-")
    erp, crm, state_dsn = (
        pg.create_database(name),
        cluster.create_database("crm"),
        cluster.create_database("rowtide"),
    )
    schema.upgrade(state_dsn)
    proxy, address = TcpProxy(pg.port), directory / "erp.dsn"
    address.touch(0o600)
    address.write_text(make_conninfo(erp, user=name, password="p", port=proxy.port))
    simulator = Simulator(directory, "--tier", "off")
    stack = Stack(
        directory,
        erp,
        state_dsn,
        simulator.ready,
        SYNCS,
        "quota: off",
        source_secret=f"file:{address}",
        request_timeout="3s",
    )
    stack.simulator = simulator
    stack.environment |= {"ROWTIDE_ERP_ADMIN_DSN": erp, "ROWTIDE_CRM_DSN": crm}
    crm_section = f'  crm: {{dsn: "env:ROWTIDE_CRM_DSN", slot: {stack.slot}_crm, heartbeat: 1s, on_gap: stop}}\n'
    stack.config.write_text(
        stack.config.read_text()
        .replace("heartbeat: 1s}", 'heartbeat: 1s, admin_dsn: "env:ROWTIDE_ERP_ADMIN_DSN"}')
        .replace("graph:\n", f"{crm_section}graph:\n", 1)
    )
    stack.sql(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'p'")
    for sync, source in PLACES.items():
        with psycopg.connect(erp if source == "erp" else crm, autocommit=True) as connection:
            connection.execute(TABLE.format(name=sync))
    stack.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    stack.apply()
    yield World(stack, erp, crm, name, proxy, address)
    stack.close()
    simulator.close()
    proxy.close()
    drop_databases(pg, [name])
    with psycopg.connect(pg.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {name}")
    cluster.kill()
    for path in (directory, cluster.directory):
        shutil.rmtree(path, ignore_errors=True)


Broken = Callable[[World], AbstractContextManager[None]]


@dataclass(frozen=True)
class Case:
    """How something is broken, what is said then, of which syncs, and with which words."""

    breaks: Broken
    syncs: tuple[str, ...]
    codes: tuple[str, ...]
    words: str
    unknown: bool = False
    """Whether it is not known what is out of sync."""


# --- processes --------------------------------------------------------------------------------------------------


def stopped(which: str) -> Broken:
    """A process of the role stands still; for whoever looks at its beats it is dead."""

    @contextmanager
    def breaks(world: World) -> Iterator[None]:
        process: subprocess.Popen[bytes] = getattr(world, which)
        process.send_signal(signal.SIGSTOP)
        yield
        process.send_signal(signal.SIGCONT)

    return breaks


@contextmanager
def newer_definition(world: World) -> Iterator[None]:
    world.stack.state(
        "INSERT INTO rowtide.definition (hash, compiled, needs, applied_by)"
        " SELECT hash, compiled, 99, 'newer' FROM rowtide.definition ORDER BY version DESC LIMIT 1"
    )
    yield
    world.stack.state("DELETE FROM rowtide.definition WHERE needs = 99")


# --- the source -------------------------------------------------------------------------------------------------


@contextmanager
def source_down(world: World) -> Iterator[None]:
    world.proxy.cut()
    yield
    world.proxy.restore()


@contextmanager
def wrong_server(world: World) -> Iterator[None]:
    right = world.address.read_text()
    world.address.write_text(world.crm)
    world.proxy.cut()
    world.proxy.restore()
    yield
    world.address.write_text(right)


@contextmanager
def publication_dropped(world: World) -> Iterator[None]:
    world.sql("DROP PUBLICATION rowtide_erp")
    yield
    world.sql("CREATE PUBLICATION rowtide_erp FOR TABLE orders, lines")


@contextmanager
def slot_dropped(world: World) -> Iterator[None]:
    """With ``on_gap: stop``; a slot of that name that is made anew is ahead of the cursor, so this is not mended."""
    slot = f"{world.stack.slot}_crm"
    world.capture.send_signal(signal.SIGSTOP)
    with psycopg.connect(world.crm, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(active_pid, 30000) FROM pg_replication_slots WHERE slot_name = %s", [slot]
        )
        connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    world.capture.send_signal(signal.SIGCONT)
    yield


@contextmanager
def taken_out_of_the_publication(world: World) -> Iterator[None]:
    world.sql("ALTER PUBLICATION rowtide_erp DROP TABLE orders")
    yield
    world.sql("ALTER PUBLICATION rowtide_erp ADD TABLE orders")


@contextmanager
def no_select(world: World) -> Iterator[None]:
    world.sql(f"REVOKE SELECT ON orders FROM {world.role}")
    world.ask("orders")
    yield
    world.sql(f"GRANT SELECT ON orders TO {world.role}")


@contextmanager
def row_security(world: World) -> Iterator[None]:
    world.sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    world.ask("orders")
    yield
    world.sql("ALTER TABLE orders DISABLE ROW LEVEL SECURITY")


@contextmanager
def doubled_key(world: World) -> Iterator[None]:
    world.sql(
        "ALTER TABLE lines REPLICA IDENTITY FULL",
        "ALTER TABLE lines DROP CONSTRAINT lines_pkey",
        "INSERT INTO lines VALUES (1, 'twin', 1)",
    )
    world.ask("lines")
    yield
    world.sql(
        "DELETE FROM lines WHERE note = 'twin'",
        "ALTER TABLE lines ADD PRIMARY KEY (id)",
        "ALTER TABLE lines REPLICA IDENTITY DEFAULT",
    )


@contextmanager
def locked(world: World) -> Iterator[None]:
    with psycopg.connect(world.erp) as other:
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        world.ask("orders")
        yield


@contextmanager
def renamed_column(world: World) -> Iterator[None]:
    world.sql("ALTER TABLE orders RENAME COLUMN note TO remark")
    yield
    world.sql("ALTER TABLE orders RENAME COLUMN remark TO note")


@contextmanager
def mark_not_passed(world: World) -> Iterator[None]:
    """The cursor cannot be written, so the pass waits for what was committed before it.

    No pass runs by then, and something is committed that the cursor does not cover: a pass that has passed its mark
    would wait for the cursor's lock when it stages.
    """
    open_passes = "SELECT count(*) FROM rowtide.reconcile WHERE sync = 'orders' AND (state <> 'done' OR asked > serves)"
    wait_until(lambda: world.stack.state(open_passes) == [(0,)], "no pass runs", 90)
    with psycopg.connect(world.stack.state_dsn) as other:
        other.execute("SELECT 1 FROM rowtide.slot_cursor WHERE slot = %s FOR UPDATE", [world.stack.slot])
        world.touch("orders")
        world.ask("orders")
        yield


# --- Graph ------------------------------------------------------------------------------------------------------


def graph_answers(sync: str, **fault: Any) -> Broken:
    """Graph fails so when a row of the sync is written."""

    @contextmanager
    def breaks(world: World) -> Iterator[None]:
        world.faults(fault)
        world.touch(sync)
        yield
        world.faults()

    return breaks


@contextmanager
def wrong_ca(world: World) -> Iterator[None]:
    """The file of trusted certificates holds another one, and the process begins with it."""
    ca_file = Path(world.stack.simulator.ready["ca_file"])
    right = ca_file.read_bytes()
    assert world.stack.stop(world.deliver) == 0
    ca_file.write_bytes(Path(certifi.where()).read_bytes())
    world.deliver = world.stack.start("--roles", "deliver")
    world.touch("orders")
    yield
    ca_file.write_bytes(right)
    assert world.stack.stop(world.deliver) == 0
    world.deliver = world.stack.start("--roles", "deliver")


@contextmanager
def silent_tenant(world: World) -> Iterator[None]:
    """Nothing that is written in the tenant is answered, whatever the list."""
    world.faults({"path": r"/\$batch$", "level": "request", "action": "delay", "delay_ms": 60_000})
    for sync in ALL:
        world.touch(sync) if sync in ERP else world.sql("UPDATE far SET note = note || '.' WHERE id = 1", dsn=world.crm)
    yield
    world.faults()


@contextmanager
def wrong_secret(world: World) -> Iterator[None]:
    """The process begins with a secret that Entra refuses."""
    environment = world.stack.environment
    assert world.stack.stop(world.deliver) == 0
    world.stack.environment = {**environment, "ROWTIDE_CLIENT_SECRET": "wrong"}
    world.deliver = world.stack.start("--roles", "deliver")
    world.touch("orders")
    yield
    world.stack.environment = environment
    assert world.stack.stop(world.deliver) == 0
    world.deliver = world.stack.start("--roles", "deliver")


@contextmanager
def locked_item(world: World) -> Iterator[None]:
    """A person has the item of one row open; its list answers for every other row."""
    [(item,)] = world.stack.state("SELECT item_id FROM rowtide.ledger WHERE (sync, key) = ('orders', '3')")
    world.faults({"list": "orders", "level": "member", "path": rf"items/{item}\b", "status": 423})
    world.touch("orders", "id = 3")
    yield
    world.faults()


@contextmanager
def column_gone(world: World) -> Iterator[None]:
    """A person deletes a column of the list; the next write of it is refused."""
    Line(world.stack).own("DELETE", "orders", "/columns/Weight")
    world.sql("UPDATE orders SET weight = weight + 1 WHERE id = 2")
    yield
    world.stack.apply()


# --- rows -------------------------------------------------------------------------------------------------------


@contextmanager
def many_deletions(world: World) -> Iterator[None]:
    world.sql("DELETE FROM orders WHERE id > 10")
    yield
    world.sql("INSERT INTO orders SELECT n, 'note ' || n, n FROM generate_series(11, 30) n")
    world.type("reconcile", "orders")


@contextmanager
def poison_row(world: World) -> Iterator[None]:
    world.sql("INSERT INTO lines VALUES (99, 'heavy', 12345678901234567890.5)")
    yield
    world.sql("DELETE FROM lines WHERE id = 99")


HANGS = {"list": "lines", "action": "delay", "delay_ms": 8000}

CASES = {
    "capture is dead": Case(stopped("capture"), ALL, ("not_running",), "capture", unknown=True),
    "deliver is dead": Case(stopped("deliver"), ALL, ("not_running",), "deliver"),
    "the definition is not taken": Case(newer_definition, ALL, ("definition_not_taken",), "newer release"),
    "the source is down": Case(
        source_down, ERP, ("connect_failed", "connection_refused", "stream_broken"), "PostgreSQL erp", unknown=True
    ),
    "another server answers": Case(wrong_server, ERP, ("other_system",), "another one", unknown=True),
    "the publication is dropped": Case(publication_dropped, ERP, ("publication_missing",), "rowtide_erp", unknown=True),
    "the table is not published": Case(
        taken_out_of_the_publication, ("orders",), ("not_published",), "public.orders", unknown=True
    ),
    "no SELECT": Case(no_select, ("orders",), ("no_privilege",), "public.orders", unknown=True),
    "row security": Case(row_security, ("orders",), ("row_security",), "public.orders", unknown=True),
    "a key twice": Case(doubled_key, ("lines",), ("key_not_unique",), "public.lines", unknown=True),
    "the table is locked": Case(locked, ("orders",), ("source_failed",), "public.orders", unknown=True),
    "a column is renamed": Case(renamed_column, ("orders",), ("relation_mismatch",), "note", unknown=True),
    "a pass waits for its mark": Case(mark_not_passed, ("orders",), ("reconcile_waits",), "bytes of WAL", unknown=True),
    "a list is gone": Case(
        graph_answers("orders", list="orders", status=404), ("orders",), ("graph_404",), "List 'orders'"
    ),
    "a list is forbidden": Case(
        graph_answers("orders", list="orders", status=403), ("orders",), ("graph_403",), "List 'orders'"
    ),
    "a list answers 503": Case(
        graph_answers("orders", list="orders", status=503, level="member"),
        ("orders",),
        ("list_unavailable",),
        "List 'orders'",
    ),
    "a list hangs": Case(graph_answers("lines", **HANGS), ("lines",), ("graph_unavailable",), "List 'lines'"),
    "the tenant throttles": Case(
        graph_answers("orders", status=429, retry_after=3, level="member", count=1), ALL, ("throttled",), "contoso"
    ),
    "the token is refused": Case(
        graph_answers("orders", status=401, path=r"/\$batch$"), ALL, ("graph_401",), "Graph contoso"
    ),
    "the tenant does not answer": Case(silent_tenant, ALL, ("graph_unavailable",), "Graph contoso"),
    "the secret is wrong": Case(wrong_secret, ALL, ("identity_refused",), "Graph contoso"),
    "an item is locked": Case(locked_item, ("orders",), ("rows_postponed",), "locked"),
    "another certificate is trusted": Case(wrong_ca, ALL, ("identity_certificate",), "Graph contoso"),
    "a column is gone": Case(column_gone, ("orders",), ("columns_held",), "Weight"),
    "many deletions": Case(many_deletions, ("orders",), ("mass_delete",), "20 items"),
    "a row is parked": Case(poison_row, ("lines",), ("parked",), "1 row"),
    # The last one: what it breaks stays broken.
    "the slot is gone": Case(slot_dropped, ("far",), ("slot_missing",), "on_gap", unknown=True),
}
LONG = {
    "the tenant does not answer",
    "the secret is wrong",
    "an item is locked",
    "deliver is dead",
    "the publication is dropped",
    "the table is not published",
    "another certificate is trusted",
    "a column is gone",
    "a list is forbidden",
    "the token is refused",
}
PARAMETERS = [pytest.param(one, marks=pytest.mark.long if one in LONG else (), id=one) for one in CASES]


@pytest.mark.parametrize("scope", [["orders"], ["--source", "erp"], ["--target", "contoso"], ["--all"]], ids=" ".join)
def test_a_pause_is_said_at_each_scope_and_is_nothing_wrong(world: World, scope: list[str]) -> None:
    world.wait_well()
    covered = {"orders": ("orders",), "--source": ERP}.get(scope[0], ALL)
    world.type("pause", *scope, "--reason", "stock taking")
    syncs = world.status()
    assert {name for name, sync in syncs.items() if sync["wanted"] == "paused"} == set(covered)
    for name, sync in syncs.items():
        assert sync["health"]["code"] == "ok"
        assert sync["reason"]["code"] == ("paused" if name in covered else "idle")
        assert name not in covered or f"rowtide resume {' '.join(scope)}" in sync["reason"]["next"]
    world.type("resume", *scope)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_broken_is_said_where_it_is_broken(world: World, name: str) -> None:
    case = CASES[name]
    world.wait_well()
    with case.breaks(world):
        said = wait_until(lambda: seen(world, case), f"{case.codes} on {case.syncs}: {brief(world)}", 60)
        for sync in case.syncs:
            judge(said[sync], case)
        others = {sync: one["health"]["code"] for sync, one in said.items() if sync not in case.syncs}
        assert set(others.values()) <= {"ok"}, others


def seen(world: World, case: Case) -> dict[str, Any] | None:
    """What status says, once it says of each sync of the case that it is broken so."""
    syncs = world.status()
    for name in case.syncs:
        assert syncs[name]["reason"]["code"] != "moving" or syncs[name]["rates"]["delivered_per_s"] > 0
    return syncs if all(syncs[name]["health"]["code"] in case.codes for name in case.syncs) else None


def judge(sync: dict[str, Any], case: Case) -> None:
    """The sentence, the next action, and what is known meanwhile."""
    health, out = sync["health"], sync["out_of_sync"]
    assert case.words in health["sentence"]
    assert health["next"]
    assert sync["reason"] == health
    assert (out["unknown_since"] is not None) == case.unknown, out
    if case.unknown:
        assert sync["lag_s"] != 0.0
        assert sync["eta_s"] is None
        assert sync["activity"] != "idle"


def brief(world: World) -> str:
    """For the message of a failure."""
    return str({name: (one["health"], one["activity"]) for name, one in world.status().items()})
