"""Pages of changes into the inbox: what replaces what, what a reading of the whole list infers, who may move a list.

In: pages made by hand. Rule: nothing here knows of Graph.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from rowtide.deciding.records import ETag, ItemId
from rowtide.definition.model import BreakerDefinition
from rowtide.error_catalogue import graph_errors
from rowtide.list_changes import ChangedItem, ChangesPage
from rowtide.polling import PollBounds, PolledList
from state import channels, collecting, database
from state.collecting import Collected, Locked
from tests.integration.reconcile.bench import eventually
from tests.integration.state.conftest import Records

LIST = "list-eu"
POLLED = PolledList(LIST, "site", "orders", frozenset({"Title"}), PollBounds(), 7, BreakerDefinition())


def item(item_id: str, version: int, title: str = "t", **more: Any) -> ChangedItem:
    fields = {"Title": title, "RowtideKey": f"orders:{item_id}"}
    values: dict[str, Any] = {
        "item_id": ItemId(item_id), "etag": ETag(f'"g,{version}"'), "fields": fields, "item_key": f"orders:{item_id}",
        "by_app": False, "made_by_app": False, "editor_name": "Anna", "editor_email": None, "modified_at": None,
    }  # fmt: skip
    return ChangedItem(**values | more)


class Collecting:
    """List `LIST`, read page by page."""

    def __init__(self, records: Records) -> None:
        self.conn = records.conn
        self.pages = 0
        collecting.begin(self.conn, "orders", [LIST])

    def lock(self) -> Locked:
        locked = collecting.lock(self.conn, LIST)
        assert locked is not None
        collecting.unlock(self.conn, LIST)
        return locked

    def page(
        self,
        items: Sequence[ChangedItem] = (),
        deleted: Sequence[str] = (),
        last: bool = True,
        at: Locked | None = None,
    ) -> Collected | None:
        """A page; the last one of its round unless it goes on."""
        self.pages += 1
        page = ChangesPage(items, [ItemId(one) for one in deleted], f"link {self.pages}", last)
        return collecting.collect_page(self.conn, at or self.lock(), page, POLLED, 5.0, 5.0)

    def whole(self, *items: ChangedItem) -> None:
        """The whole list, and the round after it."""
        self.page(items)
        self.page()

    def entries(self) -> dict[str, dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute("SELECT * FROM rowtide.inbox ORDER BY item_id").fetchall()
        return {one["item_id"]: one for one in found}

    def told(self) -> dict[str, str]:
        """Of each entry its version, or how it was deleted."""
        return {
            item_id: ("inferred" if one["inferred"] else "deleted") if one["deleted"] else str(one["version"])
            for item_id, one in self.entries().items()
        }

    def pair(self, *item_ids: str, age: timedelta = timedelta(hours=1)) -> None:
        """Live pairs of rows with the same numbers."""
        for item_id in item_ids:
            self.conn.execute(
                """
                INSERT INTO rowtide.ledger (sync, key, list_id, item_id, etag, version, base, mapping_version, era, lsn,
                                            ordinal, xid, state, updated_at)
                VALUES ('orders', %s, %s, %s, '"g,1"', 1, '{}', 7, 1, 0, 0, 0, 'live', now() - %s)
                """,
                [item_id, LIST, item_id, age],
            )


@pytest.fixture
def reading(records: Records) -> Collecting:
    return Collecting(records)


def test_an_entry_holds_what_the_page_said_and_whose_the_item_is(reading: Collecting) -> None:
    reading.pair("1")
    found = reading.page([item("1", 4, " a "), item("2", 1, by_app=True)])
    assert found is not None
    assert found.entries == 2
    one, two = reading.entries().values()
    assert (one["sync"], one["version"], one["etag"], one["key"], one["item_key"], one["editor_name"]) == (
        "orders", 4, '"g,4"', "1", "orders:1", "Anna",
    )  # fmt: skip
    assert (one["fields"], one["state"], one["round"]) == ({"Title": " a ", "RowtideKey": "orders:1"}, "waiting", 1)
    assert (two["key"], two["by_app"]) == (None, True)


@pytest.mark.parametrize("state", ["waiting", "parked", "conflict"])
def test_a_higher_version_replaces_whatever_state_the_entry_is_in(reading: Collecting, state: str) -> None:
    reading.whole(item("1", 4))
    reading.conn.execute(
        "UPDATE rowtide.inbox SET state = %s, code = 'c', sentence = 's', attempts = 3, tries = 4,"
        " due_at = '2099-01-01', lease_token = 'token'",
        [state],
    )
    for version in (4, 3):
        reading.page([item("1", version, "the same")])
        assert [(one["state"], one["attempts"]) for one in reading.entries().values()] == [(state, 3)]
    reading.page([item("1", 5, "newer")])
    [one] = reading.entries().values()
    assert (one["state"], one["code"], one["attempts"], one["tries"], one["revision"], one["fields"]["Title"]) == (
        "waiting", None, 0, 0, 2, "newer",
    )  # fmt: skip
    assert one["due_at"] <= reading.lock().now
    assert one["lease_token"] == "token"  # whoever has it settles revision 1


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ([([item("1", 5)], []), ([], ["1"])], "deleted"),
        ([([], ["1"]), ([item("1", 5)], [])], "5"),
        ([([], ["1"]), ([item("1", 2)], [])], "2"),
        ([([item("1", 5)], []), ([], ["1"]), ([item("1", 5)], [])], "5"),
        ([([], ["1"]), ([], ["1"])], "deleted"),
    ],
)
def test_what_a_round_says_last_counts(
    reading: Collecting, pages: list[tuple[list[ChangedItem], list[str]]], told: str
) -> None:
    reading.whole(item("1", 4))
    for number, (items, deleted) in enumerate(pages, 1):
        reading.page(items, deleted, last=number == len(pages))
    assert reading.told() == {"1": told}


def test_a_delete_that_is_told_again_changes_nothing(reading: Collecting) -> None:
    reading.whole(item("1", 4))
    reading.page(deleted=["1"])
    reading.conn.execute("UPDATE rowtide.inbox SET state = 'parked'")
    reading.page(deleted=["1"])
    [one] = reading.entries().values()
    assert (one["state"], one["revision"], one["fields"], one["item_key"]) == ("parked", 2, {}, "orders:1")


def test_a_page_that_somebody_else_has_read_is_dropped(reading: Collecting) -> None:
    stale = reading.lock()
    reading.page([item("1", 4)])
    assert reading.page([item("2", 1)], at=stale) is None
    assert reading.told() == {"1": "4"}


def test_one_session_at_a_time_reads_a_list(reading: Collecting, records: Records) -> None:
    assert collecting.lock(reading.conn, LIST) is not None
    with database.connect(records.dsn, "other") as other:
        assert collecting.lock(other, LIST) is None
        collecting.unlock(reading.conn, LIST)
        assert collecting.lock(other, LIST) is not None
    eventually(lambda: collecting.lock(reading.conn, LIST), "the lock of a session that has ended is free")


def test_whoever_applies_is_told_of_entries_and_of_nothing_else(reading: Collecting, records: Records) -> None:
    with database.connect(records.dsn, "listens") as listening:
        channels.listen(listening, channels.INBOX)
        reading.page([item("1", 4)])
        reading.page()
        reading.page([item("1", 4)])
        reading.page(deleted=["1"])
        told = [one.payload for one in listening.notifies(timeout=0.5)]
    assert told == ["orders", "orders"]


# --- when a list is asked -----------------------------------------------------------------------------------------


def test_a_round_under_way_and_one_that_closes_a_reading_are_asked_at_once(reading: Collecting) -> None:
    reading.page([item("1", 1)], last=False)
    assert reading.lock().cursor.reads_whole
    assert reading.lock().cursor.due_in_s <= 0
    reading.page([item("2", 1)])
    assert (reading.lock().cursor.reads_whole, reading.lock().cursor.full) == (False, True)
    assert reading.lock().cursor.due_in_s <= 0
    reading.page()
    after = reading.lock().cursor
    assert (after.full, after.round, after.midway, after.interval_s) == (False, 2, False, 5.0)
    assert 4 < after.due_in_s <= 5


def test_a_hint_counts_until_a_round_has_begun_after_it(reading: Collecting) -> None:
    reading.whole()
    collecting.hint(reading.conn, [LIST])
    assert reading.lock().cursor.hinted
    before = reading.lock()
    collecting.hint(reading.conn, [LIST])
    reading.page(at=before)
    assert reading.lock().cursor.hinted
    reading.page()
    assert not reading.lock().cursor.hinted


def test_a_problem_is_on_record_until_a_page_comes(reading: Collecting) -> None:
    reading.whole()
    problem = graph_errors.GRAPH_404(what="the list", status=404, code="itemNotFound", message="m")
    collecting.note_problem(reading.conn, LIST, problem, 30.0, missing=True)
    waits = reading.lock().cursor
    assert (waits.code, waits.missing, waits.link) == ("graph_404", True, "link 2")
    assert waits.due_in_s > 20
    reading.page()
    assert (reading.lock().cursor.code, reading.lock().cursor.missing) == (None, False)


# --- the whole list -----------------------------------------------------------------------------------------------


def test_a_pair_that_the_whole_list_does_not_show_is_inferred_to_be_deleted(reading: Collecting) -> None:
    reading.pair("1", "2", "3", "4")
    reading.whole()
    reading.conn.execute("DELETE FROM rowtide.inbox")
    collecting.begin_anew(reading.conn, reading.lock().cursor)
    reading.page([item("1", 4)], last=False)
    reading.page([item("2", 1)])
    assert reading.told() == {"1": "4", "2": "1"}
    found = reading.page([item("4", 2)], deleted=["2"])  # it moved while the others were read
    assert reading.told() == {"1": "4", "2": "deleted", "3": "inferred", "4": "2"}
    assert found is not None
    assert (found.missing.entries, reading.entries()["3"]["key"]) == (1, "3")
    assert reading.conn.execute("SELECT count(*) FROM rowtide.seen").fetchall() == [(0,)]


def test_what_moved_or_is_under_way_is_not_inferred(reading: Collecting) -> None:
    reading.pair("1", "2")
    reading.pair("3", age=timedelta(seconds=-60))
    for key, sent, lease in (("1", "[]", "token"), ("2", '[{"token": "t"}]', None)):
        reading.conn.execute(
            """
            INSERT INTO rowtide.outbox (sync, key, op, mapping_version, era, lsn, ordinal, xid, committed_at, priority,
                                        sent, lease_token)
            VALUES ('orders', %s, 'r', 7, 1, 0, 0, 0, now(), 0, %s, %s)
            """,
            [key, sent, lease],
        )
    reading.whole()
    assert reading.told() == {}


def test_an_entry_of_an_item_that_is_gone_before_it_was_applied(reading: Collecting) -> None:
    reading.whole(item("1", 1), item("2", 1))
    collecting.begin_anew(reading.conn, reading.lock().cursor)
    reading.whole(item("2", 1))
    assert reading.told() == {"1": "inferred", "2": "1"}
    reading.page(deleted=["1"])
    assert reading.told() == {"1": "deleted", "2": "1"}


def test_only_reading_the_whole_list_lowers_a_version(reading: Collecting) -> None:
    reading.whole(item("1", 9))
    reading.page([item("1", 4, "restored")])
    assert reading.told() == {"1": "9"}
    collecting.begin_anew(reading.conn, reading.lock().cursor, restored=True)
    assert reading.lock().cursor.incarnation == 1
    reading.whole(item("1", 4, "restored"))
    assert reading.told() == {"1": "4"}


def test_a_reading_that_breaks_off_begins_with_nothing_seen(reading: Collecting) -> None:
    reading.pair("1", "2")
    reading.page([item("1", 1)], last=False)
    assert collecting.begin_anew(reading.conn, reading.lock().cursor)
    reading.whole(item("2", 1))
    assert reading.told() == {"1": "inferred", "2": "1"}


def test_a_list_that_moved_meanwhile_is_not_begun_anew(reading: Collecting) -> None:
    stale = reading.lock().cursor
    reading.page([item("1", 1)])
    assert not collecting.begin_anew(reading.conn, stale, restored=True)
    assert reading.lock().cursor.incarnation == 0


def upload(reading: Collecting) -> None:
    reading.whole()
    collecting.begin_anew(reading.conn, reading.lock().cursor, upload=True)


def test_what_is_to_be_uploaded_is_written_again(reading: Collecting) -> None:
    """Its pair has no item any more, so that the row makes one; a new item carries the row's unique key."""
    upload(reading)
    reading.pair("1", "2")
    reading.whole(item("1", 1))
    assert reading.told() == {"1": "1"}
    assert reading.conn.execute("SELECT key, op, era FROM rowtide.outbox").fetchall() == [("2", "r", 1)]
    states = reading.conn.execute("SELECT key, state FROM rowtide.ledger ORDER BY key").fetchall()
    assert states == [("1", "live"), ("2", "tombstone")]
    assert not reading.lock().cursor.upload


def test_so_many_to_be_uploaded_that_a_person_is_to_be_asked_go_to_the_deep_reconcile(reading: Collecting) -> None:
    upload(reading)
    reading.pair(*map(str, range(20)))
    reading.whole()
    assert reading.conn.execute("SELECT count(*) FROM rowtide.outbox").fetchall() == [(0,)]
    assert reading.conn.execute("SELECT sync, deep FROM rowtide.reconcile").fetchall() == [("orders", True)]


def test_a_list_that_is_another_syncs_now_is_read_from_its_beginning(reading: Collecting) -> None:
    reading.whole(item("1", 1))
    collecting.begin(reading.conn, "orders", [LIST])
    assert reading.lock().cursor.link is not None
    collecting.begin(reading.conn, "customers", [LIST])
    assert (reading.lock().cursor.link, reading.lock().cursor.sync) == (None, "customers")


def test_a_page_that_the_records_refuse_is_taken_as_a_whole_or_not_at_all(reading: Collecting) -> None:
    bad = item("2", 1, fields={"Title": "\0"})
    with pytest.raises(psycopg.DataError):
        reading.page([item("1", 1), bad])
    assert (reading.told(), reading.lock().cursor.link) == ({}, None)
