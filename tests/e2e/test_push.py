"""The push path as a user runs it: committed rows arrive in lists, and nothing else does.

Tests of `stack` share a running one; each begins and ends with source and lists equal. The others have their own.
"""

import json
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from rowtide.keys import rowtide_key
from tests.e2e.conftest import Simulator, parts_of, shared_stack
from tests.e2e.stack import Stack, wait_until
from tests.proxy import TcpProxy

NewStack = Callable[..., Stack]
NewSimulator = Callable[..., Simulator]

FIELDS = {
    "Title": "name",
    "Note": "note",
    "Quantity": "quantity",
    "Price": "price",
    "Active": "active",
    "Region": "region",
}
LISTS = {"EU": "Parts EU", "US": "Parts US"}


def wanted(stack: Stack) -> dict[str, tuple[str, dict[str, Any]]]:
    """RowtideKey -> (list, fields) as the table says."""
    rows = stack.sql(f"SELECT id, {', '.join(FIELDS.values())} FROM parts WHERE quantity IS NULL OR quantity >= 0")
    found = {}
    for id_, *values in rows:
        fields = {
            name: float(v) if name == "Price" and v is not None else v for name, v in zip(FIELDS, values, strict=True)
        }
        found[rowtide_key("parts", str(id_))] = (LISTS.get(str(fields["Region"]), "Parts Other"), fields)
    return found


