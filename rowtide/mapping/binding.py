"""A compiled sync bound to one order of columns: the function from a row to its changes.

In: `Row`s of the stream, or the texts of a row that was read. Out: `Change`s, `Mapped`. Rules: nothing here raises for
what a row holds (only SyncError ``key_unknown``, for a row without its key); a row whose values the stream alone does
not tell is a refresh (``r``). This is a measured hot path (under 3 us a row): loops over precompiled functions, plain
tuples, few calls.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, NoReturn

from rowtide.change import Change, Fields
from rowtide.error_catalogue import row_errors, sync_errors
from rowtide.errors import RowError
from rowtide.expressions.predicates import Judge
from rowtide.keys import row_key
from rowtide.mapping.columns import Convert
from rowtide.mapping.sharding import Shard
from rowtide.transaction import UNCHANGED, Row, Text

Park = tuple[str, str]
_NO_LIST = row_errors.NO_LIST()
NO_LIST = (_NO_LIST.code, _NO_LIST.sentence)
_new_change = tuple.__new__  # NamedTuple's own constructor takes three times as long


def _unknown_key() -> NoReturn:
    # A server from before 2022's minor releases left out a key stored out of line; a NULL is no key at all.
    raise sync_errors.KEY_UNKNOWN()


class Mapped(NamedTuple):
    """A row that was read, as it should be in a list; op d: it belongs to no list (``where`` is not true of it)."""

    key: str
    op: Literal["u", "d"]
    target: str | None
    fields: Fields | None
    park: Park | None


class Binding:
    """What `rowtide.mapping.compiled_sync` knows of a sync, with every column at its place in a row."""

    __slots__ = ("_deciding", "_deferrable", "_key", "_key_place", "_mapped", "_only_title", "_shard", "_where")

    def __init__(
        self,
        key: Sequence[int],
        mapped: Sequence[tuple[str, int, int, Convert]],
        deciding: Sequence[int],
        where: Judge | None,
        shard: Shard | str,
        deferrable: bool,
    ) -> None:
        self._key = tuple(key)
        self._key_place = key[0] if len(key) == 1 else -1
        self._mapped = tuple(mapped)
        self._deciding = tuple(deciding)
        self._where = where
        # One list for all rows is the usual case; it costs no call.
        self._only_title = shard if isinstance(shard, str) else None
        self._shard: Shard = (lambda _row: None) if isinstance(shard, str) else shard
        self._deferrable = deferrable

    def changes(self, row: Row, lsn: int, xid: int, committed_us: int, priority: int) -> list[Change]:
        """The changes of one streamed row: one, two when its key changed (at one position), none for a TRUNCATE."""
        ordinal, _, _, new, old, old_kind = row
        if new is None:
            if old is None:
                return []
            op: Literal["r", "d"] = "r" if self._deferrable else "d"
            return [Change(self._key_of(old), op, None, None, False, lsn, ordinal, xid, committed_us, priority)]
        if old is None:
            place = self._key_place
            key = new[place] if place >= 0 else self._key_of(new)
            if not isinstance(key, str):
                _unknown_key()
            return [self._upsert(key, new, lsn, ordinal, xid, committed_us, priority)]
        if UNCHANGED in new:
            # The old tuple has the value: of every column under REPLICA IDENTITY FULL, else of the key's.
            fill = range(len(new)) if old_kind == "O" else self._key
            new = tuple(
                old[place] if value is UNCHANGED and place in fill else value for place, value in enumerate(new)
            )
        key, old_key = self._key_of(new), self._key_of(old)
        upsert = self._upsert(key, new, lsn, ordinal, xid, committed_us, priority)
        if key == old_key:
            return [upsert]
        # Another row of the transaction may have taken the old key meanwhile: it is read again.
        return [Change(old_key, "r", None, None, False, lsn, ordinal, xid, committed_us, priority), upsert]

    def change_of(self, values: Sequence[str | None]) -> Mapped:
        """What a row read by SELECT becomes; its columns have the bound order, as output functions print them."""
        key = self._key_of(values)
        if self._where is not None and self._where(values) is not True:
            return Mapped(key, "d", None, None, None)
        target = self._only_title or self._shard(values)
        if target is None:
            return Mapped(key, "u", None, None, NO_LIST)
        try:
            fields = {
                field: None if (value := values[place]) is None else canonical(value)
                for field, place, _, canonical in self._mapped
            }
        except RowError as error:
            return Mapped(key, "u", target, None, (error.code, error.sentence))
        return Mapped(key, "u", target, fields, None)

    def _key_of(self, values: Sequence[Text]) -> str:
        place = self._key_place
        if place >= 0:
            key = values[place]
            return key if isinstance(key, str) else _unknown_key()
        parts = [values[place] for place in self._key]
        return row_key([part if isinstance(part, str) else _unknown_key() for part in parts])

    def _upsert(
        self, key: str, new: Sequence[Text], lsn: int, ordinal: int, xid: int, committed_us: int, priority: int
    ) -> Change:
        for place in self._deciding:
            if new[place] is UNCHANGED:
                return Change(key, "r", None, None, False, lsn, ordinal, xid, committed_us, priority)
        # From here on `where` and `shard` meet texts and None only.
        if self._where is not None and self._where(new) is not True:  # type: ignore[arg-type]
            return Change(key, "d", None, None, False, lsn, ordinal, xid, committed_us, priority)
        target = self._only_title or self._shard(new)  # type: ignore[arg-type]
        if target is None:
            return Change(key, "u", None, None, False, lsn, ordinal, xid, committed_us, priority, NO_LIST)
        fields: Fields = {}
        partial = False
        try:
            for field, place, plain_below, canonical in self._mapped:
                value = new[place]
                if value is None:
                    fields[field] = None
                elif value is UNCHANGED:
                    partial = True
                elif len(value) < plain_below and value.isprintable():
                    fields[field] = value
                else:
                    fields[field] = canonical(value)
        except RowError as error:
            park = (error.code, error.sentence)
            return Change(key, "u", target, None, False, lsn, ordinal, xid, committed_us, priority, park)
        return _new_change(Change, (key, "u", target, fields, partial, lsn, ordinal, xid, committed_us, priority, None))
