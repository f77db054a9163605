"""Business transactions on the demo's shop, and a workload that mixes them at a set rate.

In: an autocommit connection to the shop, a seeded ``random.Random``. Out: committed transactions; each function
does one kind and returns the number of row changes it committed, no-op updates and cascades included. Rule: every
function is one transaction unless it says otherwise; when no row fits, it does nothing and returns 0.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, LiteralString

import psycopg

from demo.shop.schema import REGIONS, STATUSES

Act = Callable[[psycopg.Connection, random.Random], int]
"""One business transaction: connection and randomness in, committed row changes out."""

_NEXT_STATUS = {"draft": "new", "new": "paid", "paid": "packed", "packed": "shipped"}
_REMARKS = ("Call before delivery", "Leave at reception", "Dock 7, after 14:00", "Gift: no invoice in the box", None)
_PRODUCTS = ("Oak table", "Desk lamp", "Rain jacket", "Bike pump", "Tea set", "Field notebook")


def _one(connection: psycopg.Connection, statement: LiteralString, *values: object) -> Any:
    """The first column of the first row, or None."""
    row = connection.execute(statement, values).fetchone()
    return None if row is None else row[0]


def _changed(connection: psycopg.Connection, statement: LiteralString, *values: object) -> int:
    return max(0, connection.execute(statement, values).rowcount)


def any_order(connection: psycopg.Connection, rng: random.Random) -> int | None:
    """The id of some order, locked until the transaction's end; None when another transaction holds it or none is."""
    pivot = rng.randint(1, _one(connection, "SELECT coalesce(max(id), 1) FROM orders"))
    found: int | None = _one(
        connection, "SELECT id FROM orders WHERE id >= %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED", pivot
    )
    return found


def any_customer(connection: psycopg.Connection, rng: random.Random) -> int | None:
    """The id of some customer, locked until the transaction's end."""
    pivot = rng.randint(1, _one(connection, "SELECT coalesce(max(id), 1) FROM customers"))
    found: int | None = _one(
        connection, "SELECT id FROM customers WHERE id >= %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED", pivot
    )
    return found


# --- one row or a few: what people do all day ---------------------------------------------------------------------


def place_order(connection: psycopg.Connection, rng: random.Random, lines: int | None = None) -> int:
    """A new order with its lines, some as drafts (which are not synced)."""
    count = rng.randint(1, 4) if lines is None else lines
    with connection.transaction():
        customer = any_customer(connection, rng)
        if customer is None:
            return 0
        order = _one(
            connection,
            "INSERT INTO orders (order_no, customer_id, region, status, amount, express, placed_at, due_on, remark)"
            " SELECT 'SO-' || (100000 + nextval(pg_get_serial_sequence('orders', 'id')))::text, id, region,"
            " %s, %s, %s, clock_timestamp(), current_date + %s::int, %s FROM customers WHERE id = %s RETURNING id",
            "draft" if rng.random() < 0.15 else "new",
            rng.randrange(500, 400_000) / 100,
            rng.random() < 0.2,
            rng.randint(2, 30),
            rng.choice(_REMARKS),
            customer,
        )
        for number in range(1, count + 1):
            _add_line(connection, rng, order, number)
    return 1 + count


def _add_line(connection: psycopg.Connection, rng: random.Random, order: int, number: int) -> None:
    connection.execute(
        "INSERT INTO order_lines (order_id, line_no, sku, product, quantity, unit_price, gift, weight_kg)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            order,
            number,
            f"SKU-{rng.randint(1, 120):04}",
            rng.choice(_PRODUCTS),
            rng.randint(1, 12),
            rng.randrange(199, 20_000) / 100,
            rng.random() < 0.1,
            rng.choice([None, round(rng.uniform(0.1, 12), 3)]),
        ],
    )


def advance_order(connection: psycopg.Connection, rng: random.Random) -> int:
    """An order takes its next step; leaving ``draft`` brings it into the lists."""
    with connection.transaction():
        order = any_order(connection, rng)
        status = _one(connection, "SELECT status FROM orders WHERE id = %s", order)
        step = _NEXT_STATUS.get(status, "returned")
        return _changed(connection, "UPDATE orders SET status = %s, updated_at = now() WHERE id = %s", step, order)


def withdraw_order(connection: psycopg.Connection, rng: random.Random) -> int:
    """An order becomes a draft again: the row filter turns that into a delete in the list."""
    with connection.transaction():
        order = any_order(connection, rng)
        return _changed(connection, "UPDATE orders SET status = 'draft' WHERE id = %s AND status <> 'draft'", order)


