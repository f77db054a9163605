"""What a deep pass leaves to the way back: each kind of finding, by whom the item was written, restored or not."""

from dataclasses import replace

import pytest

from rowtide.deciding.records import Held, ItemId, NoItem
from rowtide.enumeration import Compared, Finding, Kind
from rowtide.keys import ROWTIDE_KEY
from rowtide.way_back import Doubted, Edited, Renumbered, hand_back
from tests.unit.rowtide.deciding.rows import ITEM, A, g, h, held, item


def compared(by_app: bool = False, row_key: str | None = "orders:1", missing: bool = False) -> Compared:
    seen = replace(item(2, by_app=by_app, a="0"), row_key=row_key)
    return Compared("1", held(), None if missing else seen, "orders:1", moved=False, young=False)


def finding(kind: Kind, *fields: str) -> Finding:
    return Finding(kind, "1", A, ItemId(ITEM), fields)


@pytest.mark.parametrize(
    ("one", "found", "as_ever", "restored"),
    [
        (compared(), finding(Kind.EDITED, "a"), Edited, Doubted),
        (compared(), finding(Kind.OLDER, "a"), type(None), Doubted),
        (compared(), finding(Kind.OLDER), type(None), type(None)),
        (compared(by_app=True), finding(Kind.EDITED, "a"), type(None), type(None)),
        (compared(by_app=True), finding(Kind.OLDER, "a"), type(None), type(None)),
        (compared(row_key=None), finding(Kind.EDITED, ROWTIDE_KEY), type(None), Renumbered),
        (compared(row_key="orders:9"), finding(Kind.OLDER, "a", ROWTIDE_KEY), type(None), Renumbered),
        (compared(missing=True), finding(Kind.MISSING), Edited, Edited),
    ],
)
def test_what_is_handed_back(one: Compared, found: Finding, as_ever: type, restored: type) -> None:
    assert isinstance(hand_back(one, found, restored=False), as_ever)
    assert isinstance(hand_back(one, found, restored=True), restored)


def test_what_the_ledger_says_meanwhile() -> None:
    doubted = hand_back(compared(), finding(Kind.OLDER, "a"), restored=True)
    assert isinstance(doubted, Doubted)
    assert doubted.pair == held(etag=g(1)), "what was agreed, one version below what is seen"
    renumbered = hand_back(compared(row_key=None), finding(Kind.OLDER, "a"), restored=True)
    assert isinstance(renumbered, Renumbered)
    assert isinstance(renumbered.pair, NoItem)
    assert isinstance(compared().pair, Held)


def test_another_item_with_the_number_is_of_nobody_and_the_row_makes_its_own_anew() -> None:
    theirs = replace(compared(row_key=None), item=replace(item(1), etag=h(1), row_key=None))
    gone = hand_back(theirs, finding(Kind.MISSING), restored=False)
    assert isinstance(gone, Renumbered)
    assert gone.pair == NoItem(held().as_of, held().item)
    ours = replace(theirs, item=replace(item(1, by_app=True), etag=h(1), row_key="orders:9"))
    assert hand_back(ours, finding(Kind.MISSING), restored=False) is None, "the pass has it made anew, too"
