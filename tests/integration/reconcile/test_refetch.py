"""Rows read anew for deliver: complete, gone, filtered, not visible yet, not to be carried."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from connectors.postgres.refetch import NotYet, refetch_works
from rowtide.deciding.outcomes import ParkRow
from rowtide.deciding.records import Desired, Work
from rowtide.position import Position

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def work(key: str, xid: int = 0, era: int = 1, op: Any = "r") -> Work:
    desired = Desired(
        "orders", key, op, None, None, {}, False, Position(era, 500, 0), xid, 1, 4, "token", NOW, 0, 0, NOW
    )
    return Work(desired, None)


def test_a_row_that_is_there_becomes_an_upsert_with_all_its_fields(bench: Any) -> None:
    [answer] = refetch_works(bench.source, bench.catalog, [work("3")], {"orders": 1})
    assert isinstance(answer, Work)
    desired = answer.desired
    assert (desired.op, desired.target, desired.list_id, desired.partial) == ("u", "Orders", "list-Orders", False)
    assert desired.fields == {"Title": "order 3", "Amount": 3}
    assert desired.mapping_version == bench.version
    assert (desired.position, desired.revision, desired.token) == (Position(1, 500, 0), 4, "token")


def test_answers_come_in_the_order_they_were_asked(bench: Any) -> None:
    answers = refetch_works(bench.source, bench.catalog, [work("9"), work("2"), work("1")], {"orders": 1})
    assert [answer.desired.op for answer in answers] == ["d", "u", "u"]  # type: ignore[union-attr]
    assert [answer.desired.key for answer in answers] == ["9", "2", "1"]  # type: ignore[union-attr]


def test_a_row_that_where_leaves_out_becomes_a_delete(new_bench: Callable[..., Any]) -> None:
    bench = new_bench(where="status <> 'draft'")
    bench.owner.execute("INSERT INTO orders VALUES (1, 'a', 1, 'draft')")
    [answer] = refetch_works(bench.source, bench.catalog, [work("1")], {"orders": 1})
    assert isinstance(answer, Work)
    assert (answer.desired.op, answer.desired.target, answer.desired.fields) == ("d", None, {})


def test_a_row_whose_transaction_is_not_visible_yet_is_handed_back(bench: Any) -> None:
    with psycopg.connect(bench.source_dsn) as other:
        [(xid,)] = other.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()
        other.execute("UPDATE orders SET title = 'new' WHERE id = 3")
        first, second = refetch_works(bench.source, bench.catalog, [work("3", xid), work("2")], {"orders": 1})
        assert isinstance(first, NotYet)
        assert first.work.desired.key == "3"
        assert isinstance(second, Work)
        other.commit()
    [answer] = refetch_works(bench.source, bench.catalog, [work("3", xid)], {"orders": 1})
    assert isinstance(answer, Work)
    assert answer.desired.fields["Title"] == "new"


@pytest.mark.parametrize(("era", "kind"), [(1, NotYet), (2, Work)])
def test_an_xid_of_an_older_era_counts_as_visible(bench: Any, era: int, kind: type) -> None:
    [answer] = refetch_works(bench.source, bench.catalog, [work("3", bench.xid() + 10_000)], {"orders": era})
    assert isinstance(answer, kind)


def test_a_row_that_cannot_be_carried_is_parked(bench: Any) -> None:
    bench.owner.execute("UPDATE orders SET title = repeat('x', 300) WHERE id = 3")
    [answer] = refetch_works(bench.source, bench.catalog, [work("3")], {"orders": 1})
    assert isinstance(answer, ParkRow)
    assert answer.sentence
