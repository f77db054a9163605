"""What differs between two definitions, key by key.

In: the JSON of the applied definition and of the file. Out: sentences with dotted paths. Rule: pure; values are shown,
since a definition holds references to secrets, never secrets.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rowtide.catalog import Catalog
from rowtide.definition.model import Definition


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
        titles = new.syncs[name].sharding().titles() if name in new.syncs else ()
        gone = [title for title in old.lists.get(name, {}) if title not in titles]
        lines += [f"list {title} ({sync.graph}, {sync.site}) with its items, of sync {name}" for title in gone]
    for name in old.definition.postgres:
        lines += _left_in_source(name, old.definition, new)
    return lines


def _left_in_source(name: str, old: Definition, new: Definition) -> Iterator[str]:
    here = name in new.postgres
    if not here or new.slot(name) != old.slot(name):
        yield f"slot {old.slot(name)} of source {name}; it holds WAL back until `rowtide slot drop`"
    if not here or new.publication(name) != old.publication(name):
        yield f"publication {old.publication(name)} of source {name}"
    elif gone := [table for table in old.tables(name) if table not in new.tables(name)]:
        yield f"in publication {old.publication(name)}: {', '.join('.'.join(table) for table in gone)}"
