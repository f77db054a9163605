"""What follows when a sync begins to go both ways, or ceases to.

In: the document in force and the one in the file. Out: sentences for `plan`, before a person says yes. Rule: pure;
what is said here is done by running processes once the definition is in force.
"""

from collections.abc import Iterator

from rowtide.definition.model import Document


def direction_changes(old: Document | None, new: Document) -> list[str]:
    """A sentence for each sync that goes another way from now on, a new one that goes both ways included."""
    return list(_changes(old, new))


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
