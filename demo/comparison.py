"""Compares lists with tables row by row, and believes nothing that the sync has recorded itself.

In: compiled syncs, the source, the simulator's control side. Out: a `Verdict`: every row that is missing, differs or
is in the wrong list, every item too many, every key with more than one item. Rule: the mapping is the only thing shared
with the sync; outbox and ledger are not read, and neither a value nor a row's text gets into a verdict.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from psycopg import sql

from connectors.postgres.connections import as_source_errors, open_unproven
from demo.simulator import SimulatorControl
from rowtide.change import Fields
from rowtide.keys import ROWTIDE_KEY, rowtide_key
from rowtide.mapping.binding import Mapped
from rowtide.mapping.compiled_sync import CompiledSync

Kind = Literal["missing", "extra", "differing", "wrong list", "duplicate", "unmappable"]

_LOOK_EVERY_S = 0.5


class FoundItem(NamedTuple):
    """An item of a list as the simulator holds it; ``key`` is its RowtideKey, None when it has none."""

    title: str
    item_id: str
    key: str | None
    wire: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be; ``about`` names lists or fields, never values."""

    sync: str
    key: str
    kind: Kind
    about: str = ""

    def __str__(self) -> str:
        return f"{self.sync} {self.key}: {self.kind}{f' ({self.about})' if self.about else ''}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found; ``rows`` should have an item, ``items`` are there.

    ``waiting``: differences that are to stay until a person has said who wins.
    """

    rows: int
    items: int
    differences: tuple[Difference, ...]
    waiting: tuple[Difference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the lists are exactly what the tables say."""
        return not self.differences

    @property
    def duplicates(self) -> int:
        """Keys with more than one item."""
        return sum(1 for one in self.differences if one.kind == "duplicate")

    @property
    def others(self) -> int:
        """Differences that are not duplicates."""
        return len(self.differences) - self.duplicates

    def by_kind(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(Counter(one.kind for one in self.differences))


def compare_now(
    syncs: Iterable[CompiledSync],
    source_dsn: str,
    simulator: SimulatorControl,
    waiting: Collection[Difference] = (),
) -> Verdict:
    """Compare both sides now. While something is on its way they differ; see `compare_until_equal`."""
    syncs = list(syncs)
    found = judge(syncs, read_source(syncs, source_dsn), read_items(simulator))
    apart = tuple(one for one in found.differences if one in waiting)
    return replace(found, differences=tuple(one for one in found.differences if one not in apart), waiting=apart)


def compare_until_equal(
    syncs: Iterable[CompiledSync],
    source_dsn: str,
    simulator: SimulatorControl,
    *,
    waiting: Collection[Difference] = (),
    patience_s: float = 90.0,
    most_s: float = 600.0,
    seen: Callable[[Verdict], None] | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Verdict:
    """Compare until both sides are equal twice in a row, or until nothing has changed for ``patience_s``.

    ``waiting``: what is known to wait for a person. It takes at most ``most_s``. ``seen`` gets every verdict but the
    last; ``wait`` sleeps, and may raise to give up.
    """
    syncs = list(syncs)
    began = changed = time.monotonic()
    verdict = compare_now(syncs, source_dsn, simulator, waiting)
    while time.monotonic() - began < most_s and time.monotonic() - changed < patience_s:
        if seen is not None:
            seen(verdict)
        wait(_LOOK_EVERY_S)
        before, verdict = verdict, compare_now(syncs, source_dsn, simulator, waiting)
        if verdict.equal and before == verdict:
            break
        if verdict != before:
            changed = time.monotonic()
    return verdict


# --- reading --------------------------------------------------------------------------------------------------------


def read_source(syncs: Sequence[CompiledSync], dsn: str) -> dict[str, list[Mapped]]:
    """Every row of every sync's table, mapped, all of one snapshot."""
    answer: dict[str, list[Mapped]] = {}
    with open_unproven(dsn, "rowtide verdict") as connection, as_source_errors("comparing"):
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for sync in syncs:
            binding = sync.bind(sync.select_columns)
            # COPY prints each value by its type's output function, as the stream does.
            query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
                sql.SQL(", ").join(sql.Identifier(name) for name in sync.select_columns),
                sql.Identifier(sync.schema, sync.table),
            )
            with connection.cursor() as cursor, cursor.copy(query) as copy:
                answer[sync.sync] = [binding.change_of(row) for row in copy.rows()]
    return answer


def read_items(simulator: SimulatorControl) -> list[FoundItem]:
    """Every item of every list, from the simulator's control side: no quota, no faults."""
    return [
        FoundItem(row["list"], row["id"], row["fields"].get(ROWTIDE_KEY), row["fields"])
        for row in simulator.fetch_items()
    ]


# --- judging --------------------------------------------------------------------------------------------------------


def judge(syncs: Sequence[CompiledSync], source: Mapping[str, Sequence[Mapped]], items: Sequence[FoundItem]) -> Verdict:
    """The verdict on rows and items that were read; lists that no sync delivers to are left out."""
    ours = {title for sync in syncs for title in sync.titles}
    by_key: dict[str, list[FoundItem]] = defaultdict(list)
    differences: list[Difference] = []
    for item in items:
        if item.title not in ours:
            continue
        if item.key is None:
            differences.append(Difference("-", f"item {item.item_id}", "extra", f"{item.title}, without {ROWTIDE_KEY}"))
        else:
            by_key[_same_text(item.key)].append(item)
    rows = 0
    for sync in syncs:
        for mapped in source[sync.sync]:
            rows += mapped.op == "u"
            differences += _of_row(sync, mapped, by_key.pop(_same_text(rowtide_key(sync.sync, mapped.key)), []))
    for key, left in by_key.items():
        differences += _left_over(key, left)
    ordered = tuple(sorted(differences, key=lambda one: (one.sync, one.key, one.kind)))
    return Verdict(rows, sum(item.title in ours for item in items), ordered)


def _of_row(sync: CompiledSync, mapped: Mapped, items: Sequence[FoundItem]) -> list[Difference]:
    """What is wrong with one row's items."""
    if mapped.park is not None:
        return [Difference(sync.sync, mapped.key, "unmappable", mapped.park[0])]
    if mapped.op == "d":
        # The row filter leaves this row out.
        return [Difference(sync.sync, mapped.key, "extra", item.title) for item in items]
    if not items:
        return [Difference(sync.sync, mapped.key, "missing", mapped.target or "")]
    found = []
    if len(items) > 1:
        found.append(Difference(sync.sync, mapped.key, "duplicate", ", ".join(sorted(item.title for item in items))))
    for item in items:
        if item.title != mapped.target:
            found.append(Difference(sync.sync, mapped.key, "wrong list", f"{item.title} for {mapped.target}"))
        elif names := _differing(sync, mapped.fields or {}, item.wire):
            found.append(Difference(sync.sync, mapped.key, "differing", names))
    return found


def _left_over(key: str, items: Sequence[FoundItem]) -> list[Difference]:
    """Items whose row is gone."""
    sync, _, row = key.partition(":")
    found = [Difference(sync, row, "extra", item.title) for item in items]
    if len(items) > 1:
        found.append(Difference(sync, row, "duplicate", ", ".join(sorted(item.title for item in items))))
    return found


def _differing(sync: CompiledSync, wanted: Fields, wire: Mapping[str, Any]) -> str:
    return ", ".join(sorted(sync.differing(wanted, sync.item_fields(wire), {})))


def _same_text(text: str) -> str:
    # Texts are equal as SharePoint compares them: keys that it takes for the same are one key here.
    return text.strip().casefold()
