"""What the arguments of `parked retry` and `parked discard` select."""

import pytest

from control.cli.parked import rows_of
from control.operations.parked import EveryRow, RowKeys
from rowtide.errors import UserError


def test_keys_or_every_row() -> None:
    assert rows_of(["1", "2"], False) == RowKeys(("1", "2"))
    assert rows_of(None, True) == EveryRow()


@pytest.mark.parametrize(("keys", "every"), [(None, False), ([], False), (["1"], True)])
def test_neither_and_both_are_refused(keys: list[str] | None, every: bool) -> None:
    with pytest.raises(UserError, match="Name row keys"):
        rows_of(keys, every)