def edit_customer(connection: psycopg.Connection, rng: random.Random) -> int:
    """A customer's notes, credit limit or activity change, now and then to NULL."""
    with connection.transaction():
        customer = any_customer(connection, rng)
        return _changed(
            connection,
            "UPDATE customers SET notes = %s, credit_limit = %s, active = %s, updated_at = now() WHERE id = %s",
            rng.choice([None, f"Spoke on the phone, case {rng.randrange(10_000)}.\nAgreed – næste gang før kl. 9"]),
            rng.choice([None, rng.randrange(0, 100_000) / 2]),
            rng.random() < 0.9,
            customer,
        )


def cancel_order(connection: psycopg.Connection, rng: random.Random) -> int:
    """An order is deleted; its lines go by the foreign key's cascade."""
    with connection.transaction():
        order = any_order(connection, rng)
        lines = _one(connection, "SELECT count(*) FROM order_lines WHERE order_id = %s", order)
        gone = _changed(connection, "DELETE FROM orders WHERE id = %s", order)
        return gone + int(lines) if gone else 0


def renumber_line(connection: psycopg.Connection, rng: random.Random) -> int:
    """A line takes a new number: its primary key changes."""
    with connection.transaction():
        order = any_order(connection, rng)
        return _changed(
            connection,
            "UPDATE order_lines SET line_no = (SELECT max(line_no) + 1 FROM order_lines WHERE order_id = %s)"
            " WHERE order_id = %s AND line_no = (SELECT min(line_no) FROM order_lines WHERE order_id = %s)",
            order,
            order,
            order,
        )


def rekey_order(connection: psycopg.Connection, rng: random.Random) -> int:
    """An order takes a new id: its key changes, and by cascade those of its lines."""
    with connection.transaction():
        order = any_order(connection, rng)
        lines = _one(connection, "SELECT count(*) FROM order_lines WHERE order_id = %s", order)
        moved = _changed(
            connection,
            "UPDATE orders SET id = nextval(pg_get_serial_sequence('orders', 'id')) WHERE id = %s",
            order,
        )
        return moved + int(lines) if moved else 0


def move_order(connection: psycopg.Connection, rng: random.Random) -> int:
    """An order changes region, so its item moves to another list."""
    with connection.transaction():
        order = any_order(connection, rng)
        return _changed(connection, "UPDATE orders SET region = %s WHERE id = %s", rng.choice(REGIONS), order)


def replace_line(connection: psycopg.Connection, rng: random.Random) -> int:
    """A line is deleted and entered again under the same key, in one transaction."""
    with connection.transaction():
        order = any_order(connection, rng)
        number = _one(connection, "SELECT min(line_no) FROM order_lines WHERE order_id = %s", order)
        if order is None or number is None:
            return 0
        connection.execute("DELETE FROM order_lines WHERE order_id = %s AND line_no = %s", [order, number])
        _add_line(connection, rng, order, number)
    return 2


# --- what costs no write, or less than it seems -------------------------------------------------------------------


def touch_orders(connection: psycopg.Connection, rng: random.Random, rows: int = 20) -> int:
    """A job stamps ``updated_at`` and ``picked_by`` of some orders: columns that no sync maps."""
    pivot = rng.randint(1, _one(connection, "SELECT coalesce(max(id), 1) FROM orders"))
    return _changed(
        connection,
        "UPDATE orders SET updated_at = clock_timestamp(), picked_by = %s WHERE id IN"
        " (SELECT id FROM orders WHERE id >= %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)",
        rng.choice(["ana", "bo", "chen", "dora"]),
        pivot,
        rows,
    )


def count_down_stock(connection: psycopg.Connection, rng: random.Random, updates: int = 15) -> int:
    """One hot order line is updated many times in a row, each a transaction of its own: they coalesce."""
    order = _one(connection, "SELECT min(order_id) FROM order_lines WHERE order_id >= %s", rng.randint(1, 40))
    done = 0
    for _ in range(updates):
        done += _changed(
            connection,
            "UPDATE order_lines SET quantity = %s WHERE order_id = %s AND line_no ="
            " (SELECT min(line_no) FROM order_lines WHERE order_id = %s)",
            rng.randint(1, 500),
            order,
            order,
        )
    return done


def change_mind(connection: psycopg.Connection, rng: random.Random) -> int:
    """A transaction that deletes an order's lines and is rolled back: nothing of it may ever be seen."""
    with connection.transaction(force_rollback=True):
        order = any_order(connection, rng)
        connection.execute("DELETE FROM order_lines WHERE order_id = %s", [order])
    return 0


# --- bulk ---------------------------------------------------------------------------------------------------------


