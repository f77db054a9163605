"""Openings: transactions that are in no chunk and not in the stream are waited for, without blocking anything."""

from typing import Any

import psycopg
import pytest


@pytest.fixture
def long_one(bench: Any) -> Any:
    """A transaction on the source that has begun to write before the opening."""
    with psycopg.connect(bench.source_dsn) as connection:
        connection.execute("CREATE TABLE other (id int)")
        yield connection
        connection.rollback()


def test_everything_else_is_staged_while_a_transaction_of_before_the_opening_goes_on(bench: Any, long_one: Any) -> None:
    record = bench.run()
    assert (record.state, record.phase, record.unread) == ("running", "opening", True)
    assert record.waits is not None
    assert str(record.opening_xid) in record.waits
    assert len(bench.outbox()) == 5


def test_what_it_inserted_is_found_when_it_has_ended(bench: Any, long_one: Any) -> None:
    """It is in no chunk, and with an opening after its commit it is not in the stream."""
    long_one.execute("INSERT INTO orders VALUES (6, 'of the long one', 6, 'x')")
    bench.run()
    assert "6" not in bench.outbox()
    long_one.commit()
    record = bench.run()
    assert record.state == "done"
    assert bench.outbox()["6"][1] == "of the long one"


def test_what_it_changed_is_read_again(bench: Any, long_one: Any) -> None:
    long_one.execute("UPDATE orders SET title = 'changed' WHERE id = 2")
    bench.run()
    assert bench.outbox()["2"][1] == "order 2"
    long_one.commit()
    bench.run()
    assert bench.outbox()["2"][1] == "changed"


def test_what_it_deleted_is_deleted_though_it_was_staged_and_has_no_item_yet(bench: Any, long_one: Any) -> None:
    long_one.execute("DELETE FROM orders WHERE id = 2")
    bench.run()
    assert bench.outbox()["2"][0] == "u"
    long_one.commit()
    record = bench.run()
    assert record.state == "done"
    assert bench.outbox()["2"][0] == "d"
    assert bench.outbox()["3"][0] == "u"


def test_an_empty_table_is_read_again_too(bench: Any, long_one: Any) -> None:
    bench.owner.execute("DELETE FROM orders")
    long_one.execute("INSERT INTO orders VALUES (1, 'first', 6, 'x')")
    bench.run()
    assert bench.outbox() == {}
    long_one.commit()
    bench.run()
    assert bench.outbox()["1"][1] == "first"


def test_only_what_was_read_before_is_read_again(bench: Any) -> None:
    bench.owner.execute("INSERT INTO orders SELECT n, 'order ' || n, n, 'x' FROM generate_series(6, 3500) n")
    with psycopg.connect(bench.source_dsn) as connection:
        connection.execute("UPDATE orders SET title = 'changed' WHERE id IN (2, 3000)")
        bench.owner.execute("SELECT pg_current_xact_id()")
        bench.run()
    bench.deliver()
    record = bench.record
    assert (record.phase, record.unread_until) == ("opening", None)
    # As if it had ended after the first chunk.
    bench.state.execute("UPDATE rowtide.reconcile SET unread_until = '{1000}'")
    assert bench.run().state == "done"
    runs = bench.state.execute("SELECT verdict, detail ->> 'rows_again' FROM rowtide.runs ORDER BY id").fetchall()
    assert runs == [("done", "1000"), ("done", None)]  # the second is the request that `run` made
