"""What a person did is handed over by a sync of two ways, and overwritten by one that pushes."""

from dataclasses import replace

from rowtide.deciding import claimed
from rowtide.deciding.answers import Changed, Found, Written
from rowtide.deciding.hand_over import AskVersions
from rowtide.deciding.in_flight import InFlight, Look, Patch
from rowtide.deciding.item_versions import ItemVersion, Versions
from rowtide.deciding.outcomes import HandOver, Settle
from rowtide.deciding.records import Work
from tests.unit.rowtide.deciding.rows import ITEM, NOW, RULES, A, desired, g, held, item, sent

BOTH = replace(RULES, two_ways=True)


def looked(work: Work) -> InFlight:
    """The claim after a 412: it looks at the item."""
    begun = claimed.first(work, BOTH, NOW)
    assert isinstance(begun, InFlight)
    if isinstance(begun.step, Patch):
        begun = claimed.after(begun, Changed(), BOTH, NOW)
    assert isinstance(begun, InFlight)
    assert isinstance(begun.step, Look)
    return begun


def test_an_edit_is_handed_over_and_the_row_waits() -> None:
    ended = claimed.after(looked(Work(desired(), held())), Found((item(4, a="9"),)), BOTH, NOW)
    assert isinstance(ended, HandOver)
    assert ended.entry is not None
    assert (*ended.entry.place, ended.entry.version) == (A, ITEM, 4)
    assert ended.entry.fields == {"a": "9", "b": "x"}
    assert ended.pair is None, "nothing of the edit is agreed yet"


def test_a_sync_that_pushes_overwrites_it() -> None:
    begun = claimed.first(Work(desired(), held()), RULES, NOW)
    assert isinstance(begun, InFlight)
    looks = claimed.after(begun, Changed(), RULES, NOW)
    assert isinstance(looks, InFlight)
    again = claimed.after(looks, Found((item(4, a="9"),)), RULES, NOW)
    assert isinstance(again, InFlight)
    assert isinstance(again.step, Patch)


def test_an_edit_over_an_unexplained_attempt_asks_for_the_versions() -> None:
    uncertain = Work(desired(sent=(sent(age_s=200),)), held())
    asked = claimed.after(looked(uncertain), Found((item(5, a="9"),)), BOTH, NOW)
    assert isinstance(asked, AskVersions)
    # The list counts its versions from 1, and SharePoint has touched the item twice: ours is the one above the agreed.
    agreed, edited = ItemVersion(1, True, {"a": "1", "b": "x"}), ItemVersion(3, False, {"a": "9", "b": "x"})
    ended = claimed.after(asked, Versions((edited, ItemVersion(2, True, {"a": "2", "b": "x"}), agreed)), BOTH, NOW)
    assert isinstance(ended, HandOver)
    assert ended.entry is not None
    assert ended.entry.version == 5
    assert (ended.pair.item.etag, ended.pair.item.base["a"]) == (g(4), "2"), "our attempt arrived"  # type: ignore[union-attr]


def test_the_version_that_was_agreed_is_no_attempts() -> None:
    """Of an item that SharePoint has touched since; else the item would be taken to hold what never arrived."""
    uncertain = Work(desired(sent=(sent(age_s=200),)), held())
    asked = claimed.after(looked(uncertain), Found((item(5, a="9"),)), BOTH, NOW)
    agreed, edited = ItemVersion(1, True, {"a": "1", "b": "x"}), ItemVersion(2, False, {"a": "9", "b": "x"})
    assert isinstance(asked, AskVersions)
    ended = claimed.after(asked, Versions((edited, agreed)), BOTH, NOW)
    assert isinstance(ended, HandOver)
    assert ended.pair is None


def test_what_nobody_edited_goes_as_before() -> None:
    begun = claimed.first(Work(desired(), held()), BOTH, NOW)
    assert isinstance(begun, InFlight)
    ended = claimed.after(begun, Written(ITEM, g(4), {"a": "2", "b": "x"}), BOTH, NOW)
    assert isinstance(ended, Settle)
    assert not ended.again


def test_a_row_that_is_only_looked_at_is_not_written() -> None:
    """An entry of the pair waits: what became of the attempt is found out, and the entry goes first."""
    uncertain = Work(desired(sent=(sent(age_s=200),)), held(), only_look=True)
    ended = claimed.after(looked(uncertain), Found((item(3, a="1"),)), BOTH, NOW)
    assert isinstance(ended, HandOver)
    assert ended.entry is None
    written = claimed.after(looked(replace(uncertain, only_look=False)), Found((item(3, a="1"),)), BOTH, NOW)
    assert isinstance(written, InFlight)
    assert isinstance(written.step, Patch)
