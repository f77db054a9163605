"""Pairs the rows of a table with the items that its lists held before, by the columns of `match:`.

In: a deep pass whose lists are read, the source table. Out: the record moved on; pairs, and what is set aside. Called
by flows.deep_pass before the table is compared. Rules (docs/design.md section 9): both sides are known whole before
the first pair is made; nothing that lacks a partner is touched; until all of it is recorded nothing is written on
either side, because the sync is held (rowtide.holds: MATCH).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from connectors.postgres.table_pages import Values
from flows.source_table import Table
from rowtide import matching
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.records import NoItem
from rowtide.error_catalogue import row_errors
from rowtide.error_catalogue.entries import Entry
from rowtide.errors import RowError
from rowtide.mapping.backwards import Backwards
from rowtide.mapping.columns import Convert
from rowtide.matching import Group, ItemPlace, Likeness, UnkeyedItem
from state import ledger
from state.database import Connection
from state.inbox import Shown
from state.reconcile import matches, pairing
from state.reconcile.matches import NewPair, SetAside
from state.reconcile.record import Reconcile

log = structlog.get_logger()

PAIRS_A_BATCH: Final = 500
"""Pairs that are read, joined and recorded at once."""


@dataclass(frozen=True, slots=True)
class _Mapping:
    """How two values are compared, and which fields go one way."""

    fields: FieldMapping
    push_only: frozenset[str]


def match(state: Connection, table: Table, record: Reconcile) -> Reconcile:
    """Pair what belongs together, set aside what is ambiguous, and let the sync go on."""
    return _Matching(state, table, record).run()


class _Matching:
    def __init__(self, state: Connection, table: Table, record: Reconcile) -> None:
        self._state = state
        self._table = table
        self._record = record
        self._outside: set[Likeness] = set()
        self._compiled = compiled = table.compiled
        backwards = Backwards(compiled) if compiled.two_ways else None
        self._mapping = _Mapping(backwards or compiled, frozenset(backwards.push_only if backwards else ()))
        places = {name: place for place, name in enumerate(compiled.select_columns)}
        self._columns: list[tuple[int, Convert]] = [(places[one.column], one.canonical()) for one in compiled.match]

    def run(self) -> Reconcile:
        """Everything; it begins anew where a process has died midway, and finds done what was done."""
        items = self._items()
        rows = self._rows(items)
        found = matching.match(rows, items)
        refused: list[ItemPlace] = []
        pairs = sorted(found.pairs.items())
        for start in range(0, len(pairs), PAIRS_A_BATCH):
            refused += self._join(dict(pairs[start : start + PAIRS_A_BATCH]))
        aside = [self._set_aside(one, row_errors.MATCH_AMBIGUOUS) for one in found.groups]
        for like in sorted(self._outside - rows.keys()):
            aside.append(self._set_aside(Group((), tuple(items[like])), row_errors.MATCH_OUTSIDE))
        if refused:  # something was sent for their rows: these have other items, or get them
            aside.append(self._set_aside(Group((), tuple(refused)), row_errors.MATCH_AMBIGUOUS))
        self._record = pairing.end_match(self._state, self._record, aside)
        log.info("rows and items matched", sync=self._compiled.sync, pairs=len(pairs), ambiguous=len(found.groups))
        return self._record

    # --- both sides whole -------------------------------------------------------------------------------------------

    def _items(self) -> dict[Likeness, list[ItemPlace]]:
        found: dict[Likeness, list[ItemPlace]] = defaultdict(list)
        for seen in matches.read_unclaimed(self._state, self._compiled.sync):
            like = self._like_of(seen)
            if like is not None:
                found[like].append(seen.place)
        return dict(found)

    def _like_of(self, seen: UnkeyedItem) -> Likeness | None:
        return matching.likeness([seen.fields.get(one.field) for one in self._compiled.match])

    def _rows(self, items: Mapping[Likeness, Sequence[ItemPlace]]) -> dict[Likeness, list[str]]:
        """The rows that are like an item and have none; what rows outside of `where` are like is noted."""
        found: dict[Likeness, list[str]] = defaultdict(list)
        if not items:
            return {}
        for page in self._table.pages():
            alike = list(self._alike(page, items))
            pairs = ledger.read_places(self._state, self._compiled.sync, [key for key, _ in alike])
            for key, like in alike:
                pair = pairs.get(key)
                if pair is None or (isinstance(pair, NoItem) and not pair.ignored):
                    found[like].append(key)
        return dict(found)

    def _alike(
        self, page: Sequence[Values], items: Mapping[Likeness, Sequence[ItemPlace]]
    ) -> Iterator[tuple[str, Likeness]]:
        for values in page:
            like = self._likeness(values)
            if like is None or like not in items:
                continue
            mapped = self._table.mapped(values)
            if mapped.op == "u":
                yield mapped.key, like
            else:
                self._outside.add(like)

    def _likeness(self, values: Values) -> Likeness | None:
        try:
            return matching.likeness(
                [None if (text := values[place]) is None else canonical(text) for place, canonical in self._columns]
            )
        except RowError:  # a value that no list holds is like none of an item
            return None

    # --- pairs ------------------------------------------------------------------------------------------------------

    def _join(self, pairs: Mapping[str, ItemPlace]) -> list[ItemPlace]:
        """Record these pairs as row and item are now; the items that could not be paired all the same."""
        seen = {one.place: one for one in matches.read_unclaimed(self._state, self._compiled.sync, [*pairs.values()])}
        new = []
        for key, values in self._found([*pairs]):
            item = seen.get(pairs[key])
            if item is not None and self._likeness(values) == self._like_of(item):
                new.append(self._new_pair(key, values, item))
        if not new:
            return []
        self._record, taken = pairing.join(self._state, self._record, new)
        return [pairs[one.key] for one in new if one.key not in taken]

    def _found(self, keys: Sequence[str]) -> Iterator[tuple[str, Values]]:
        for found in self._table.find(keys):
            yield from found.rows.items()

    def _new_pair(self, key: str, values: Values, seen: UnkeyedItem) -> NewPair:
        mapped, compiled = self._table.mapped(values), self._compiled
        joined = matching.join(mapped.fields, seen, compiled.two_ways, self._mapping.push_only, self._mapping.fields)
        return NewPair(key, joined, self._shown(seen) if joined.by_policy else None)

    def _shown(self, seen: UnkeyedItem) -> Shown:
        return matches.to_shown(seen, self._compiled.wire_fields(seen.fields))

    # --- groups -----------------------------------------------------------------------------------------------------

    def _set_aside(self, group: Group, entry: Entry[RowError]) -> SetAside:
        compiled = self._compiled
        columns = ", ".join(one.column for one in compiled.match)
        why = entry(rows=len(group.keys), items=len(group.items), columns=columns, sync=compiled.name)
        shown: list[Shown] = []
        if compiled.two_ways:
            shown = [self._shown(one) for one in matches.read_unclaimed(self._state, compiled.sync, group.items)]
        return SetAside(group.keys, len(group.items), shown, why)
