"""docs/errors.md says what the code can raise."""

from control import reference


def test_the_page_is_up_to_date() -> None:
    found = reference.PAGE.read_text(encoding="utf-8")
    assert found == reference.page(), "run: python -m control.reference"


def test_every_entry_has_a_sentence_or_a_place_that_makes_one() -> None:
    codes = {entry.code for entry in reference.entries()}
    assert {"not_applied", "config_exists", "slot_active", "identity_refused"} <= codes
