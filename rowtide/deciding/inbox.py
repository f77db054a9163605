"""What a list said of an item, as it waits to be applied to PostgreSQL.

In: a delta page or a look, read by `connectors.graph`. Out: `InboxEntry`, of which `rowtide.deciding.whose` is asked.
Rules (docs/design.md section 19): an entry says what was seen and judges nothing; a newer one of the same item replaces
an older one, whatever state that is in; the values are canonical, as push would have them in the base.
"""

from dataclasses import dataclass
from datetime import datetime

from rowtide.change import Fields
from rowtide.deciding.records import ETag, ItemId, ListId


@dataclass(frozen=True, slots=True)
class Editor:
    """Who wrote an item last, as SharePoint names them."""

    name: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """An item as it was seen, or that it was told as deleted.

    ``version`` is that of the eTag, 0 for a delete, which has none. ``fields``: canonical values of every mapped field
    (None for those it lacks), empty for a delete; a value that no column can hold stays as it was shown. ``item_key``
    is the item's RowtideKey. ``revision`` grows whenever a newer entry replaces this one; what was decided on an older
    revision leaves the newer one where it is. ``suspect``: its list was restored, so that what was agreed does not say
    who changed what. ``status``: what the item's status field says (None: nothing).
    """

    list_id: ListId
    item_id: ItemId
    version: int
    etag: ETag | None
    deleted: bool
    fields: Fields
    item_key: str | None
    by_app: bool  # last modified by our own application
    editor: Editor | None
    modified_at: datetime | None
    made_by_app: bool = False
    revision: int = 1
    seen_at: datetime | None = None
    suspect: bool = False
    status: str | None = None

    @property
    def place(self) -> tuple[ListId, ItemId]:
        """The item, whose number is its list's own."""
        return self.list_id, self.item_id
