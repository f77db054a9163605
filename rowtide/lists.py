"""The lists that syncs have or had: what is known of each, and what is still to be done in it.

In: nothing. Out: values that state, provisioning and the catalog exchange. Rule (docs/design.md section 3): a list is
known by its id, never by its title; it belongs to one sync, also when no target of the sync names it any more.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rowtide.keys import ROWTIDE_KEY


class ListState(Enum):
    """How a list stands to its sync; the value is the state database's word for it."""

    APPLIED = "applied"  # rows belong here
    LEAVING = "leaving"  # no target names it; its items move away
    GONE = "gone"  # SharePoint has it no more; whatever was in it is no more


@dataclass(frozen=True, slots=True)
class HeldColumns:
    """What of a list cannot be written, and why; it is left out of writes and of the base.

    ``fields``: name -> why, RowtideKey among them if it cannot be written. ``key``: why RowtideKey proves nothing: it
    is gone, or its values are not looked up and unique; then the list takes no new items.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None

    def __bool__(self) -> bool:
        return bool(self.fields) or self.key is not None

    def is_mended_by(self, now: "HeldColumns") -> bool:
        """Whether something of this can be written again when ``now`` is what cannot be."""
        return bool(self.fields.keys() - now.fields.keys()) or (self.key is not None and now.key is None)

    @property
    def sentence(self) -> str:
        """What is wrong, in one sentence."""
        parts = [f"column {name} {why}" for name, why in sorted(self.fields.items())]
        if self.key is not None and not parts:
            parts.append(f"column {ROWTIDE_KEY} {self.key}")
        effect = "it takes changes and deletions and no new items" if self.key else "rows arrive without it"
        return f"{' and '.join(parts)}; {effect}"


NOTHING_HELD = HeldColumns()


@dataclass(frozen=True, slots=True)
class KnownList:
    """A list of a sync. ``title`` is the one last applied; SharePoint may show another.

    ``columns``: name -> id of the mapped columns. One of the same name with another id is another column, and empty.
    ``kinds``: name -> kind of each of them, as the definition says it.
    """

    id: str
    site_id: str
    sync: str
    targets: tuple[str, ...]
    title: str
    state: ListState
    columns: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    def emptied_since(self, before: "KnownList") -> list[str]:
        """Names of the columns that were made anew since ``before``."""
        known = before.columns
        return sorted(name for name, column in self.columns.items() if known.get(name, column) != column)


@dataclass(frozen=True, slots=True)
class LeftList:
    """A list that no target of its sync names, while items of ours are or may be in it."""

    id: str
    site_id: str
    gone: bool


def known_by_id(known: Sequence[KnownList]) -> dict[str, KnownList]:
    """The same by id."""
    return {one.id: one for one in known}


_MARK = re.compile(r"\[instance ([0-9a-z-]+)\]")


@dataclass(frozen=True, slots=True)
class ListMark:
    """How an installation marks its lists: its id, in the description of RowtideKey.

    ``instance`` empty: the installation has no id yet, so that every marked list is another's. ``take_over``: a person
    says that lists of another installation are this one's from now on.
    """

    instance: str
    take_over: bool = False

    def describe(self, text: str) -> str:
        """``text`` with the mark, in place of another one."""
        return f"{_MARK.sub('', text).rstrip()} [instance {self.instance}]".lstrip()

    def other_in(self, description: str) -> str | None:
        """The id of another installation that a description holds."""
        found = marked_by(description)
        return found if found != self.instance else None


def marked_by(description: str) -> str | None:
    """The id of the installation that has marked a description; None for one without a mark."""
    found = _MARK.search(description)
    return None if found is None else found.group(1)
