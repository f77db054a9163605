"""The tables of a crash history, what happens to them, and what the lists must hold in the end.

In: a source connection, a seeded random generator. Out: committed transactions and a log of them. Rule: what should
be in the lists is computed here from the tables alone, by a mapping written a second time, not by the product's.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

TABLES = """
CREATE TABLE things (
    id bigint PRIMARY KEY, seq bigint NOT NULL, shard text NOT NULL, body text, big text, flag boolean, unmapped text
);
ALTER TABLE things ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE swaps (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, seq bigint NOT NULL, body text);
ALTER TABLE swaps REPLICA IDENTITY FULL;
CREATE TABLE names (code text PRIMARY KEY, seq bigint NOT NULL, body text);
CREATE TABLE lines (
    order_id int, line_no int, seq bigint NOT NULL, body text, PRIMARY KEY (order_id, line_no)
);
CREATE TABLE crates (id int PRIMARY KEY, seq bigint NOT NULL, body text);
CREATE SEQUENCE tick;
"""

SHARDED = "things"
"""The sync whose rows are divided among lists."""

KEYS = {"swaps": "id", "names": "code", "lines": "order_id || '|' || line_no", "crates": "id"}
"""The key of a row, as the ledger has it."""

CODES = ["a", "A", "ä", "Ä", "a ", "a|b", "a\\b", "é" * 40, "x" * 300, "X" * 300, "ß", "ss", "1", "01", "ﬁ", "fi"]
HOT = 5
SWAPPED = 8
CRATES = 40


@dataclass(slots=True)
class Commit:
    """A committed change the log can check: after ``lsn`` was confirmed, the key's records know ``seq`` or later."""

    sync: str
    key: str
    seq: int | None  # None: a delete
    lsn: int


@dataclass(slots=True)
class Workload:
    """Transactions on the tables in a thread of its own, each drawn from the seed."""

    dsn: Callable[[], str]
    seed: int
    rows: int = 200
    commits: list[Commit] = field(default_factory=list)
    transactions: int = 0
    changes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _paused: bool = False

    def prepare(self) -> None:
        """Create and fill the tables."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(TABLES)
            connection.execute(
                "INSERT INTO things SELECT i, nextval('tick'), (ARRAY['a', 'b', 'c'])[1 + i %% 3], 'thing ' || i,"
                " CASE WHEN i %% 10 = 0 THEN repeat('long ', 1000) END, i %% 2 = 0 FROM generate_series(1, %s) i",
                [self.rows],
            )
            connection.execute(
                "INSERT INTO swaps SELECT i, nextval('tick'), 'swap ' || i FROM generate_series(1, %s) i", [SWAPPED]
            )
            connection.execute(
                "INSERT INTO lines SELECT o, n, nextval('tick'), 'line' FROM generate_series(1, 12) o,"
                " generate_series(1, 4) n"
            )
            connection.execute(
                "INSERT INTO crates SELECT i, nextval('tick'), 'crate ' || i FROM generate_series(1, %s) i", [CRATES]
            )
            for code in CODES[::2]:
                connection.execute("INSERT INTO names VALUES (%s, nextval('tick'), %s)", [code, f"name {len(code)}"])

    def start(self) -> None:
        """Begin, or go on."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """End as `stop` does, to go on if it was under way."""
        self._paused = self._thread is not None and self._thread.is_alive()
        self.stop()

    def go_on(self) -> None:
        """Begin again what `pause` has ended."""
        if self._paused:
            self.start()

    def stop(self) -> None:
        """End after the transaction under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        rng = random.Random(self.seed + self.transactions)
        while not self._stop.is_set():
            try:
                with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=5) as connection:
                    while not self._stop.is_set():
                        self._one(connection, rng)
                        self._stop.wait(rng.uniform(0.002, 0.04))
            except psycopg.Error:
                self._stop.wait(0.1)  # the source is down: part of the history

    def _one(self, connection: psycopg.Connection[Any], rng: random.Random) -> None:
        act = rng.choices(
            [
                hot,
                update,
                insert,
                delete,
                again,
                rekey,
                swap,
                move,
                name,
                filtered,
                unmapped,
                bulk,
                toast,
                rolled_back,
                order,
                cancel,
                renumber,
                crate,
            ],
            [20, 20, 8, 5, 5, 5, 6, 8, 6, 5, 5, 1, 4, 3, 4, 3, 4, 4],
        )[0]
        with connection.transaction():
            changed = act(connection, rng, self.rows)
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        self.transactions += 1
        self.changes += len(changed)
        if act is not rolled_back:
            self.commits.extend(Commit(sync, key, seq, int(row[0])) for sync, key, seq in changed)


