"""A field that both sides set in turn, again and again: something on each side insists, and nobody is right.

In: the edits of one pair as they are met, each with what was agreed before it. Out: `Turns`, and the field that is to
be held. Called for every edit that is to be applied. Rule (docs/design.md section 19): a field that both sides have set
in turn `MOST` times within `WITHIN` holds its pair both ways, until a person lets it go. That PostgreSQL has set it
since is seen by what was agreed: no longer what the item showed last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rowtide.change import JsonValue
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.sides import Base, edited
from rowtide.deciding.taken import Apply

MOST: Final = 6
WITHIN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class FieldTurns:
    """When a field was set, in turn by either side, the item's last; ``shown``: a digest of what it showed then."""

    version: int
    shown: int
    at: tuple[datetime, ...]


Turns = Mapping[str, FieldTurns]
"""By field."""


def with_edit(turns: Turns, apply: Apply, mapping: FieldMapping, now: datetime) -> Turns:
    """The turns once an edit was met. One that is met again, because its row was locked say, counts once."""
    entry, found = apply.entry, dict(turns)
    for name in edited(apply.base, entry.fields, mapping):
        before, shown = found.get(name), _digest(entry.fields[name])
        if before is None:
            found[name] = FieldTurns(entry.version, shown, (now,))
        elif entry.version > before.version:
            in_turn = not _is_agreed(name, apply.base, before.shown)
            at = (*before.at, now, now) if in_turn else (*before.at[:-1], now)
            found[name] = FieldTurns(entry.version, shown, at[-(MOST + 1) :])
    return found


def contended(turns: Turns, now: datetime) -> str | None:
    """The field that both sides have set in turn too often, before the edit that was met last; None: there is none."""
    for name, one in turns.items():
        if len(one.at) > MOST and now - one.at[-(MOST + 1)] <= WITHIN:
            return name
    return None


def _is_agreed(name: str, base: Base, shown: int) -> bool:
    return shown in {_digest(base.agreed.get(name)), _digest(base.kept.get(name, base.agreed.get(name)))}


def _digest(value: JsonValue) -> int:
    return hash(repr(value))
