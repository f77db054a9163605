"""What follows when a sync begins to go both ways or ceases to, or begins to match rows and items.

In: the document in force and the one in the file. Out: sentences for `plan`, before a person says yes. Rule: pure;
what is said here is done by running processes once the definition is in force.
"""

from collections.abc import Iterator

from rowtide.definition.model import Document


def direction_changes(old: Document | None, new: Document) -> list[str]:
    """A sentence for each sync that goes another way or matches by other columns from now on, new ones included."""
    return [*_matches(old, new), *_changes(old, new)]


def _matches(old: Document | None, new: Document) -> Iterator[str]:
    for name, sync in new.syncs.items():
        before = None if old is None else old.sync_of_id(new.id_of(name))
        if sync.match and (before is None or (before.match, before.direction) != (sync.match, sync.direction)):
            yield (
                f"sync {name}: its rows and the items that its lists hold already are paired by "
                f"{', '.join(sync.match)} first; until then nothing is written on either side, and what is ambiguous "
                "is set aside"
            )


def _changes(old: Document | None, new: Document) -> Iterator[str]:
    for name, sync in new.syncs.items():
        before = None if old is None else old.sync_of_id(new.id_of(name))
        was = "push" if before is None else before.direction
        if was == sync.direction:
            continue
        if sync.direction == "both":
            yield (
                f"sync {name} goes both ways: its lists are read whole once; what people edited there since the last "
                "write of each item reaches PostgreSQL, and each item without a row of its own becomes a row"
            )
        else:
            yield (
                f"sync {name} goes one way from now on: edits that wait to reach PostgreSQL are forgotten, and each is "
                "overwritten when its row changes next"
            )
