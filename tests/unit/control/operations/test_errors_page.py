"""docs/errors.md says what the code can raise."""

from control.operations import errors_page


def test_the_page_names_codes_of_every_side() -> None:
    page = errors_page.page()
    for code in ("not_applied", "config_exists", "slot_active", "identity_refused", "graph_404", "which_sync", "55006"):
        assert f"`{code}`" in page
