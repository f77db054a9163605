"""What ``rowtide_pull.applied`` holds of a row, as JSON documents and as the values that deciding knows.

In and out: `rowtide.deciding.taken.Applied`; `connectors.postgres.apply_acts`. Called by the thread that applies
edits. Rule: what was written is read back as it was, also by a process that comes after a crash.
"""

from collections.abc import Mapping
from typing import Any, cast

from connectors.postgres.apply_acts import AppliedEdit, Document, EditRecord
from rowtide.deciding import conflict_documents
from rowtide.deciding.conflict_documents import ConflictDocument
from rowtide.deciding.records import ItemId, ListId
from rowtide.deciding.sides import Base
from rowtide.deciding.taken import Applied


def to_record(applied: Applied) -> EditRecord:
    """What is written beside the row."""
    agreed = applied.agreed
    base = None if agreed is None else {"agreed": agreed.agreed, "kept": agreed.kept}
    conflicts = [cast(Document, conflict_documents.to_document(one)) for one in applied.conflicts]
    return EditRecord(applied.version, base, conflicts)


def to_applied(edit: AppliedEdit | None) -> Applied | None:
    """What was applied last; None: nothing."""
    if edit is None:
        return None
    stored = cast(Mapping[str, Any] | None, edit.base)
    agreed = None if stored is None else Base(dict(stored["agreed"]), dict(stored["kept"]))
    conflicts = tuple(conflict_documents.from_document(cast(ConflictDocument, one)) for one in edit.conflicts)
    return Applied(ListId(edit.list_id), ItemId(edit.item_id), edit.version, agreed, edit.key, edit.xid, conflicts)
