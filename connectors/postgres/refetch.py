"""Completes claimed rows by reading them: refreshes, partial rows without a base, rows of an older mapping.

In: a source connection, the catalog, works whose fields the stream alone does not tell. Out: the same works with what
the row is now, in the order they came; `NotYet` for a row whose transaction the read could not see. Rule: a change is
streamed before it is visible (docs/facts.md section 11), so a read is believed only if its snapshot sees the
change that asked for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from connectors.postgres import table_pages
from rowtide.catalog import Catalog
from rowtide.deciding.outcomes import ParkRow
from rowtide.deciding.records import Work
from rowtide.mapping.binding import Binding
from rowtide.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class NotYet:
    """The row's own transaction is not visible yet, or wide rows before it have filled the read; try again shortly."""

    work: Work


Refetched = Work | NotYet | ParkRow


def refetch_works(
    connection: table_pages.Connection, catalog: Catalog, works: Sequence[Work], eras: Mapping[str, int]
) -> list[Refetched]:
    """The works as their rows are now: op u with all fields, op d for a row that is gone or does not match any more.

    The answer for a row that cannot be carried is `ParkRow`. ``eras``: the present one of each sync; an xid of an
    older era counts as visible. Raises errors of the source and SyncError.
    """
    answers: dict[int, Refetched] = {}
    for sync in dict.fromkeys(work.desired.sync for work in works):
        places = [place for place, work in enumerate(works) if work.desired.sync == sync]
        compiled = catalog.syncs[sync]
        keys = list(dict.fromkeys(works[place].desired.key for place in places))
        binding = compiled.bind(compiled.select_columns)
        found = table_pages.read_rows(connection, compiled, table_pages.read_keyset(connection, compiled), keys)
        looked_for = set(keys[: found.asked])
        for place in places:
            work = works[place]
            if work.desired.key not in looked_for or not _sees(found.snapshot, work, eras.get(sync, 0)):
                answers[place] = NotYet(work)
            else:
                values = found.rows.get(work.desired.key)
                answers[place] = _completed(work, compiled.version, binding, values, catalog)
    return [answers[place] for place in range(len(works))]


def _sees(snapshot: Snapshot, work: Work, era: int) -> bool:
    desired = work.desired
    return desired.position.era < era or snapshot.sees(desired.xid)


def _completed(
    work: Work, version: int, binding: Binding, values: table_pages.Values | None, catalog: Catalog
) -> Work | ParkRow:
    mapped = None if values is None else binding.change_of(values)
    known = replace(work.desired, partial=False, mapping_version=version)
    if mapped is None or mapped.op == "d":
        return replace(work, desired=replace(known, op="d", target=None, list_id=None, fields={}))
    if mapped.park is not None:
        return ParkRow(work, *mapped.park)
    assert mapped.target is not None
    list_id = catalog.list_id(known.sync, mapped.target)
    desired = replace(known, op="u", target=mapped.target, list_id=list_id, fields=mapped.fields or {})
    return replace(work, desired=desired)
