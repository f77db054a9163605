"""The printed pages say what the code says."""

from collections.abc import Callable

import pytest

from control.cli.pages import PAGES, ROOT


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_a_page_is_up_to_date(name: str, page: Callable[[], str]) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == page(), "run: python -m control.cli.pages"
