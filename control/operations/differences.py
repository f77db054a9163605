"""What differs between two definitions, key by key.

In: the JSON of the applied definition and of the file. Out: sentences with dotted paths. Rule: pure; values are shown,
since a definition holds references to secrets, never secrets.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rowtide import table_name
from rowtide.catalog import Catalog
from rowtide.definition.model import Definition, Document
from rowtide.mapping.compiled_sync import CompiledSync


def differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """One line for every key added, removed or changed; nothing applied yet is one line."""
    if old is None:
        return ["nothing is applied yet: everything is new"]
    return list(_walk((), old, new))


def _walk(path: tuple[str, ...], old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            here = (*path, str(key))
            if key not in new:
                yield f"- {'.'.join(here)}: {_short(old[key])}"
            elif key not in old:
                yield f"+ {'.'.join(here)}: {_short(new[key])}"
            else:
                yield from _walk(here, old[key], new[key])
    elif old != new:
        yield f"~ {'.'.join(path)}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and len(value) > 3:
        return f"{{{len(value)} keys}}"
    return json.dumps(value, ensure_ascii=False)


def left_alone(old: Catalog | None, new: Definition) -> list[str]:
    """What the applied definition used and the new one does not: `apply` leaves it where it is."""
    if old is None:
        return []
    lines = []
    for name, sync in old.syncs.items():
        where = f"({sync.graph}, {sync.site})"
        if new.sync_of_id(name) is None:
            lines += [f"list {title} {where} with its items, of sync {name}" for title in old.lists.get(name, {})]
        else:
            lines += [f"list {title} {where}, whose items of sync {name} move" for title in _left_lists(sync, new)]
    for name in old.definition.postgres:
        lines += _left_in_source(name, old.definition, new)
    return lines


def _left_lists(old: CompiledSync, new: Definition) -> list[str]:
    """Titles of the lists that no target of the sync has any more."""
    sync = new.sync_of_id(old.sync)
    assert sync is not None
    if (sync.target.graph, sync.target.site) != (old.graph, old.site):
        return list(old.titles)
    now = sync.sharding().targets()
    targets = {target for of_title in now.values() for target in of_title}
    before = old.sharding.targets().items()
    return [title for title, of_title in before if title not in now and not targets.intersection(of_title)]


def _left_in_source(name: str, old: Document, new: Document) -> Iterator[str]:
    here = name in new.postgres
    if not here or new.slot(name) != old.slot(name):
        slot = old.slot(name)
        yield f"slot {slot} of source {name}; it holds WAL back until `rowtide slot drop {slot} --foreign`"
    if not here or new.publication(name) != old.publication(name):
        yield f"publication {old.publication(name)} of source {name}"
    elif gone := [table for table in old.tables(name) if table not in new.tables(name)]:
        yield f"in publication {old.publication(name)}: {', '.join(table_name.to_text(*table) for table in gone)}"
