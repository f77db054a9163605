"""Where each value came from, and which values whoever wrote it had before their eyes.

In: what people write and delete on either side; conflicts on record. Out: what was lost, what conflicts were invented.
Rule: every value is written once; a value is accounted for if it is there at the end, if somebody saw it and wrote
another, if it went with a deletion of its own side, or if a recorded conflict names it (docs/reliability.md). The model
(`tests/property/both_ways`) judges by the same rule.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Place = tuple[str, str]
"""A list and an item of it."""
Values = Mapping[str, str | None]


@dataclass
class Deletion:
    """``of``: the row's key. ``at``: when, in the order of acts. ``blurred``: an attempt was not explained then."""

    name: str
    of: str
    at: int
    blurred: bool = False


@dataclass
class Lineage:
    """Values by their number, and what each was written over. For any thread."""

    over: dict[str, set[str]] = field(default_factory=dict)
    rows_gone: dict[str, list[Deletion]] = field(default_factory=lambda: defaultdict(list))
    items_gone: dict[str, list[Deletion]] = field(default_factory=lambda: defaultdict(list))
    gone_at: dict[Place, list[Deletion]] = field(default_factory=lambda: defaultdict(list))
    of_row: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Values that somebody wrote into the row of a key."""
    of_item: dict[Place, dict[int, dict[str, str | None]]] = field(default_factory=lambda: defaultdict(dict))
    """What an item said after each edit by a person, by version."""
    accounted: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    """Values whose commit was not answered."""
    moved: set[str] = field(default_factory=set)
    origin: dict[str, str] = field(default_factory=dict)
    """Where a value was written: the row's key, or the item."""
    births: dict[str, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    """Deletions that need no trace: a conflict tells of them, or they may not have happened."""
    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    # --- what people do ---------------------------------------------------------------------------------------------

    def value(self, name: str, *seen: str | None) -> str:
        """A new value, by somebody who sees these in its place."""
        with self.lock:
            self.count += 1
            made = f"{name}{self.count}"
            self.over[made] = {one for one in seen if one is not None}
        return made

    def emptied(self, seen: str | None) -> str:
        """Somebody saw this and left nothing in its place; the name of that nothing."""
        with self.lock:
            self.count += 1
            name = f"-{self.count}"
            self.over[name] = set() if seen is None else {seen}
            self.accounted.add(name)
        return name

    def said(self, at: Place, version: int, fields: Values, named: Values) -> None:
        """What an item says after an edit; ``named``: the nothings in it, which stand until something else is there."""
        before = self.of_item[at][max(self.of_item[at])] if self.of_item[at] else {}
        still = {name: one for name, one in before.items() if one is not None and one.startswith("-")}
        empty = {**still, **named}
        self.of_item[at][version] = {name: empty.get(name) if one is None else one for name, one in fields.items()}

    def row_gone(self, key: str, seen: Values) -> Deletion:
        """Somebody deleted a row that said this."""
        return self._gone(self.rows_gone, key, seen)

    def item_gone(self, key: str, at: Place, seen: Values, known: bool, blurred: bool) -> None:
        """Somebody deleted an item; of one that is not ``known`` to any record nobody can tell that it was there."""
        made = self._gone(self.items_gone, key, seen)
        made.blurred = blurred
        self.gone_at[at].append(made)
        if not known:
            self.told.add(made.name)

    def _gone(self, kept: dict[str, list[Deletion]], key: str, seen: Values) -> Deletion:
        with self.lock:
            self.count += 1
            made = Deletion(f"-{self.count}", key, self.count)
            self.over[made.name] = {one for one in seen.values() if one is not None}
            self.accounted.add(made.name)
            kept[key].append(made)
        return made

    def born(self, key: str) -> None:
        """The row was made, or made again, knowingly."""
        with self.lock:
            self.births[key] = self.count

    # --- what is judged in the end ----------------------------------------------------------------------------------

    def reach(self, values: Iterable[str | None]) -> set[str]:
        """These values and all that were seen go for them."""
        found: set[str] = set()
        todo = [one for one in values if one is not None]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo.extend(self.over.get(one, ()))
        return found

    def note_conflict(self, kind: str, key: str, place: Place, version: int, fields: Mapping[str, Values]) -> str:
        """Account for what a conflict names; why it is none, or nothing."""
        for values in fields.values():
            self.accounted |= {one for one in (values["postgres"], values["sharepoint"]) if one is not None}
        match kind:
            case "update_deleted":
                edits = self.of_item.get(place, {})
                self.accounted |= {one for said in edits.values() for one in said.values() if one is not None}
                return self._against(self.rows_gone.get(key, []), set(edits.get(version, {}).values()), "item")
            case "delete_updated":
                self.accounted |= self.of_row.get(key, set())
                deletions = [*self.items_gone.get(key, []), *self.gone_at.get(place, [])]
                return self._against(deletions, {*self.of_row.get(key, set())}, "row")
            case "insert_exists":  # without a base nobody can say who saw what
                return ""
            case _:
                return next(filter(None, (self._ordered(name, one) for name, one in fields.items())), "")

    def _ordered(self, name: str, values: Values) -> str:
        postgres, sharepoint = values["postgres"], values["sharepoint"]
        if postgres is None or sharepoint is None:
            return ""
        if postgres in self.reach([sharepoint]):
            return f"{name}: {sharepoint} was written over {postgres}"
        if sharepoint in self.reach([postgres]):
            return f"{name}: {postgres} was written over {sharepoint}"
        return ""

    def _against(self, deletions: list[Deletion], values: set[str | None], what: str) -> str:
        """A deletion on one side meets values of the other, one of which was not seen by whoever deleted."""
        self.told |= {one.name for one in deletions}
        if any(one.blurred or one.of in self.moved for one in deletions):
            return ""
        if not deletions:
            return f"an edit of the {what} meets no deletion"
        wrote = {one for one in values if one is not None}
        if not wrote or any(wrote - self.reach([one.name]) for one in deletions):
            return ""
        return f"all that the {what} said was seen by whoever deleted"

    def lost(self, rows: Iterable[Values]) -> set[str]:
        """Values that are not there, that nobody saw go, and that no conflict names."""
        roots = [*self.accounted, *(one for row in rows for one in row.values())]
        return {one for one in self.over if not one.startswith("-")} - self.reach(roots) - self.doubtful

    def deletions_lost(self, rows: Mapping[str, Values]) -> list[Deletion]:
        """Deletions whose row is there, with a value that whoever deleted it saw, and that no conflict tells of."""
        found = [*self.rows_gone.values(), *self.items_gone.values()]
        return [
            one
            for deletions in found
            for one in deletions
            if one.of in rows and one.of not in self.moved and one.name not in self.told
            and self.births.get(one.of, 0) < one.at
            and self.reach([one.name]) & {value for value in rows[one.of].values() if value is not None}
        ]  # fmt: skip