Changed = list[tuple[str, str, int | None]]
Connection = psycopg.Connection[Any]


def _things(connection: Connection, statement: str, *values: object) -> Changed:
    rows = connection.execute(statement, values).fetchall()
    return [("things", str(row[0]), row[1] if row[1] >= 0 else None) for row in rows]


def hot(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A few rows that change all the time."""
    statement = "UPDATE things SET seq = nextval('tick'), flag = NOT flag WHERE id = %s RETURNING id, seq"
    return _things(connection, statement, rng.randint(1, HOT))


def update(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """Any row changes."""
    statement = "UPDATE things SET seq = nextval('tick'), body = %s WHERE id = %s RETURNING id, seq"
    return _things(connection, statement, f"body {rng.randrange(1000)}", rng.randint(1, rows))


def insert(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A new row, or an old key again."""
    statement = (
        "INSERT INTO things VALUES (%s, nextval('tick'), %s, 'inserted', NULL, true)"
        " ON CONFLICT (id) DO UPDATE SET seq = excluded.seq RETURNING id, seq"
    )
    return _things(connection, statement, rng.randint(1, rows + 100), rng.choice("abc"))


def delete(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A row goes."""
    done = connection.execute("DELETE FROM things WHERE id = %s RETURNING id", [rng.randint(HOT + 1, rows)]).fetchall()
    return [("things", str(row[0]), None) for row in done]


def again(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """Deleted and inserted again in one transaction."""
    key = rng.randint(HOT + 1, rows)
    connection.execute("DELETE FROM things WHERE id = %s", [key])
    statement = "INSERT INTO things VALUES (%s, nextval('tick'), %s, 'again', NULL, false) RETURNING id, seq"
    return _things(connection, statement, key, rng.choice("abc"))


def rekey(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A key changes to a free one."""
    old, new = rng.randint(HOT + 1, rows), rows + 101 + rng.randrange(200)
    if connection.execute("SELECT 1 FROM things WHERE id = %s", [new]).fetchone():
        old, new = new, old
    if connection.execute("SELECT 1 FROM things WHERE id = %s", [new]).fetchone():
        return []
    moved = _things(
        connection, "UPDATE things SET id = %s, seq = nextval('tick') WHERE id = %s RETURNING id, seq", new, old
    )
    return [*moved, ("things", str(old), None)] if moved else []


def swap(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """Two rows exchange their keys, which the deferrable constraint allows."""
    first, second = rng.sample(range(1, SWAPPED + 1), 2)
    done = connection.execute(
        "UPDATE swaps SET id = CASE id WHEN %s THEN %s ELSE %s END, seq = nextval('tick') WHERE id IN (%s, %s)"
        " RETURNING id, seq",
        [first, second, first, first, second],
    ).fetchall()
    return [("swaps", str(row[0]), row[1]) for row in done]


def move(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A row belongs to another list."""
    statement = "UPDATE things SET seq = nextval('tick'), shard = %s WHERE id = %s RETURNING id, seq"
    return _things(connection, statement, rng.choice("abc"), rng.randint(1, rows))


def name(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """Keys that SharePoint's comparison would take for equal."""
    code = rng.choice(CODES)
    if rng.random() < 0.3:
        gone = connection.execute("DELETE FROM names WHERE code = %s", [code]).rowcount
        return [("names", code, None)] if gone else []
    row = connection.execute(
        "INSERT INTO names VALUES (%s, nextval('tick'), %s) ON CONFLICT (code) DO UPDATE SET seq = excluded.seq,"
        " body = excluded.body RETURNING seq",
        [code, f"name {rng.randrange(100)}"],
    ).fetchone()
    assert row is not None
    return [("names", code, row[0])]


def filtered(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A row leaves or enters the row filter."""
    statement = (
        "UPDATE things SET seq = CASE WHEN seq < 0 THEN nextval('tick') ELSE -nextval('tick') END WHERE id = %s"
        " RETURNING id, seq"
    )
    return _things(connection, statement, rng.randint(HOT + 1, rows))


def unmapped(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """Nothing that the lists show."""
    connection.execute("UPDATE things SET unmapped = %s WHERE id <= %s", [str(rng.random()), rng.randint(1, 20)])
    return []


def bulk(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """One statement over a third of the table."""
    statement = "UPDATE things SET seq = nextval('tick') WHERE id %% 3 = %s AND seq >= 0 RETURNING id, seq"
    return _things(connection, statement, rng.randrange(3))


def toast(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A row with a TOASTed value changes beside it, so that pgoutput does not send it."""
    statement = (
        "UPDATE things SET seq = nextval('tick') WHERE id = %s AND big IS NOT NULL AND seq >= 0 RETURNING id, seq"
    )
    return _things(connection, statement, 10 * rng.randint(1, max(1, rows // 10)))


def rolled_back(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """Nothing of it may ever be seen."""
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE things SET body = 'never', seq = nextval('tick')")
    return []


def order(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """An order with its lines comes, or is written anew."""
    number = rng.randint(1, 20)
    done = connection.execute(
        "INSERT INTO lines SELECT %s, n, nextval('tick'), 'ordered' FROM generate_series(1, %s) n"
        " ON CONFLICT (order_id, line_no) DO UPDATE SET seq = excluded.seq, body = excluded.body"
        " RETURNING order_id, line_no, seq",
        [number, rng.randint(1, 5)],
    ).fetchall()
    return [("lines", f"{row[0]}|{row[1]}", row[2]) for row in done]


def cancel(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """All lines of an order go in one statement, as by a cascade."""
    statement = "DELETE FROM lines WHERE order_id = %s RETURNING order_id, line_no"
    done = connection.execute(statement, [rng.randint(1, 20)]).fetchall()
    return [("lines", f"{row[0]}|{row[1]}", None) for row in done]


def renumber(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """An order takes another number, and with it the keys of all its lines change."""
    old, new = rng.randint(1, 20), rng.randint(21, 40)
    if rng.random() < 0.5:
        old, new = new, old
    if connection.execute("SELECT 1 FROM lines WHERE order_id = %s", [new]).fetchone():
        return []
    done = connection.execute(
        "UPDATE lines SET order_id = %s, seq = nextval('tick') WHERE order_id = %s RETURNING line_no, seq", [new, old]
    ).fetchall()
    return [
        change for line, seq in done for change in (("lines", f"{new}|{line}", seq), ("lines", f"{old}|{line}", None))
    ]


def crate(connection: Connection, rng: random.Random, rows: int) -> Changed:
    """A crate changes; now and then one goes or comes."""
    number = rng.randint(1, CRATES + 5)
    if rng.random() < 0.1:
        gone = connection.execute("DELETE FROM crates WHERE id = %s", [number]).rowcount
        return [("crates", str(number), None)] if gone else []
    row = connection.execute(
        "INSERT INTO crates VALUES (%s, nextval('tick'), 'packed') ON CONFLICT (id) DO UPDATE SET seq = excluded.seq,"
        " body = excluded.body RETURNING seq",
        [number],
    ).fetchone()
    assert row is not None
    return [("crates", str(number), row[0])]


Expected = dict[tuple[str, str], tuple[str, dict[str, Any]]]
ListOf = Callable[[str, str], str]
"""Sync and shard -> title of the list."""


def expected(connection: Connection, sync: str, list_of: ListOf) -> Expected:
    """(sync, key) -> (list, fields) of everything the lists of a sync must hold."""
    if sync == SHARDED:
        rows = connection.execute("SELECT id, seq, shard, body, big, flag FROM things WHERE seq >= 0")
        return {
            (sync, str(id_)): (
                list_of(sync, shard),
                {"Title": body, "Seq": seq, "Big": big.strip() if big else None, "Flag": flag},
            )
            for id_, seq, shard, body, big, flag in rows
        }
    rows = connection.execute(f"SELECT {KEYS[sync]}, seq, body FROM {sync}")
    return {(sync, str(key)): (list_of(sync, ""), {"Title": body, "Seq": seq}) for key, seq, body in rows}
