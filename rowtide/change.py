"""A change of one row on its way from the WAL to the outbox, and how two of them fold into one.

In: mapped rows from the normalize step. Out: `Change` tuples, at most one a row key. Rule: the highest position wins;
fields over fields; with a delete or a refresh on either side, replaced (docs/design.md section 3).

Operations are one letter, as they are stored: ``u`` upsert, ``d`` delete, ``r`` refresh (read the row and deliver what
it is now). A refresh stands where the stream alone cannot tell, for example for a key that two rows shared for a
moment under a deferrable constraint.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Literal, NamedTuple

Operation = Literal["u", "d", "r"]

JsonValue = str | int | float | bool | None | list[str]
Fields = dict[str, JsonValue]
"""Field (API name of the list's column) -> canonical value as PostgreSQL gave it."""

INTERACTIVE, MOVE, BULK, BACKFILL = 0, 1, 2, 3
"""Priorities: lower goes first."""


class Change(NamedTuple):
    """One row's change. A named tuple, not a dataclass: a million of them pass per bulk statement.

    ``target`` is the list's title (None for a delete or refresh); ``partial`` says that a mapped field is unknown
    (unchanged TOAST); ``park`` is ``(code, sentence)`` for a row that cannot be carried.
    """

    key: str
    op: Operation
    target: str | None
    fields: Fields | None
    partial: bool
    lsn: int
    ordinal: int
    xid: int
    committed_us: int
    priority: int
    park: tuple[str, str] | None = None


class ChangeBatch(NamedTuple):
    """Changes of one bucket of one sync under one mapping version and one era, in stream order.

    ``overtaken``: (lsn, ordinal) of changes no longer in the list, because a newer change of their row took them in.
    """

    sync: str
    mapping_version: int
    era: int
    changes: list[Change]
    overtaken: Sequence[tuple[int, int]] = ()


def fold(older: Change, newer: Change) -> Change:
    """The one change that says what ``older`` and then ``newer`` say. Both are of one row; order is stream order."""
    priority = min(older.priority, newer.priority)
    if not newer.partial or newer.op != "u" or newer.park is not None:
        return newer._replace(priority=priority)
    if older.op != "u" or older.park is not None:
        # The missing fields are unknown, so the row has to be read.
        return newer._replace(op="r", target=None, fields=None, partial=False, priority=priority)
    fields = {**(older.fields or {}), **(newer.fields or {})}
    return newer._replace(fields=fields, partial=older.partial, priority=priority)


# Several of these run over every row of a bulk statement: by `map` each costs a third of a loop.
_LSN = itemgetter(Change._fields.index("lsn"))
_ORDINAL = itemgetter(Change._fields.index("ordinal"))
_PLACE = itemgetter(Change._fields.index("lsn"), Change._fields.index("ordinal"))


def lowest_lsn(batch: ChangeBatch) -> int:
    """The lowest LSN of the changes of ``batch``, which is not empty."""
    lowest: int = min(map(_LSN, batch.changes))
    return lowest


def highest(batches: Sequence[ChangeBatch]) -> Change:
    """The change with the highest LSN and ordinal of ``batches``, none of which is empty."""
    return max((max(batch.changes, key=_PLACE) for batch in batches), key=_PLACE)


def count_above(batches: Sequence[ChangeBatch], place: tuple[int, int]) -> dict[str, int]:
    """How many changes of each sync, overtaken ones included, lie above an LSN and ordinal of the stream."""
    counts: Counter[str] = Counter()
    for batch in batches:
        if _is_above(batch, place):
            counts[batch.sync] += len(batch.changes) + len(batch.overtaken)
        else:
            counts[batch.sync] += sum(one > place for one in chain(map(_PLACE, batch.changes), batch.overtaken))
    return +counts


def _is_above(batch: ChangeBatch, place: tuple[int, int]) -> bool:
    """Whether all its changes certainly lie above ``place``, which may be in the middle of their transaction."""
    lowest, (lsn, ordinal) = lowest_lsn(batch), place
    above = lowest > lsn or (lowest == lsn and min(map(_ORDINAL, batch.changes)) > ordinal)
    return above and (not batch.overtaken or min(batch.overtaken) > place)
