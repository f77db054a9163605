"""Interleavings of the design on real parts: processes, servers, slots, a simulator. All: `docs/interleavings.md`.

In: one running stack that most of them share, each with keys of its own, and one whose source is a server of its own.
Rule: each ends with table and lists equal and no item doubled; the state database is looked at only to time a step.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from demo.postgres import Cluster
from rowtide.keys import lane_of, rowtide_key
from state import schema
from tests.conftest import drop_databases, reachable_directory
from tests.e2e.conftest import Simulator
from tests.e2e.stack import SYNC, TABLE, Stack, wait_until

NewDatabase = Callable[[str], str]

FIELDS = {"Title": "name", "Quantity": "quantity", "Region": "region"}
LISTS = {"EU": "EU", "US": "US"}

NAMED = """
  {sync}:
    source: {{postgres: erp, table: public.{sync}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    list: {sync}
    breaker: {{share: 1.0, rows: 100000}}
    fields: {{note: Title}}
"""
NAMED_TABLE = "CREATE TABLE {} (name text PRIMARY KEY, note text)"

POST = {"method": "POST", "path": "/items$", "level": "member"}
PATCH = {"method": "PATCH", "path": "/items/", "level": "member"}
LOOK = {"method": "GET", "path": "/items", "level": "member"}
DEADLINE_S = 90.0
LOST = {"action": "status", "status": 504, "after_commit": True}


# --- what is there ----------------------------------------------------------------------------------------------------


def items_by_key(stack: Stack) -> dict[str, list[dict[str, Any]]]:
    """RowtideKey -> the live items that have it; more than one is a move under way, or a double."""
    found: dict[str, list[dict[str, Any]]] = {}
    for item in stack.simulator.items():
        if not item["deleted"]:
            found.setdefault(item["fields"]["RowtideKey"], []).append(item)
    return found


def in_lists(stack: Stack, sync: str = "parts") -> dict[str, Any]:
    """RowtideKey -> (list, fields) of a sync of table ``parts``."""
    return {
        key: [(item["list"], {name: item["fields"].get(name) for name in FIELDS}) for item in items]
        for key, items in items_by_key(stack).items()
        if key.startswith(f"{sync}:")
    }


def wanted(stack: Stack, sync: str = "parts", prefix: str = "Parts") -> dict[str, Any]:
    """The same as table ``parts`` says."""
    rows = stack.sql(f"SELECT id, {', '.join(FIELDS.values())} FROM parts WHERE quantity IS NULL OR quantity >= 0")
    return {
        rowtide_key(sync, str(id_)): [
            (f"{prefix} {LISTS.get(region, 'Other')}", {"Title": name, "Quantity": quantity, "Region": region})
        ]
        for id_, name, quantity, region in rows
    }


def wait_equal(stack: Stack, sync: str = "parts", prefix: str = "Parts") -> None:
    """Until table and lists are equal."""

    def equal() -> bool:
        return in_lists(stack, sync) == wanted(stack, sync, prefix)

    try:
        wait_until(equal, "source and lists equal", DEADLINE_S)
    except AssertionError as error:
        have, want = in_lists(stack, sync), wanted(stack, sync, prefix)
        differing = {key: (have.get(key), want.get(key)) for key in have | want if have.get(key) != want.get(key)}
        waiting = stack.state(
            "SELECT key, op, state, lease_owner, due_at, lease_until, reason, sent FROM rowtide.outbox"
        )
        said = f"{error}\nlists, table: {differing}\noutbox: {waiting}\n{stack.logged()[-6000:]}"
        raise AssertionError(said) from None


def item_of(stack: Stack, key: str) -> dict[str, Any]:
    """The one item of a key."""
    [item] = items_by_key(stack)[key]
    return item


def created(stack: Stack, key: str) -> int:
    """How many items were ever made for a key."""
    posts = stack.simulator.stats()["posts_by_key"].get(key, {})
    return int(posts.get("created", 0))


def quiet(stack: Stack) -> bool:
    """Whether nothing waits but items that may still arrive too late."""
    waiting = "SELECT count(*) FROM rowtide.outbox WHERE reason IS DISTINCT FROM 'an earlier POST may still arrive'"
    return stack.state(waiting) == [(0,)]


def running(stack: Stack) -> subprocess.Popen[bytes]:
    """The process of the stack that was started last, if it runs still."""
    assert stack.processes[-1].poll() is None
    return stack.processes[-1]


def foreign_edits(stack: Stack) -> int:
    """Foreign edits counted so far, once everybody has said what they know."""
    [(count,)] = stack.state("SELECT coalesce(sum(foreign_edits), 0) FROM rowtide.progress")
    return int(count)


def incarnations(stack: Stack) -> list[str]:
    """Why each incarnation of the slot was begun, as the log says."""
    lines = [line for line in stack.logged().splitlines() if "new incarnation" in line]
    return [line.split("code=")[1].split()[0] for line in lines]


def wait_confirmed(stack: Stack) -> None:
    """Until the slot has been told of everything that is committed now."""
    [(end,)] = stack.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")
    reached = "SELECT confirmed_flush_lsn - '0/0' >= %s FROM pg_replication_slots WHERE slot_name = %s"
    wait_until(lambda: stack.sql(reached, end, stack.slot) == [(True,)], "the slot moves on")


# --- one running stack for most of them -------------------------------------------------------------------------------


@contextmanager
def new_line(
    pg: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    syncs: str,
    rows: int,
    source: Cluster | None = None,
) -> Iterator[Stack]:
    """A running stack with tables ``parts`` and ``names``, its source on ``source``; its lists equal to them."""
    databases = [name if source else f"{name}_source_{os.getpid()}", f"{name}_state_{os.getpid()}"]
    source_dsn, state_dsn = (source or pg).create_database(databases[0]), pg.create_database(databases[1])
    schema.upgrade(state_dsn)
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), "--tier", "off")
    directory = reachable_directory(f"rowtide-{name}-")
    stack = Stack(directory, source_dsn, state_dsn, simulator.ready, syncs, "quota: off", request_timeout="3s")
    stack.simulator = simulator
    stack.sql(TABLE)
    stack.sql(NAMED_TABLE.format("names"))
    stack.sql("INSERT INTO parts SELECT i, 'part ' || i, NULL, i FROM generate_series(1, %s) i", rows)
    stack.apply()
    stack.start()
    wait_equal(stack)
    yield stack
    stack.close()
    simulator.close()
    drop_databases(pg, databases)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def line(pg: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack: tables ``parts`` (five rows) and ``names``, on the worker's server."""
    with new_line(pg, tmp_path_factory, "line", SYNC + NAMED.format(sync="names"), 5) as stack:
        yield stack


def edited(stack: Stack, key: str, **change: Any) -> None:
    """A person's edit of the item of a key."""
    item = item_of(stack, key)
    stack.simulator.edit(list=item["list"], item_id=item["id"], user="Ann Person", **change)


@contextmanager
def faults(stack: Stack, *rules: dict[str, Any]) -> Iterator[Callable[[], int]]:
    """These faults while the body runs; it is given a question: how often has the first rule struck?"""
    stack.simulator.set_faults(list(rules))
    try:
        yield lambda: sum(rule["hits"] for rule in stack.simulator.ask("faults")["rules"][:1])
    finally:
        stack.simulator.clear_faults()


def test_an_own_unknown_write_is_merged_with_a_newer_value(line: Stack) -> None:
    before = line.simulator.stats()["updates"]["total"], foreign_edits(line)
    with faults(line, {**PATCH, **LOST, "delay_ms": 800, "count": 1}) as struck:
        line.sql("UPDATE parts SET quantity = 100, name = 'first' WHERE id = 1")
        wait_until(struck, "a PATCH whose answer is lost")
        line.sql("UPDATE parts SET quantity = 101 WHERE id = 1")  # the row is under way, and takes it up
        wait_equal(line)
    wait_until(lambda: quiet(line), "everything settled")
    # The lost one was recognised as ours: the second wrote what it had left to write, and nothing was written twice.
    assert (line.simulator.stats()["updates"]["total"] - before[0], foreign_edits(line) - before[1]) == (2, 0)


def test_412_where_only_the_version_moved(line: Stack) -> None:
    edited(line, "parts:2", touch=True)
    before = line.simulator.stats()["updates"]["total"], foreign_edits(line)
    line.sql("UPDATE parts SET quantity = 200 WHERE id = 2")
    wait_equal(line)
    wait_until(lambda: quiet(line), "everything settled")
    assert (line.simulator.stats()["updates"]["total"] - before[0], foreign_edits(line) - before[1]) == (1, 0)


def test_adoption_does_not_swallow_a_foreign_edit(line: Stack) -> None:
    """A person is in the item that our lost POST made before we have looked for it."""
    before = foreign_edits(line)
    with faults(line, {**POST, **LOST, "count": 1}, {**LOOK, "status": 503}):
        line.sql("INSERT INTO parts (id, name, quantity) VALUES (300, 'ours', 1)")
        wait_until(lambda: created(line, "parts:300"), "the item that nobody answered for")
        edited(line, "parts:300", fields={"Quantity": 77})
    wait_equal(line)
    wait_until(lambda: foreign_edits(line) == before + 1, "the edit is counted, not taken for ours")
    assert created(line, "parts:300") == 1


def test_keys_that_sharepoint_takes_for_one(line: Stack) -> None:
    """Its unique column knows no case and trims blanks; a key column of PostgreSQL does neither."""
    keys = ["key", "Key", "KEY", "k\u00e9y", "ke\u0301y", "key ", " key", "key\t", "straße", "strasse", "ﬁ", "fi", "Fi"]
    keys += ["", " ", "x" * 64, "x" * 65, "x" * 300, "x" * 301, "names:key", "#key", "a|b", "a\\|b", "0", "00"]
    with psycopg.connect(line.source_dsn, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO names VALUES (%s, %s)", [(key, f"note {n}") for n, key in enumerate(keys)])

    def notes() -> list[str]:
        names = [items for key, items in items_by_key(line).items() if key.startswith("names:")]
        assert all(len(items) == 1 for items in names)
        return sorted(items[0]["fields"]["Title"] for items in names)

    wait_until(lambda: len(notes()) == len(keys), "an item for each key")
    assert notes() == sorted(f"note {n}" for n in range(len(keys)))
    line.sql("UPDATE names SET note = note || ' new' WHERE upper(trim(name)) = 'KEY'")
    line.sql("DELETE FROM names WHERE upper(name) = 'FI' OR length(name) > 64")
    rest = sorted(note for (note,) in line.sql("SELECT note FROM names"))
    wait_until(lambda: notes() == rest, "each change went to its own item")


def test_a_transaction_of_before_a_table_was_published(line: Stack) -> None:
    """Its rows are in no chunk and not in the stream: the pass waits for it, and nothing else does."""
    line.sql(NAMED_TABLE.format("extras"))
    line.sql("INSERT INTO extras VALUES ('early', 'early')")
    with psycopg.connect(line.source_dsn) as long:
        long.execute("INSERT INTO extras VALUES ('hidden', 'hidden')")
        long.execute("UPDATE extras SET note = 'changed' WHERE name = 'early'")
        line.write(SYNC + NAMED.format(sync="names") + NAMED.format(sync="extras"))
        line.apply()
        phase = "SELECT phase FROM rowtide.reconcile WHERE sync = 'extras'"
        wait_until(lambda: line.state(phase) == [("opening",)], "the pass waits")
        line.sql("INSERT INTO extras VALUES ('streamed', 'streamed')")

        def titles() -> set[str]:
            items = [one for key, items in items_by_key(line).items() if key.startswith("extras:") for one in items]
            assert len(items) == len({one["fields"]["RowtideKey"] for one in items})
            return {one["fields"]["Title"] for one in items}

        wait_until(lambda: titles() == {"early", "streamed"}, "nothing else waits")
        long.commit()
    wait_until(lambda: titles() == {"changed", "hidden", "streamed"}, "what it did is found")


def test_two_processes_with_one_id(line: Stack) -> None:
    first = line.processes[-1]
    line.start()
    wait_until(lambda: "code=process_id_taken" in line.logged(), "the second is refused")
    assert "Another Rowtide process with id 0" in line.logged()
    line.sql("UPDATE parts SET quantity = quantity + 1")
    wait_equal(line)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    line.sql("UPDATE parts SET quantity = quantity + 1")
    wait_equal(line)
    assert line.processes[-1].poll() is None


def test_a_late_settle_after_the_lease_was_lost(line: Stack) -> None:
    """A process freezes with its answers in hand; its leases run out, and another one writes newer values."""
    changed, gone, moved, new = [n for n in range(500, 600) if lane_of("parts", str(n)) == 0][:4]  # one request's worth
    line.sql("INSERT INTO parts (id, name) VALUES (%s, 'a'), (%s, 'b'), (%s, 'c')", changed, gone, moved)
    wait_equal(line)
    held = line.directory / "held"
    assert line.stop(running(line)) == 0
    first = line.start("--process-id", "0", failpoints=f"deliver.after_answer=pause:{held}")
    line.sql("UPDATE parts SET quantity = 1 WHERE id IN (%s, %s)", changed, gone)
    wait_equal(line)
    wait_until(lambda: quiet(line), "everything settled")
    before = line.simulator.writes(), foreign_edits(line)
    held.touch()
    line.sql(
        f"UPDATE parts SET quantity = 10 WHERE id = {changed}; DELETE FROM parts WHERE id = {gone};"
        f"UPDATE parts SET region = 'US' WHERE id = {moved}; INSERT INTO parts (id, name) VALUES ({new}, 'new')"
    )
    wait_until(lambda: line.simulator.writes() == before[0] + 4, "the writes are done, the answers are held")
    line.sql("UPDATE parts SET quantity = 11 WHERE id IN (%s, %s)", changed, new)
    newer = "SELECT count(*) FROM rowtide.outbox WHERE revision > 1 AND lease_token IS NOT NULL"
    wait_until(lambda: line.state(newer) == [(2,)], "newer values of two of them")
    first.send_signal(signal.SIGSTOP)
    try:
        held.unlink()
        second = line.start("--roles", "deliver", "--process-id", "1")
        # Two minutes by the database's clock.
        line.state("UPDATE rowtide.outbox SET lease_until = now() - interval '1 second' WHERE lease_token IS NOT NULL")
        wait_equal(line)
        wait_until(lambda: quiet(line), "everything settled")
        known = "SELECT key, state, era, lsn, item_id, etag, base::text FROM rowtide.ledger ORDER BY sync, key"
        ledger = line.state(known)
    finally:
        first.send_signal(signal.SIGCONT)
    [(thawed,)] = line.state("SELECT clock_timestamp()")
    idle = "SELECT (health -> 'due' -> 'in_flight')::int = 0 AND seen_at > %s FROM rowtide.process WHERE process_id = 0"
    wait_until(lambda: line.state(idle, thawed) == [(True,)], "the late answers are settled")
    assert line.state(known) == ledger
    assert line.stop(second) == 0
    line.processes.remove(second)
    line.sql("UPDATE parts SET quantity = 12 WHERE id IN (%s, %s, %s)", changed, moved, new)
    wait_equal(line)
    assert [created(line, f"parts:{id_}") for id_ in (changed, gone, moved, new)] == [1, 1, 2, 1]
    assert foreign_edits(line) == before[1]


@pytest.mark.parametrize("how", ["advanced", "recreated"])
def test_the_slot_was_moved_while_nobody_read_it(how: str, line: Stack) -> None:
    first = {"advanced": 700, "recreated": 750}[how]
    line.sql(f"INSERT INTO parts SELECT i, 'part ' || i, NULL, i FROM generate_series({first + 1}, {first + 4}) i")
    wait_equal(line)
    before = len(incarnations(line))
    assert line.stop(running(line)) == 0
    line.sql("UPDATE parts SET quantity = 100 WHERE id = %s", first + 1)
    line.sql("DELETE FROM parts WHERE id = %s", first + 2)
    line.sql("UPDATE parts SET id = %s WHERE id = %s", first + 33, first + 3)
    line.sql("INSERT INTO parts (id, name) VALUES (%s, 'in the gap')", first + 5)
    if how == "advanced":
        line.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", line.slot)
    else:
        line.sql("SELECT pg_drop_replication_slot(%s)", line.slot)
        line.command("slot", "create")
    line.start()
    wait_equal(line)
    assert incarnations(line)[before:] == ["slot_ahead"]
    assert created(line, f"parts:{first + 1}") == created(line, f"parts:{first + 5}") == 1


@pytest.mark.long
def test_two_groups_on_one_slot_by_mistake(line: Stack, new_database: NewDatabase) -> None:
    """Two state databases, two definitions, one slot name: the one that came later stops, also while it reads."""
    state_dsn = new_database("state")
    schema.upgrade(state_dsn)
    copies = SYNC.replace("\n  parts:", "\n  copies:").replace("Parts ", "Copies ")
    directory = line.directory / "two"
    directory.mkdir()
    two = Stack(directory, line.source_dsn, state_dsn, line.simulator.ready, copies, "quota: off", line.slot)
    two.simulator = line.simulator
    two.apply()
    before = len(incarnations(line))
    other = two.start()
    try:
        wait_until(lambda: "code=slot_shared" in two.logged(), "the second stops and says so")
        line.sql("INSERT INTO parts (id, name) VALUES (801, 'read by the first'), (802, 'b'), (803, 'c'), (804, 'd')")
        wait_equal(line)
        assert in_lists(two, "copies") == {}
        other.kill()
        other.wait(10)
        reader = running(line)
        reader.kill()
        reader.wait(10)
        other = two.start()
        [said] = two.status()["syncs"]
        assert (said["wanted"], said["reason"]["code"]) == ("held", "slot_shared")
        assert "resume --take-slot erp" in said["holds"][0]["lifts"]
        two.command("resume", "--take-slot", "erp")  # by mistake, too: the first one is only down
        line.sql("DELETE FROM parts WHERE id = 802")
        wait_equal(two, "copies", "Copies")
        line.sql("DELETE FROM parts WHERE id = 803; UPDATE parts SET quantity = 33 WHERE id = 804")
        line.sql("INSERT INTO parts (id, name) VALUES (805, 'read by the second')")
        wait_equal(two, "copies", "Copies")
        wait_confirmed(two)
        line.start()
        wait_equal(line)  # what the second has consumed as well
        assert two.state("SELECT scope, object, code FROM rowtide.hold") == [("source", "erp", "slot_shared")]
        assert other.poll() is None
    finally:
        two.close()
    assert incarnations(line)[before:] == ["slot_ahead"]
    assert incarnations(two) == ["first_start"]


@pytest.mark.long
def test_the_state_database_is_restored_to_an_earlier_hour(line: Stack, new_database: NewDatabase, pg: Cluster) -> None:
    line.sql("INSERT INTO parts SELECT i, 'part ' || i, NULL, i FROM generate_series(601, 607) i")
    wait_equal(line)
    before = len(incarnations(line))
    assert line.stop(running(line)) == 0
    copy, state = (psycopg.conninfo.conninfo_to_dict(dsn)["dbname"] for dsn in (new_database("copy"), line.state_dsn))
    with psycopg.connect(pg.dsn("postgres"), autocommit=True) as connection:

        def put(source: object, target: object) -> None:
            line.looks.close()  # who is copied is left by everybody
            connection.execute(f'DROP DATABASE "{target}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')

        put(state, copy)
        line.start()
        line.sql("INSERT INTO parts (id, name) VALUES (610, 'created since'), (611, 'created and deleted since')")
        line.sql("DELETE FROM parts WHERE id = 602")
        line.sql("UPDATE parts SET quantity = 30 WHERE id = 603")
        line.sql("UPDATE parts SET region = 'US' WHERE id = 604")
        line.sql("UPDATE parts SET id = 655 WHERE id = 605")
        wait_equal(line)
        line.sql("DELETE FROM parts WHERE id IN (606, 611)")
        line.sql("INSERT INTO parts (id, name, quantity) VALUES (606, 'deleted and created since', 6)")
        wait_equal(line)
        wait_confirmed(line)
        assert line.stop(running(line)) == 0
        put(copy, state)
    line.sql("UPDATE parts SET quantity = 70 WHERE id = 607")
    made = {key: created(line, key) for key in items_by_key(line)}
    line.command("apply", "--yes", "--take-over")  # restored records are another installation's
    line.start()
    wait_equal(line)
    done = "SELECT state FROM rowtide.reconcile WHERE sync = 'parts'"
    wait_until(lambda: line.state(done) == [("done",)], "the pass is done")
    wait_equal(line)
    assert incarnations(line)[before:] == ["slot_ahead"]
    assert {key: created(line, key) for key in items_by_key(line)} == made
    line.sql("UPDATE parts SET quantity = quantity + 1; DELETE FROM parts WHERE id IN (610, 604)")
    wait_equal(line)


def test_an_uncertain_create_is_followed_by_a_delete_and_by_a_move(line: Stack) -> None:
    """The POSTs arrive after the client gave them up, when their rows already want something else."""
    keys = [f"parts:{id_}" for id_ in (400, 401, 402)]
    with faults(line, {**POST, "action": "delay", "delay_ms": 4500}) as struck:
        line.sql("INSERT INTO parts (id, name) VALUES (400, 'deleted'), (401, 'moved'), (402, 'changed')")
        wait_until(lambda: struck() == len(keys), "a POST of each under way")
        line.sql("DELETE FROM parts WHERE id = 400")
        line.sql("UPDATE parts SET region = 'US' WHERE id = 401")
        line.sql("UPDATE parts SET quantity = 402 WHERE id = 402")
        wait_until(lambda: all(created(line, key) for key in keys), "the late items")
    wait_equal(line)
    assert [created(line, key) for key in keys] == [1, 2, 1]  # the moved one, once in each list


# --- a source that is a server of its own -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(pg: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Cluster]]:
    """A running stack and the server that has nothing but its source: eight rows of ``parts``, the lists equal."""
    cluster = Cluster(reachable_directory("rowtide-pg-"), {"fsync": "off", "shared_buffers": "32MB"})
    cluster.start()
    with new_line(pg, tmp_path_factory, "alone", SYNC, 8, cluster) as stack:
        yield stack, cluster
    cluster.kill()
    shutil.rmtree(cluster.directory, ignore_errors=True)


def test_a_commit_is_streamed_before_it_is_visible(alone: tuple[Stack, Cluster]) -> None:
    """Its commit is in the WAL, and waits for a standby that never answers: readers do not see it yet."""
    stack, _ = alone
    wait_until(lambda: quiet(stack), "everything settled")
    stack.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    stack.sql("SELECT pg_reload_conf()")
    wait_until(lambda: stack.sql("SHOW synchronous_standby_names") == [("nobody",)], "synchronous replication")
    hidden = [
        "UPDATE parts SET quantity = 100 WHERE id = 1",
        "DELETE FROM parts WHERE id = 2",
        "INSERT INTO parts (id, name) VALUES (50, 'new')",
        "UPDATE parts SET id = 60 WHERE id = 3",  # the old key is read anew
        "UPDATE parts SET region = 'US' WHERE id = 4",
    ]
    with ThreadPoolExecutor(len(hidden)) as hands:
        commits = [hands.submit(stack.sql, statement) for statement in hidden]
        try:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            wait_until(lambda: stack.sql(waiting) == [(len(hidden),)], "commits that wait")

            def streamed() -> bool:
                shown = in_lists(stack)
                moved = [where for where, _ in shown["parts:4"]]
                there = "parts:2" not in shown and {"parts:50", "parts:60"} <= shown.keys()
                return there and shown["parts:1"][0][1]["Quantity"] == 100 and moved == ["Parts US"]

            wait_until(streamed, "what was streamed is in the lists")
            left = "SELECT key, op FROM rowtide.outbox WHERE lease_token IS NULL"
            wait_until(lambda: stack.state(left) == [("3", "r")], "only the row that has to be read waits")
            assert stack.sql("SELECT count(*), sum(quantity) FROM parts") == [(8, 36)]  # nothing of it is visible
            before = in_lists(stack), stack.simulator.writes()
            said = json.loads(stack.command("reconcile", "parts", "--json").stdout)
            assert (said["counts"]["rows"], said["counts"]["asked"]) == (8, 9)
            assert sum(said["counts"].get(name, 0) for name in ("creates", "updates", "moves", "deletes")) == 0
            wait_until(lambda: stack.state(left) == [("3", "r")], "the old rows of the table were not staged")
            assert (in_lists(stack), stack.simulator.writes()) == before
        finally:
            stack.sql("ALTER SYSTEM RESET synchronous_standby_names")
            stack.sql("SELECT pg_reload_conf()")
    assert [commit.exception() for commit in commits] == [None] * len(hidden)
    wait_equal(stack)
    wait_until(lambda: quiet(stack), "everything settled")
    assert stack.simulator.writes() == before[1] + 1  # the old key's item


@pytest.mark.long
def test_a_standby_is_promoted(alone: tuple[Stack, Cluster]) -> None:
    """A new timeline, on which the last transactions of the old one never happened."""
    stack, primary = alone
    stack.sql("INSERT INTO parts SELECT i, 'part ' || i, NULL, i FROM generate_series(201, 206) i")
    standby = standby_of(primary)
    try:
        stack.sql("UPDATE parts SET quantity = 10 WHERE id = 201")
        wait_equal(stack)
        caught_up = "SELECT replay_lsn >= %s FROM pg_stat_replication WHERE application_name = 'walreceiver'"
        [(end,)] = stack.sql("SELECT pg_current_wal_lsn()")
        wait_until(lambda: stack.sql(caught_up, end) == [(True,)], "the standby has it")
        standby.kill()
        stack.sql("DO 'BEGIN FOR i IN 1..200 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END'")
        stack.sql("INSERT INTO parts (id, name) VALUES (290, 'of the lost hour')")
        stack.sql("UPDATE parts SET quantity = 22 WHERE id = 202; DELETE FROM parts WHERE id = 203")
        wait_equal(stack)
        wait_confirmed(stack)
        assert stack.stop(running(stack)) == 0
        primary.kill()
        wait_until(lambda: starts(standby), "the standby starts")
        stack.source_dsn = stack.environment["ROWTIDE_SOURCE_DSN"] = standby.dsn("alone")
        stack.sql("SELECT pg_promote()")
        stack.command("slot", "create")
        stack.sql("INSERT INTO parts (id, name) VALUES (291, 'of the new hour')")
        stack.sql("DELETE FROM parts WHERE id = 204; UPDATE parts SET quantity = 55 WHERE id = 205")
        stack.start()
        wait_equal(stack)
        assert incarnations(stack) == ["first_start", "new_timeline"]
        stack.sql("UPDATE parts SET quantity = quantity + 1")
        wait_equal(stack)
        assert [created(stack, f"parts:{id_}") for id_ in (201, 202, 205, 291)] == [1, 1, 1, 1]
        assert stack.stop(running(stack)) == 0
    finally:
        standby.kill()
        shutil.rmtree(standby.directory, ignore_errors=True)


def standby_of(primary: Cluster) -> Cluster:
    """A running streaming standby of a server."""
    directory = reachable_directory("rowtide-standby-")
    standby = Cluster(directory, {"fsync": "off", "shared_buffers": "32MB"})
    shutil.copy2(primary.directory / "password", directory / "password")
    command = [str(standby.binaries / "pg_basebackup"), "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast"]
    standby._own(directory)
    subprocess.run([*command, "--no-sync", "-d", primary.dsn("postgres")], check=True, **standby._as_user())
    standby.start()
    return standby


def starts(cluster: Cluster) -> bool:
    """Whether the server starts now; a killed one's children may still be there for a moment."""
    try:
        cluster.start()
    except Exception:
        return False
    return True
