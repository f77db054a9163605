"""Stand-in keys: of digests only, and never the RowtideKey of another row."""

from rowtide.keys import is_stand_in, rowtide_key, stand_in


def test_a_digest_has_a_stand_in_that_is_told_from_row_keys() -> None:
    item_key = rowtide_key("orders", "30|5")
    key = stand_in(item_key)
    assert key is not None
    assert is_stand_in(key)
    assert rowtide_key("orders", key) != item_key, "a row that were called so is another row"
    assert not any(is_stand_in(one) for one in ("30|5", "?#1", item_key, f"{key}x", key[1:]))


def test_a_readable_key_has_none() -> None:
    assert stand_in(rowtide_key("orders", "30")) is None
    assert stand_in("orders:#made by hand") is None
