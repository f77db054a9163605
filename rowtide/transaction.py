"""What capture hands on of a committed transaction: its rows in chunks, as PostgreSQL printed them.

In: built by connectors.postgres.replication.transactions from pgoutput messages. Out: read by
rowtide.mapping.compiled_sync through flows.steps. Rule: values stay PostgreSQL's text until a mapped column asks for
them; columns nobody mapped are never turned into anything else.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple


class Unchanged(Enum):
    """The one value of a TOASTed column that an UPDATE did not touch: pgoutput does not send it."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

Text = str | None | Unchanged
"""A column's value: PostgreSQL's text output, NULL, or not sent."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as one Relation message describes it; a new one (another object) follows each change of its shape."""

    oid: int
    schema: str
    table: str
    identity: str  # pg_class.relreplident: d, n, f, i
    columns: tuple[str, ...]
    key_columns: tuple[str, ...]  # those of the replica identity
    type_oids: tuple[int, ...]


RowOperation = Literal["I", "U", "D", "T"]

OldKind = Literal["K", "O"]


class Row(NamedTuple):
    """One row message. A named tuple: the hot path makes millions.

    ``ordinal`` counts the transaction's row messages from 0, before any filter. ``old`` is the key (``old_kind`` K,
    other columns None) or the whole old row (O); None when pgoutput sent none. T (TRUNCATE) has neither.
    """

    ordinal: int
    relation: Relation
    op: RowOperation
    new: tuple[Text, ...] | None
    old: tuple[Text, ...] | None
    old_kind: OldKind | None


class CommittedTransaction(NamedTuple):
    """What tells a transaction from every other of a server: the LSN of its commit record, its xid, its commit time."""

    lsn: int
    xid: int
    committed_us: int


@dataclass(slots=True)
class Chunk:
    """Some rows of one transaction, in order.

    ``lsn`` is the commit LSN (Begin's final LSN), ``xid`` widened to 64 bits, ``committed_us`` microseconds since
    1970. ``large``: the transaction has more rows than an interactive one. ``end_lsn`` is set on its last chunk only:
    the position that may be confirmed when everything up to here is staged.
    """

    incarnation: int
    lsn: int
    xid: int
    committed_us: int
    large: bool
    rows: list[Row]
    end_lsn: int | None
    size_bytes: int

    @property
    def transaction(self) -> CommittedTransaction:
        """The transaction it is a part of."""
        return CommittedTransaction(self.lsn, self.xid, self.committed_us)