def reprice(connection: psycopg.Connection, rng: random.Random, articles: int = 4) -> int:
    """The bulk statement: new prices for a range of articles, in all lines that have one, in one transaction."""
    first = rng.randint(1, 120)
    return _changed(
        connection,
        "UPDATE order_lines SET unit_price = round(unit_price * %s::numeric + 0.01, 2) WHERE sku BETWEEN %s AND %s",
        rng.choice([0.9, 0.95, 1.05, 1.1]),
        f"SKU-{first:04}",
        f"SKU-{first + articles - 1:04}",
    )


MIX: Sequence[tuple[int, Act]] = (
    (20, place_order),
    (22, advance_order),
    (12, edit_customer),
    (6, cancel_order),
    (6, withdraw_order),
    (5, renumber_line),
    (2, rekey_order),
    (6, move_order),
    (4, replace_line),
    (6, touch_orders),
    (6, count_down_stock),
    (3, change_mind),
    (1, reprice),
)
"""Weights and acts of the demo's day."""

assert set(_NEXT_STATUS) < set(STATUSES)


@dataclass(slots=True)
class WorkloadTally:
    """What a workload has committed so far; written by its threads, read by anyone."""

    transactions: int = 0
    rows: int = 0
    retried: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, act: str, rows: int) -> None:
        """Count one finished act."""
        with self.lock:
            self.transactions += 1
            self.rows += rows
            self.acts[act] += 1

    def note_retry(self) -> None:
        """Count one act that the server undid (deadlock) or refused (a key taken meanwhile)."""
        with self.lock:
            self.retried += 1


class Workload:
    """``writers`` threads that together commit ``rate`` transactions a second until `stop` or for some seconds.

    Every act of ``mix`` comes once at the beginning (but for the bulk ones), then by weight.
    """

    def __init__(
        self, dsn: str, seed: int, rate: float = 20.0, writers: int = 2, mix: Sequence[tuple[int, Act]] = MIX
    ) -> None:
        self.tally = WorkloadTally()
        self.problem: BaseException | None = None
        self._dsn = dsn
        self._mix = mix
        self._pause_s = writers / rate
        self._stop = threading.Event()
        self._next: SimpleQueue[Act] = SimpleQueue()
        for _, act in mix:
            if act is not reprice:
                self._next.put(act)
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(f"{seed}:{number}"),), name=f"writer-{number}")
            for number in range(writers)
        ]

    def ask_for(self, act: Act) -> None:
        """Have the first free writer do this next."""
        self._next.put(act)

    def start(self) -> None:
        """Begin writing."""
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def stop(self, timeout_s: float = 10.0) -> WorkloadTally:
        """Let every thread finish its transaction; what was committed. Raises the error that stopped a thread early."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_s)
        if self.problem is not None:
            raise self.problem
        return self.tally

    def _write(self, rng: random.Random) -> None:
        acts = [act for _, act in self._mix]
        weights = [weight for weight, _ in self._mix]
        try:
            with psycopg.connect(self._dsn, autocommit=True, application_name="rowtide-demo-shop") as connection:
                due = time.monotonic()
                while not self._stop.wait(max(0.0, due - time.monotonic())):
                    # A Poisson stream that falls behind does not try to catch up more than a second.
                    due = max(due + rng.expovariate(1 / self._pause_s), time.monotonic() - 1.0)
                    drawn = rng.choices(acts, weights)[0]
                    try:
                        drawn = self._next.get_nowait()
                    except Empty:
                        pass
                    self._act(connection, rng, drawn)
        except psycopg.Error as error:
            self.problem = error

    def _act(self, connection: psycopg.Connection, rng: random.Random, act: Act) -> None:
        try:
            self.tally.note(act.__name__, act(connection, rng))
        except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation, psycopg.errors.SerializationFailure):
            self.tally.note_retry()


def run_workload(dsn: str, seed: int, seconds: float, rate: float = 20.0, writers: int = 2) -> WorkloadTally:
    """Run a workload for that long and return what it committed."""
    workload = Workload(dsn, seed, rate, writers)
    workload.start()
    deadline = time.monotonic() + seconds
    while workload.problem is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return workload.stop()


def run_acts(dsn: str, seed: int, count: int, mix: Sequence[tuple[int, Act]] = MIX) -> WorkloadTally:
    """Commit ``count`` acts one after the other as fast as the server takes them; the same seed gives the same rows."""
    rng, tally = random.Random(seed), WorkloadTally()
    acts, weights = [act for _, act in mix], [weight for weight, _ in mix]
    with psycopg.connect(dsn, autocommit=True, application_name="rowtide-demo-shop") as connection:
        for act in rng.choices(acts, weights, k=count):
            tally.note(act.__name__, act(connection, rng))
    return tally
