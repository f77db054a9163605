"""What the arguments of `pause` and `resume` select."""

import pytest

from control.cli.pause import selection_of
from control.operations.pause import EverySync, OneSync, SyncsOfGraph
from rowtide.errors import UserError


def test_each_way_to_select_syncs() -> None:
    assert selection_of("orders", None, False) == OneSync("orders")
    assert selection_of(None, "contoso", False) == SyncsOfGraph("contoso")
    assert selection_of(None, None, True) == EverySync()


@pytest.mark.parametrize("given", [(None, None, False), ("orders", None, True), ("orders", "contoso", False)])
def test_exactly_one_way_is_taken(given: tuple[str | None, str | None, bool]) -> None:
    with pytest.raises(UserError, match="Say which"):
        selection_of(*given)
