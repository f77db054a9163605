"""What a stream has to bring before it is believed to continue what was staged."""

import pytest

from connectors.postgres.replication.chunk_queue import SlotPosition
from connectors.postgres.replication.history import History, last_known
from rowtide.errors import SourceUnavailable
from rowtide.transaction import Chunk, CommittedTransaction

LAST = CommittedTransaction(100, 7, 5000)


def chunk(lsn: int, xid: int = 7, committed_us: int = 5000, end_lsn: int | None = None, incarnation: int = 1) -> Chunk:
    return Chunk(incarnation, lsn, xid, committed_us, False, [], end_lsn, 0)


def test_older_transactions_pass_and_the_last_one_proves_it() -> None:
    history = History(LAST)
    history.see(chunk(90, 6, end_lsn=100))
    history.pass_by(100)
    assert history.awaits == LAST
    history.see(chunk(100))
    assert history.awaits is None
    history.see(chunk(500, 9))
    history.pass_by(600)


@pytest.mark.parametrize(
    "met",
    [
        chunk(101, 7),
        chunk(100, 8),
        chunk(100, 7, 5001),
        chunk(99, 6, end_lsn=101),
        chunk(130, 0, 0, 130),
    ],
    ids=["later", "another xid", "another time", "one that ends beyond", "a mark beyond"],
)
def test_anything_beyond_it_is_another_history(met: Chunk) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        History(LAST).see(met)
    assert caught.value.code == "history_replaced"


def test_an_idle_server_that_has_passed_it_is_another_history() -> None:
    with pytest.raises(SourceUnavailable):
        History(LAST).pass_by(101)


def test_what_is_on_its_way_to_the_outbox_is_awaited_too() -> None:
    place = SlotPosition(1, 80)
    assert last_known(LAST, None, place) == LAST
    assert last_known(LAST, chunk(90), place) == LAST
    assert last_known(LAST, chunk(120, 9), place) == CommittedTransaction(120, 9, 5000)
    assert last_known(None, chunk(120, 9), place) == CommittedTransaction(120, 9, 5000)


def test_what_the_slot_does_not_send_again_is_not_awaited() -> None:
    assert last_known(None, chunk(70), SlotPosition(1, 80)) is None
    assert last_known(None, chunk(120, incarnation=1), SlotPosition(2, 80)) is None
