"""Stand-in keys: of digests only, and never the RowtideKey of another row; what a RowtideKey says of its row."""

import hashlib

import pytest

from rowtide.keys import digest_named_by, is_stand_in, key_named_by, rowtide_key, stand_in


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


@pytest.mark.parametrize("key", ["1", "a-b-9", "Ada", "a|b", "x" * 65])
def test_a_rowtide_key_names_its_row_or_is_its_digest(key: str) -> None:
    item_key = rowtide_key("orders", key)
    plain, digest = key_named_by("orders", item_key), digest_named_by("orders", item_key)
    assert (plain, digest) in [(key, None), (None, hashlib.sha256(key.encode()).digest())]
    assert key_named_by("customers", item_key) is None
    assert digest_named_by("customers", item_key) is None