def in_lists(stack: Stack) -> dict[str, tuple[str, dict[str, Any]]]:
    """RowtideKey -> (list, fields) as the lists show; a key with two items (a move under way, or worse) is no equal."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for item in stack.simulator.items():
        if item["deleted"]:
            continue
        key = item["fields"]["RowtideKey"]
        fields = {name: item["fields"].get(name) for name in FIELDS}
        found[key] = (item["list"], fields) if key not in found else ("two items", {})
    return found


def wait_equal(stack: Stack, deadline_s: float = 90.0) -> None:
    """Until source and lists are equal."""

    def equal() -> bool:
        have, want = in_lists(stack), wanted(stack)
        return have == want

    wait_until(equal, "source and lists equal", deadline_s)


def settled(stack: Stack) -> bool:
    """Whether nothing waits any more."""
    return stack.state("SELECT count(*) FROM rowtide.outbox WHERE state = 'waiting'") == [(0,)]


@pytest.fixture(scope="module")
def stack(pg: Cluster) -> Iterator[Stack]:
    """A running stack with forty rows, which have arrived."""
    with shared_stack(pg, pg, "push", parts_of(40)) as made:
        made.start()
        wait_equal(made)
        yield made


def test_a_workload_ends_with_source_and_lists_equal(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    stack = new_stack(new_simulator("--tier", "off"), rows=60)
    process = stack.start()
    wait_equal(stack)
    stack.sql("UPDATE parts SET quantity = quantity + 1, note = NULL WHERE id <= 20")
    stack.sql("UPDATE parts SET region = 'US' WHERE id IN (3, 6, 9)")
    stack.sql("UPDATE parts SET quantity = -1 WHERE id = 30")
    stack.sql("DELETE FROM parts WHERE id = 31")
    stack.sql("UPDATE parts SET id = 131 WHERE id = 32")
    stack.sql("INSERT INTO parts (id, name) VALUES (200, 'Ünïcode \\ \"quotes\" <b>')")
    stack.sql("DELETE FROM parts WHERE id = 40; INSERT INTO parts (id, name, region) VALUES (40, 'again', 'US')")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    status = stack.status()
    [parts] = [one for one in status["syncs"] if one["sync"] == "parts"]
    assert (parts["wanted"], parts["waiting"], parts["parked"]) == ("run", 0, 0)
    assert parts["delivered"] >= 60
    assert parts["latency_ms"]["p95"] > 0
    assert stack.stop(process) == 0, stack.logged()[-4000:]


def test_first_load_under_live_writes(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    stack = new_stack(new_simulator("--tier", "off", "--latency-ms", "20"), rows=1500)
    stack.start()
    with psycopg.connect(stack.source_dsn, autocommit=True) as connection:
        for i in range(150):
            connection.execute("UPDATE parts SET quantity = quantity + 1000 WHERE id = %s", [1 + i * 7 % 1500])
            connection.execute("DELETE FROM parts WHERE id = %s", [1 + i * 11 % 1500])
            connection.execute(
                "INSERT INTO parts (id, name) VALUES (%s, 'live') ON CONFLICT DO NOTHING", [1400 + i * 3]
            )
    wait_equal(stack, 120)


def test_noop_updates_cost_no_writes(stack: Stack) -> None:
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    before = stack.simulator.writes()
    [(position,)] = stack.sql("UPDATE parts SET internal = 'x' RETURNING pg_current_wal_insert_lsn() - '0/0'")[:1]
    stack.sql("UPDATE parts SET name = name")
    stack.sql("INSERT INTO parts (id, name) VALUES (999, 'marker')")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    assert stack.simulator.writes() == before + 1
    assert stack.state("SELECT count(*) FROM rowtide.ledger WHERE state = 'live' AND lsn < %s", position) == [(0,)]


def test_many_updates_of_a_row_while_throttled_cost_one_write(stack: Stack) -> None:
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    stack.simulator.set_faults(
        [{"path": r"\$batch$", "level": "request", "action": "status", "status": 429, "retry_after": 5}]
    )
    stack.sql("UPDATE parts SET note = 'closes the gate' WHERE id = 2")
    wait_until(lambda: stack.simulator.stats()["faults"] >= 1, "Graph throttles")
    stack.simulator.clear_faults()
    before = stack.simulator.stats()["updates"]["total"]
    with psycopg.connect(stack.source_dsn, autocommit=True) as connection:  # the gate is shut for seconds only
        for i in range(50):
            connection.execute("UPDATE parts SET quantity = %s WHERE id = 1", [500 + i])
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    assert stack.simulator.stats()["updates"]["total"] == before + 2  # the row of the gate and the one that coalesced


def test_a_paused_sync_does_not_hold_the_slot_back(stack: Stack) -> None:
    wait_equal(stack)
    stack.command("pause", "parts")
    wait_until(lambda: stack.state("SELECT kind FROM rowtide.hold") == [("person",)], "paused")
    wait_until(lambda: settled(stack), "everything settled")
    before = stack.simulator.writes()
    for i in range(20):
        stack.sql("UPDATE parts SET quantity = %s WHERE id = 1", 100 + i)
    [(end,)] = stack.sql("SELECT pg_current_wal_lsn() - '0/0'")
    confirmed = "SELECT confirmed_flush_lsn - '0/0' >= %s FROM pg_replication_slots WHERE slot_name = %s"
    wait_until(lambda: stack.sql(confirmed, end, stack.slot) == [(True,)], "the slot moves on", 60)
    assert stack.simulator.writes() == before
    stack.command("resume", "parts")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    assert stack.simulator.writes() == before + 1


def test_a_foreign_edit_met_by_a_push(stack: Stack) -> None:
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    [item] = [one for one in stack.simulator.items() if one["fields"]["RowtideKey"] == "parts:1"]
    before = foreign_edits(stack)
    edited = {"Quantity": 77, "Note": "by hand"}
    stack.simulator.edit(list=item["list"], item_id=item["id"], fields=edited, user="Ann Person")
    stack.sql("UPDATE parts SET price = 9.5 WHERE id = 1")
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    assert foreign_edits(stack) == before + 1


def foreign_edits(stack: Stack) -> int:
    """Foreign edits counted so far."""
    [(count,)] = stack.state("SELECT foreign_edits FROM rowtide.progress WHERE sync = 'parts'")
    return int(count)


def test_many_deletions_ask_first(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    from tests.e2e.stack import SYNC

    cautious = SYNC.replace("breaker: {share: 1.0, rows: 100000}", "breaker: {share: 0.2, rows: 500}")
    stack = new_stack(new_simulator("--tier", "off"), rows=40, syncs=cautious)
    stack.start()
    wait_equal(stack)
    wait_until(lambda: settled(stack), "everything settled")
    stack.sql("DELETE FROM parts WHERE id <= 20")
    wait_until(lambda: stack.state("SELECT kind FROM rowtide.hold") == [("deletes",)], "the breaker holds the sync")
    assert len(in_lists(stack)) == 40
    [parts] = stack.status()["syncs"]
    assert "20" in parts["reason"]["sentence"]
    stack.command("resume", "parts", "--approve-deletes")
    wait_equal(stack)


def test_an_item_that_a_person_adds_stops_nobody(new_simulator: NewSimulator, new_stack: NewStack) -> None:
    stack = new_stack(new_simulator("--tier", "off"), rows=3)
    made = stack.simulator.edit(list="Parts EU", fields={"Title": "by hand"}, user="Ann Person")
    stack.apply()
    stack.start()

    def others() -> list[dict[str, Any]]:
        return [item for item in stack.simulator.items() if item["fields"].get("RowtideKey")]

    wait_until(lambda: len(others()) == 3 and settled(stack), "the rows are there")
    [theirs] = [item for item in stack.simulator.items() if item["id"] == made["id"] and item["list"] == "Parts EU"]
    assert (theirs["fields"]["Title"], theirs["version"]) == ("by hand", made["version"])


@pytest.fixture
def proxies(new_simulator: NewSimulator) -> Any:
    """Proxies by name, closed at the end."""
    made: dict[str, TcpProxy] = {}
    yield made
    for proxy in made.values():
        proxy.close()


def behind(proxies: dict[str, TcpProxy], name: str, dsn: str) -> str:
    """The DSN through a proxy."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    proxies[name] = TcpProxy(int(str(parts["port"])))
    return psycopg.conninfo.make_conninfo(dsn, port=proxies[name].port)


