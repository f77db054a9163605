"""Where each value came from, and which values whoever wrote it had before their eyes.

In: what people write and delete on either side. Out: values that were lost, conflicts that nobody made. Rule: every
value is written once; a value is accounted for if it is there at the end, if somebody saw it and wrote another, if it
went with a deletion of its own side, or if a recorded conflict names it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rowtide.change import Fields, JsonValue
from rowtide.deciding.conflicts import Conflict, ConflictRecord, Winner
from rowtide.deciding.inbox import InboxEntry
from tests.property.both_ways.sides_in_memory import Place, SourceRow


@dataclass
class Lineage:
    """Values by their number, and what each was written over."""

    over: dict[str, set[str]] = field(default_factory=dict)
    gone_row: dict[str, str] = field(default_factory=dict)
    gone_item: dict[Place, str] = field(default_factory=dict)
    gone_of_key: dict[str, str] = field(default_factory=dict)
    deletions: dict[str, tuple[str, int]] = field(default_factory=dict)
    accounted: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    births: dict[str, int] = field(default_factory=dict)
    blurred: set[str] = field(default_factory=set)
    """Deletions, and values that were moved, while an attempt was unexplained: with the item its versions are gone."""
    unknowable: set[frozenset[str]] = field(default_factory=set)
    """Two values that met without a base: a recorded conflict."""
    typed: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    count: int = 0

    def written(self, name: str, seen: JsonValue, typed: bool = False) -> str:
        """A new value of a field, by somebody who saw ``seen`` there; ``typed``: in an item."""
        self.count += 1
        value = f"{name}{self.count}"
        self.over[value] = set() if seen is None else {str(seen).strip()}
        if typed:
            self.typed.add(value)
        return value

    def row_gone(self, key: str, fields: Fields) -> None:
        self.gone_row[key] = self._deletion(key, fields)

    def rekeyed(self, key: str, fields: Fields) -> None:
        """The row has another key: what is there under the old one has no row any more."""
        self.moved.add(key)
        self.gone_row[key] = self._deletion(key, fields)
        self.accounted.discard(self.gone_row[key])
        self.excused.add(self.gone_row[key])

    def item_gone(self, at: Place, key: str, item_key: str | None, fields: Fields) -> None:
        """Somebody deleted the item; ``item_key`` is None if no record of ours had it."""
        self.gone_item[at] = self._deletion((item_key or "").partition(":")[2], fields)
        self.gone_of_key[key] = self.gone_item[at]

    def _deletion(self, key: str, fields: Fields) -> str:
        self.count += 1
        name = f"-{self.count}"
        self.over[name] = {str(one).strip() for one in fields.values() if one is not None}
        self.accounted.add(name)
        if key:
            self.deletions[name] = (key, self.count)
        return name

    def made(self, key: str) -> None:
        """A row was inserted knowingly: an earlier deletion does not hold any more."""
        self.births[key] = self.count

    def reach(self, values: Iterable[JsonValue]) -> set[str]:
        """These values and all that were seen go for them."""
        found: set[str] = set()
        todo = [str(one).strip() for one in values if one is not None]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo.extend(self.over.get(one, ()))
        return found

    def known_reach(self, value: JsonValue) -> set[str]:
        """The same, as far as records can tell: what stands behind a blurred value they do not know."""
        found: set[str] = set()
        todo = [str(value).strip()]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo.extend(() if one in self.blurred else self.over.get(one, ()))
        return found

    def invented(self, record: ConflictRecord, key: str, row: SourceRow | None, entry: InboxEntry) -> str | None:
        """Why the conflict is none; also notes what it names."""
        if record.kind is Conflict.UPDATE_DELETED:
            deletion = self.gone_row.get(key)
            unseen = self._against_deletion(deletion, entry.fields)
            if record.winner is Winner.SHAREPOINT and deletion is not None:
                # The row is made anew: what its deletion had taken along is there again, and nobody saw it come.
                self.blurred |= {str(one).strip() for one in entry.fields.values()} & self.reach([deletion])
            return None if key in self.moved else unseen
        if record.kind is Conflict.DELETE_UPDATED and row is not None:
            unseen = self._against_deletion(self.gone_item.get(entry.place) or self.gone_of_key.get(key), row.fields)
            return None if key in self.moved or row.list_id != entry.list_id else unseen
        for name, values in record.fields.items():
            self.accounted |= {str(one).strip() for one in (values.postgres, values.sharepoint) if one is not None}
            if record.kind is Conflict.INSERT_EXISTS:  # without a base nobody can say who saw what
                self.unknowable.add(frozenset(str(one).strip() for one in (values.postgres, values.sharepoint)))
            if self.is_unknowable(values.postgres, values.sharepoint):
                continue
            postgres, sharepoint = str(values.postgres).strip(), str(values.sharepoint).strip()
            if postgres in self.known_reach(sharepoint):
                return f"{name}: {values.sharepoint} was written over {values.postgres}"
            if sharepoint in self.known_reach(postgres):
                return f"{name}: {values.postgres} was written over {values.sharepoint}"
        return None

    def _against_deletion(self, deletion: str | None, fields: Fields) -> str | None:
        """A deletion on one side meets values of the other, one of which was not seen by whoever deleted.

        Of a blurred value nobody can say it: an item that was moved while an attempt was unexplained holds it, and says
        nothing of whether that attempt had come before.
        """
        self.accounted |= {str(one).strip() for one in fields.values() if one is not None}
        if deletion is None:
            return f"nobody deleted what holds {fields}"
        self.excused.add(deletion)
        seen = self.reach([deletion])
        held = {str(one).strip() for one in fields.values() if one is not None}
        return None if held - seen or ({deletion} | held) & self.blurred else f"{fields} was seen by {deletion}"

    def is_unknowable(self, one: JsonValue, other: JsonValue) -> bool:
        """Whether nobody could say which of two values was seen by whoever wrote the other."""
        both = frozenset((str(one).strip(), str(other).strip()))
        return both in self.unknowable or bool(both & self.blurred)

    def lost(self, rows: Iterable[Mapping[str, JsonValue]]) -> set[str]:
        """Values that are not there, that nobody saw go, and that no conflict names."""
        roots = [*self.accounted, *(value for row in rows for value in row.values())]
        return set(self.over) - self.reach(roots) - self.excused

    def deletions_lost(self, rows: Mapping[str, Mapping[str, JsonValue]]) -> set[str]:
        """Deletions whose row is there with a value that whoever deleted it saw, and that no conflict tells of."""
        return {
            name
            for name, (key, at) in self.deletions.items()
            if key in rows
            and key not in self.moved
            and name not in self.excused
            and self.births.get(key, 0) < at
            and self.reach([name]) & {str(one).strip() for one in rows[key].values()}
        }
