"""What the arguments of `pause` and `resume` name."""

import pytest

from control.cli.pause import named_by
from control.operations.pause import Everything, OneGraph, OneSource, OneSync
from rowtide.errors import UserError


def test_each_way_to_say_which() -> None:
    assert named_by("orders", None, None, False) == OneSync("orders")
    assert named_by(None, "erp", None, False) == OneSource("erp")
    assert named_by(None, None, "contoso", False) == OneGraph("contoso")
    assert named_by(None, None, None, True) == Everything()


@pytest.mark.parametrize(
    "given", [(None, None, None, False), ("orders", None, None, True), (None, "erp", "contoso", False)]
)
def test_exactly_one_way_is_taken(given: tuple[str | None, str | None, str | None, bool]) -> None:
    with pytest.raises(UserError, match="Say which"):
        named_by(*given)
