"""What a changed definition writes to items that are there already.

In: a sync as it is in force and as the file has it, its rows by list, how many items it has. Out: a `ListLoad` per
list. Rule: never fewer writes than a reconcile will find; where only the values could tell, every item counts.
"""

from collections.abc import Mapping

from connectors.postgres.row_counts import Places, RowCounts
from control.operations.forecast import ListLoad
from rowtide.mapping.columns import MappedColumn
from rowtide.mapping.compiled_sync import CompiledSync

MOVE_WRITES = 2
"""An item that moves, or whose row gets another key, is made anew and then deleted."""


def needs_places(old: CompiledSync, new: CompiledSync) -> bool:
    """Whether rows have to be counted by where they were and where they belong."""
    return _same_rows(old, new) and (old.where, old.sharding) != (new.where, new.sharding)


def loads(
    new: CompiledSync, counts: RowCounts, live: int, old: CompiledSync | None = None, places: Places | None = None
) -> list[ListLoad]:
    """Rows and writes per list; ``live``: the items of the sync; ``places``: as `needs_places` asks for."""
    if old is None or old.graph != new.graph:
        live = 0 if old is not None else live
        return [_load(new, title, rows, counts.exact, items) for title, rows, items in _spread(counts, live)]
    leaving = _leaving(new, places)
    answers = []
    for title, rows, items in _spread(counts, max(live - sum(leaving.values()), 0)):
        moving = _moving(old, new, title, items, places)
        changed = items - moving if _values_change(old, new) else 0
        rewrites = changed + MOVE_WRITES * moving + leaving.get(title, 0)
        answers.append(_load(new, title, rows, counts.exact, items, rewrites))
    return answers


def _load(new: CompiledSync, title: str, rows: int, exact: bool, items: int, rewrites: int = 0) -> ListLoad:
    return ListLoad(new.name, title, rows, exact, items, rewrites)


def _spread(counts: RowCounts, live: int) -> list[tuple[str, int, int]]:
    """Title, rows and items per list: items are taken off list by list."""
    answers = []
    for title, rows in counts.rows.items():
        items = min(live, rows)
        live -= items
        answers.append((title, rows, items))
    return answers


def _same_rows(old: CompiledSync, new: CompiledSync) -> bool:
    """Whether a row keeps its key and its tenant and site, so that its item can stay where it is."""
    there = (old.postgres, old.schema, old.table, old.key_columns, old.graph, old.site)
    return there == (new.postgres, new.schema, new.table, new.key_columns, new.graph, new.site)


def _values_change(old: CompiledSync, new: CompiledSync) -> bool:
    """Whether items may differ from what the new mapping makes of their rows."""
    before = {one.field: one for one in old.mapped}
    return any(one.field not in before or _differs(before[one.field], one) for one in new.mapped)


def _differs(old: MappedColumn, new: MappedColumn) -> bool:
    return (old.column, old.family, _form(old)) != (new.column, new.family, _form(new))


def _form(one: MappedColumn) -> str:
    """What decides on a value's form: a text is the same in a single line, a note and a choice."""
    return "text" if one.kind in ("text", "note", "choice") else f"{one.kind} {one.format or one.kind}"


def _moving(old: CompiledSync, new: CompiledSync, title: str, items: int, places: Places | None) -> int:
    """How many of the items of a list come from another one, or are made anew."""
    if not _same_rows(old, new):
        return items
    if old.sharding == new.sharding:
        return 0
    if places is None:
        return items
    there = _same_list(old, new)
    moved = sum(
        count for (was, now), count in places.items() if now == title and was is not None and there.get(was) != title
    )
    return min(moved, items)


def _leaving(new: CompiledSync, places: Places | None) -> Mapping[str, int]:
    """Items to be deleted, by the list that stands for them in the table."""
    left: dict[str, int] = {}
    for (was, now), count in (places or {}).items():
        if was is not None and now is None:
            title = was if was in new.titles else new.titles[0]
            left[title] = left.get(title, 0) + count
    return left


def _same_list(old: CompiledSync, new: CompiledSync) -> dict[str, str]:
    """Titles in force -> the titles that these lists have now (docs/design.md section 4)."""
    now = new.sharding.targets()
    same = {title: title for title in old.titles if title in now}
    for title, targets in old.sharding.targets().items():
        renamed = [one for one, of_one in now.items() if one not in same.values() and set(targets) & set(of_one)]
        if title not in same and renamed:
            same[title] = renamed[0]
    return same
