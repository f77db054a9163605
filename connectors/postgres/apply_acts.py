"""What is done to one row of a source for one edit that a person made in SharePoint, and how it ended.

In and out of `apply_session.ApplySession.apply_row`: the puller says which row and which item (`EditPlace`), is shown
what the source holds (`RowInSource`), answers with one `Act`, and gets one `Outcome`. Values only, no input or output.
Rules (docs/design.md section 21): an act is decided without waiting for anything, because the row is locked meanwhile;
an outcome other than `Committed` has changed nothing in the source.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rowtide.errors import RowtideError

Values: TypeAlias = tuple[str | None, ...]
"""A row as `CompiledSync.select_columns` orders it, every value as its type's output function prints it."""
Document: TypeAlias = Mapping[str, object]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class EditPlace:
    """Which row and which item. ``key`` None: the row is new, and its key is chosen by the act or by the table.

    ``edited_by``: the name of whoever edited the item, for triggers of the table (``rowtide.edited_by``).
    """

    key: str | None
    list_id: str
    item_id: str
    edited_by: str = ""


@dataclass(frozen=True, slots=True)
class EditRecord:
    """What is written beside the row: the item's version, what is agreed now, what was decided of conflicts.

    ``base`` None: the item is gone, and nothing is agreed any more. What is in the documents is the puller's business.
    """

    version: int
    base: Document | None
    conflicts: Sequence[Document] = ()


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """A row of ``rowtide_pull.applied``: an `EditRecord` of a row and an item, and the transaction that wrote it."""

    sync: str
    key: str
    list_id: str
    item_id: str
    version: int
    base: Document | None
    xid: int
    conflicts: Sequence[Document] = ()


@dataclass(frozen=True, slots=True)
class RowInSource:
    """What the source holds, locked until the act is done.

    ``applied``: the record of the row. ``of_item``: the newest record of the item, under whatever key; by it an insert
    is known whose key nobody had noted yet. ``row``: None where there is none, or where the place has no key.
    ``absent_at``: the insert LSN read after the row was not there. ``hidden``: the row is there, but row security lets
    only the reader see it; every act on it is refused.
    """

    applied: AppliedEdit | None = None
    of_item: AppliedEdit | None = None
    row: Values | None = None
    absent_at: int | None = None
    hidden: bool = False


# --- acts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaveRow:
    """Nothing is written, not even the record."""


@dataclass(frozen=True, slots=True)
class NoteRow:
    """The row stays as it is, and what was decided is recorded."""

    record: EditRecord


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """These columns get these texts. Key columns are none of them."""

    values: Mapping[str, str | None]
    record: EditRecord


@dataclass(frozen=True, slots=True)
class InsertRow:
    """A row with these columns; a key column that is left out gets its default or the next of its sequence.

    ``accepts``: whether the row as the table made it, triggers included, belongs to the sync; where not, it is undone.
    """

    values: Mapping[str, str | None]
    record: EditRecord
    accepts: Callable[[Values], bool] = lambda _row: True


@dataclass(frozen=True, slots=True)
class DeleteRow:
    """The row goes."""

    record: EditRecord


Act: TypeAlias = LeaveRow | NoteRow | UpdateRow | InsertRow | DeleteRow
Decide: TypeAlias = Callable[[RowInSource], Act]


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Committed:
    """The act is in the source. ``row``: as the table's triggers left it; None for a deletion and where none is.

    ``lsn``: the insert LSN read after the commit, on the connection that committed.
    """

    key: str
    row: Values | None
    xid: int
    lsn: int


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """The act was to leave all as it is; ``lsn``: the insert LSN read after that."""

    lsn: int


@dataclass(frozen=True, slots=True)
class RowLocked:
    """Somebody holds the row, or the statement took too long: the entry is due again. ``said``: PostgreSQL's words."""

    said: str


@dataclass(frozen=True, slots=True)
class RowRefused:
    """The source does not take this row: it is parked. The sentence holds no value of the row."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class UniqueViolation:
    """Another row has the value of another unique key than the row's own: parked as ``unique_violation``."""

    constraint: str
    sentence: str


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """There is a row of this key already, which an insert met."""


@dataclass(frozen=True, slots=True)
class NotPrepared:
    """The table or ``rowtide_pull.applied`` cannot be written by this role at all: a hold, not a parked row."""

    error: RowtideError


@dataclass(frozen=True, slots=True)
class SourceAway:
    """The source does not answer, or not as the server it was; what was under way may have been carried out."""

    error: RowtideError


@dataclass(frozen=True, slots=True)
class LockLost:
    """The session does not hold the sync's lock any more: another process may pull it by now. Nothing was done."""


Outcome: TypeAlias = (
    Committed | LeftAlone | RowLocked | RowRefused | UniqueViolation | KeyTaken | NotPrepared | SourceAway | LockLost
)
