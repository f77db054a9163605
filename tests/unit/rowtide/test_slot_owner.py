"""Who reads a slot, and who stops."""

import pytest

from rowtide.slot_owner import Heartbeat, SlotOwner, application_of, has_to_yield, read_heartbeat, reader_of

LOW, HIGH = "11111111-0000-4000-8000-000000000001", "99999999-0000-4000-8000-000000000009"
OURS = SlotOwner("rowtide_erp", LOW, 500)


@pytest.mark.parametrize(
    ("other", "at_lsn", "former", "yields"),
    [
        (SlotOwner("rowtide_erp", HIGH, 400), 600, [], True),  # it came first, and lives
        (SlotOwner("rowtide_erp", HIGH, 700), 800, [], False),  # it came later
        (SlotOwner("rowtide_erp", HIGH, 400), 500, [], False),  # it was there before us
        (SlotOwner("rowtide_erp", HIGH, 400), 600, [HIGH], False),  # our records are a copy of its own, and we read
        (SlotOwner("rowtide_crm", HIGH, 400), 600, [], False),  # another slot
        (SlotOwner("rowtide_erp", LOW, 400), 600, [], False),  # another process of ours
        (SlotOwner("rowtide_erp", HIGH, 500), 600, [], False),  # at one moment: the lower id stays
    ],
)
def test_who_yields(other: SlotOwner, at_lsn: int, former: list[str], yields: bool) -> None:
    assert has_to_yield(OURS, other, at_lsn, former) is yields


def test_of_two_that_came_at_one_moment_one_yields() -> None:
    other = SlotOwner(OURS.slot, HIGH, OURS.since_lsn)
    assert has_to_yield(other, OURS, 600, []) is not has_to_yield(OURS, other, 600, [])


def test_a_heartbeat_reads_as_it_was_written() -> None:
    said = Heartbeat(OURS, 7)
    assert read_heartbeat(said.to_text().encode()) == said
    assert read_heartbeat(f"{said.to_text()} 1764358000000000".encode()) == said


@pytest.mark.parametrize("content", [b"", b"1764358000000000", b"\xff\xfe", b"rowtide_erp me 1 2", b"a b c d"])
def test_what_others_write_is_no_heartbeat(content: bytes) -> None:
    assert read_heartbeat(content) is None


@pytest.mark.parametrize("slot", ["rowtide_erp", "s" * 63])
def test_a_walsender_names_its_installation(slot: str) -> None:
    name = application_of(slot, LOW)
    assert len(name) <= 63
    assert reader_of(name) == LOW


@pytest.mark.parametrize("name", [None, "", "pg_recvlogical", "rowtide rowtide_erp", "walreceiver"])
def test_another_program_is_no_installation(name: str | None) -> None:
    assert reader_of(name) is None
