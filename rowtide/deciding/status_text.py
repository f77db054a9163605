"""What people read in an item of what became of their edit, where the sync has a status field.

In: how an entry ends. Out: the same end, or first the request that writes the text. Called by the puller before it
records an end. Rules (docs/design.md section 19): a text is written when it is another than the item shows, and never
for an edit that went as people expect, unless the item says something else; the field is in no base, so that it is no
edit of anybody; the version that our write leaves is noted with the end.
"""

from dataclasses import replace
from typing import Final, assert_never

from rowtide.deciding.answers import Written
from rowtide.deciding.commands import UpdateItem
from rowtide.deciding.conflicts import ConflictRecord, Winner
from rowtide.deciding.pull_steps import HoldOpen, ParkEntry, PullAnswer, PullEnd, PullInFlight, PullPlan, Tell
from rowtide.deciding.recorded import Recorded
from rowtide.deciding.records import ETag, Held, version_of
from rowtide.deciding.taken import PullRules, place
from rowtide.error_catalogue import row_errors

SYNCHRONISED: Final = "Synchronised"
CONFLICT: Final = "Conflict waiting"
REFUSED: Final = "Refused: "
HELD: Final = "Held: "
MOST: Final = 250
"""Characters of a text; a column of text holds 255."""


def told(end: ParkEntry | HoldOpen | Recorded, rules: PullRules) -> PullInFlight | PullEnd:
    """The end; or first what the item is to say of it."""
    entry, etag = end.taken.entry, _etag_of(end)
    if rules.status_field is None or etag is None or entry.deleted:
        return end
    text = _text_of(end, entry.status)
    if text is None or text == entry.status:
        return end
    command = UpdateItem(entry.list_id, entry.item_id, etag, {rules.status_field: text})
    return PullInFlight(end.taken, Tell(command, end))


def is_pending(status: str | None) -> bool:
    """Whether the item says of an edit that it waits: then what else it says is that person's, whoever wrote last."""
    return status is not None and (status == CONFLICT or status.startswith((REFUSED, HELD)))


def after_tell(step: Tell, answer: PullAnswer) -> PullPlan:
    """The end once the text is there; without it where the item was changed meanwhile: another entry follows."""
    if not isinstance(answer, Written) or answer.etag is None:
        return step.end
    match step.end:
        case Recorded(pair=Held() as pair):
            return replace(step.end, pair=replace(pair, item=replace(pair.item, etag=answer.etag)))
        case HoldOpen(_, conflict):
            return replace(step.end, conflict=replace(conflict, version=version_of(answer.etag)))
        case ParkEntry() | Recorded():
            return step.end
        case _:
            assert_never(step.end)


def _etag_of(end: ParkEntry | HoldOpen | Recorded) -> ETag | None:
    """The version of the entry's item on which the end was decided; None: there is nothing to say, or nowhere."""
    if not isinstance(end, Recorded):
        return end.taken.entry.etag
    if end.pulled is None and end.taken.entry.by_app:
        return None  # an echo of ours
    has_item = isinstance(end.pair, Held) and place(end.pair.item) == end.taken.entry.place
    return end.pair.item.etag if has_item and isinstance(end.pair, Held) else None


def _text_of(end: ParkEntry | HoldOpen | Recorded, shown: str | None) -> str | None:
    match end:
        case ParkEntry(_, code, sentence):
            return _cut(f"{HELD if code == row_errors.PING_PONG.code else REFUSED}{sentence}")
        case HoldOpen():
            return CONFLICT
        case Recorded():
            return _of_conflicts(end.conflicts) or (None if shown is None else SYNCHRONISED)
        case _:
            assert_never(end)


def _of_conflicts(found: tuple[ConflictRecord, ...]) -> str | None:
    """What was not taken of the edit; None: all of it was."""
    for one in found:
        if one.sentence is not None:
            return _cut(f"Refused and taken back: {one.sentence}")
    lost = sorted({name for one in found for name, of in one.fields.items() if of.winner is Winner.POSTGRES})
    return _cut(f"Not taken, PostgreSQL's value stands: {', '.join(lost)}") if lost else None


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"
