"""docs/errors.md says what the code can raise."""

from control.operations import errors_page


def test_the_page_is_up_to_date() -> None:
    found = errors_page.PAGE.read_text(encoding="utf-8")
    assert found == errors_page.page(), "run: python -m control.operations.errors_page"


def test_every_entry_has_a_sentence_or_a_place_that_makes_one() -> None:
    codes = {entry.code for entry in errors_page.entries()}
    assert {"not_applied", "config_exists", "slot_active", "identity_refused"} <= codes