def graph_behind(proxies: dict[str, TcpProxy], name: str, ready: dict[str, str], key: str) -> dict[str, str]:
    """The ready line with one address through a proxy."""
    address = urllib.parse.urlsplit(ready[key])
    assert address.port is not None
    proxies[name] = TcpProxy(address.port)
    return {**ready, key: address._replace(netloc=f"127.0.0.1:{proxies[name].port}").geturl()}


@pytest.mark.parametrize("what", ["source", "state", "graph", "identity"])
def test_an_outage_is_said_and_outlived(
    what: str,
    new_simulator: NewSimulator,
    new_stack: NewStack,
    proxies: dict[str, TcpProxy],
    database: str,
    state_dsn: str,
) -> None:
    simulator = new_simulator("--tier", "off", *(["--switch", "token-life-s=4"] if what == "identity" else []))
    options: dict[str, Any] = {}
    if what == "source":
        options["source_dsn"] = behind(proxies, what, database)
    elif what == "state":
        options["state_dsn"] = behind(proxies, what, state_dsn)
    else:
        key = "base_url" if what == "graph" else "authority"
        options["graph"] = graph_behind(proxies, what, simulator.ready, key)
    stack = new_stack(simulator, rows=5, **options)
    proxy = proxies[what]
    proxy.cut()
    process = stack.start()  # down at the start
    wait_until(lambda: "problem=" in stack.logged(), "a line that says so")
    assert process.poll() is None
    proxy.restore()
    stack.source_dsn, stack.state_dsn = database, state_dsn  # the test's own look is not through the proxy
    wait_equal(stack)
    said = stack.logged().count("problem=")
    proxy.cut()  # and midway

    def says_more() -> bool:
        stack.sql("UPDATE parts SET quantity = quantity + 1 WHERE id = 2")  # Graph is asked only when there is a reason
        return stack.logged().count("problem=") > said

    wait_until(says_more, "another line")
    proxy.restore()
    stack.sql("UPDATE parts SET quantity = 51 WHERE id = 1")
    wait_equal(stack)
    assert "Traceback" not in stack.logged()
    assert stack.stop(process) == 0, stack.logged()[-4000:]


def test_sigterm_ends_within_two_seconds(stack: Stack) -> None:
    wait_equal(stack)
    said = len(stack.logged())
    assert stack.stop(stack.processes[-1]) == 0, stack.logged()[-4000:]
    lines = [line for line in stack.logged()[said:].splitlines() if "event=stop" in line]
    assert [line.split("event=")[1].split()[0] for line in lines] == ["stopping", "stopped"]


def test_status_is_one_json_document(stack: Stack) -> None:
    for process in stack.processes:  # the test before has ended it, if it was run
        if process.poll() is None:
            stack.stop(process)
    document = json.loads(stack.spawn("status", "--json").stdout)
    [parts] = document["syncs"]
    keys = {
        "wanted",
        "activity",
        "health",
        "position",
        "lag_bytes",
        "lag_s",
        "waiting",
        "in_flight",
        "parked",
        "delivered",
        "latency_ms",
        "ru_used",
    }
    assert keys <= set(parts)
    assert set(parts["latency_ms"]) == {"p50", "p95", "p99"}
    assert parts["reason"]["code"] == "not_running"
