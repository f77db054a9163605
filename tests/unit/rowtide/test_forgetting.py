"""What may be forgotten, case by case."""

import pytest

from rowtide.forgetting import RowStanding, SyncRecords, why_row_stays, why_sync_stays


@pytest.mark.parametrize(
    ("row", "retired", "code"),
    [
        (RowStanding(), False, None),
        (RowStanding(has_item=True), False, "forget_live"),
        (RowStanding("u", has_item=True), False, "forget_waits"),
        (RowStanding("r"), False, "forget_waits"),
        (RowStanding("d", has_item=True), False, None),
        (RowStanding("d", busy=True, has_item=True), False, "forget_busy"),
        (RowStanding("d", has_item=True, is_edited=True), False, "forget_edited"),
        (RowStanding(is_edited=True), False, "forget_edited"),
        (RowStanding(is_edited=True), True, None),
        (RowStanding(busy=True, is_edited=True), True, "forget_busy"),
        (RowStanding(has_item=True), True, None),
        (RowStanding("u", has_item=True), True, None),
        (RowStanding("u", busy=True), True, "forget_busy"),
    ],
)
def test_a_row_is_forgotten_only_when_nothing_is_lost(row: RowStanding, retired: bool, code: str | None) -> None:
    refused = why_row_stays("orders", "7", row, retired)
    assert (refused.code if refused else None) == code


@pytest.mark.parametrize(
    ("records", "discard", "code"),
    [
        (SyncRecords(retired=False), True, "purge_in_force"),
        (SyncRecords(retired=True, rows=9, lists=1), False, None),
        (SyncRecords(retired=True, waiting=2, leased=1), True, "purge_leased"),
        (SyncRecords(retired=True, waiting=2), False, "purge_would_lose"),
        (SyncRecords(retired=True, left=1), False, "purge_would_lose"),
        (SyncRecords(retired=True, waiting=2, left=1), True, None),
    ],
)
def test_a_sync_is_purged_only_when_nothing_is_lost(records: SyncRecords, discard: bool, code: str | None) -> None:
    refused = why_sync_stays("orders", records, discard)
    assert (refused.code if refused else None) == code
