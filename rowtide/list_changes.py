"""What a list says of its changes: items as they came, and which are deleted.

In: nothing. Out: the values that Graph's pages are read into and the inbox is filled from. Rule (docs/design.md
section 22): nothing is judged here; fields are as Graph gave them, so that whoever applies them knows what a person
has typed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rowtide.change import JsonValue
from rowtide.deciding.records import ETag, ItemId


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """An item in its last state. ``fields``: those that were asked for and that it has, by internal name.

    ``by_app``, ``made_by_app``: last changed, and made, by our own application. The editor is whoever changed it last,
    a person or an application.
    """

    item_id: ItemId
    etag: ETag
    fields: Mapping[str, JsonValue]
    item_key: str | None
    by_app: bool
    made_by_app: bool
    editor_name: str | None
    editor_email: str | None
    modified_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """A page of a round of a list's changes. ``is_last``: the round has ended, and the link begins the next one."""

    items: Sequence[ChangedItem]
    deleted: Sequence[ItemId]
    link: str
    is_last: bool

    @property
    def shows_others(self) -> bool:
        """Whether anybody but our own application has changed something."""
        return bool(self.deleted) or any(not one.by_app for one in self.items)
