"""What `status` says is of one moment: figures that belong together agree, whatever is being done meanwhile."""

import threading

from control.operations import status_snapshot
from rowtide.change import Change, ChangeBatch
from rowtide.deciding.outcomes import Settle
from rowtide.deciding.records import AsOf, ETag, Held, ItemId, ListId, PairedItem
from rowtide.position import Position
from state import database, outbox
from state.outbox.claims import ClaimRequest
from tests.integration.control.desk import Desk
from tests.integration.streams import open_era

ROUNDS = 30


def deliver_rows(dsn: str, ended: threading.Event) -> None:
    """Stage new rows and settle them, a few at a time: each counts as a change, and waits or was delivered."""
    with database.connect(dsn) as connection:
        open_era(connection, ["parts"])
        number = 0
        while not ended.is_set():
            number += 1
            changes = [
                Change(f"{number}-{row}", "u", "L", {}, False, number, row, 9, 1_763_843_494_000_000, 2)
                for row in range(3)
            ]
            outbox.stage(connection, "slot", [ChangeBatch("parts", 1, 1, changes)])
            rows = outbox.survey(connection, ["parts"])
            works = outbox.claim(connection, ClaimRequest(rows, "p0", f"t{number}", 120.0, {})).works
            outbox.settle(connection, [Settle(work, to_pair(work.desired.key), 1) for work in works])


def to_pair(key: str) -> Held:
    """What the ledger is told of a row."""
    item = PairedItem(ListId("l"), ItemId(key), ETag('"g,1"'), {}, {})
    return Held(AsOf(Position(1, 1, 0), 9, 1), item)


def test_waiting_and_delivered_add_up_to_the_changes_at_every_look(applied: Desk) -> None:
    ended = threading.Event()
    thread = threading.Thread(target=deliver_rows, args=[applied.state_dsn, ended])
    thread.start()
    looks: set[tuple[int, int]] = set()
    try:
        with database.connect(applied.state_dsn) as connection:
            while len(looks) < ROUNDS:
                assert thread.is_alive()
                snapshot = status_snapshot.read(connection, {})
                did, waits = snapshot.progress.get("parts"), snapshot.waiting.get("parts")
                changes, delivered = (did.changes, did.delivered) if did else (0, 0)
                waiting = waits.waiting if waits else 0
                assert changes == delivered + waiting
                looks.add((changes, delivered))
                assert thread.is_alive()
    finally:
        ended.set()
        thread.join(20)
