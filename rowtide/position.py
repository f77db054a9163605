"""Where a change stands in the source's history.

In: numbers from the replication protocol. Out: `Position`, compared as a tuple, and LSNs as plain integers with
their text form. Every layer uses them. Rule: positions are compared only within what `era` proves continuous; an era
grows whenever continuity of a slot cannot be proven (docs/design.md section 2).
"""

from typing import NamedTuple, NewType

Lsn = NewType("Lsn", int)


class Position(NamedTuple):
    """Era, *commit* LSN of the transaction, and the row's ordinal in it (counted before any filter).

    A plain tuple because millions of them are compared; Python's tuple order is the order we mean.
    """

    era: int
    lsn: int
    ordinal: int


def lsn_to_text(lsn: int) -> str:
    """PostgreSQL's notation, ``16/B374D848``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def position_text(era: int, lsn: int, ordinal: int) -> str:
    """A position on one line: ``3:16/B374D848:2``."""
    return f"{era}:{lsn_to_text(lsn)}:{ordinal}"


def lsn_from_text(text: str) -> Lsn:
    """The integer of PostgreSQL's notation; ValueError when it is none."""
    high, separator, low = text.partition("/")
    if not separator:
        raise ValueError(f"not an LSN: {text!r}")
    return Lsn((int(high, 16) << 32) | int(low, 16))


def widen_xid(xid32: int, next_xid: int) -> int:
    """The 64-bit xid of pgoutput's 32-bit one: the highest value with those bits that is not above ``next_xid``."""
    candidate = (next_xid & ~0xFFFFFFFF) | xid32
    return candidate if candidate <= next_xid else candidate - (1 << 32)
