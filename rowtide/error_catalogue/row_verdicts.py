"""What `explain` says: whether they agree, which side is ahead, what waits; the first that holds."""

from typing import Final

from rowtide.error_catalogue.entries import ReasonEntry

_STATUS: Final = "`rowtide status` says how far it is; `rowtide reconcile {sync}` compares table and records"
_DEEP: Final = "`rowtide reconcile {sync} --deep` writes PostgreSQL's values now"

# --- something waits for a person -------------------------------------------------------------------------------

CONFLICT_OPEN: Final = ReasonEntry(
    "conflict_open",
    "Both sides changed {what}, and conflict {id} waits until a person decides.",
    "`rowtide conflicts show {id}`, then `rowtide conflicts resolve {id}`",
)
ROW_PARKED: Final = ReasonEntry(
    "row_parked",
    "PostgreSQL is ahead, and the row is set aside: {why}",
    "mend what the sentence says, then `rowtide parked retry {sync} {key}`",
)
EDIT_PARKED: Final = ReasonEntry(
    "edit_parked",
    "SharePoint is ahead, and the edit is set aside: {why}",
    "mend what the sentence says, then `rowtide parked retry {sync} {key}`, or edit the item again",
)

# --- something waits --------------------------------------------------------------------------------------------

UNANSWERED: Final = ReasonEntry(
    "unanswered", "Nobody knows yet whether a write of the row arrived: its item is looked at before anything is sent."
)
IN_FLIGHT: Final = ReasonEntry("in_flight", "PostgreSQL is ahead: {what} is being written.")
EDIT_WAITS: Final = ReasonEntry(
    "edit_waits", "SharePoint is ahead: version {version} of the item waits to be applied to the row."
)
DELETION_WAITS: Final = ReasonEntry(
    "deletion_waits", "SharePoint is ahead: the item was deleted there, which waits to be applied to the row."
)
GATE_CLOSED: Final = ReasonEntry(
    "gate_closed", "Nothing is written to tenant {graph} for now: it throttles the app, or did not answer."
)
ROW_WAITS: Final = ReasonEntry("row_waits", "PostgreSQL is ahead: {what} waits to be written.")

# --- nothing waits ----------------------------------------------------------------------------------------------

NOT_KNOWN: Final = ReasonEntry(
    "not_known", "Nothing waits for the row by the records; whether both agree is not known."
)
IN_SYNC: Final = ReasonEntry("in_sync", "Row and item say the same.")
BOTH_GONE: Final = ReasonEntry("both_gone", "There is no row and no item: on both sides it is deleted.")
OUTSIDE: Final = ReasonEntry("outside", "The row belongs to no list, since `where` is not true of it, and has no item.")
ITEM_STAYS: Final = ReasonEntry("item_stays", "The row is gone and its item stays, because {why}.")
ROW_STAYS: Final = ReasonEntry("row_stays", "The item was deleted and the row stays, because `deletes` says so.")
ARRIVING: Final = ReasonEntry("arriving", "SharePoint is ahead: the item is new there, and its row is being made.")
UNMAPPED: Final = ReasonEntry(
    "unmapped", "PostgreSQL is ahead, and the row cannot be carried as it is: {why}", "change the row"
)
ROW_AHEAD: Final = ReasonEntry(
    "row_ahead", "PostgreSQL is ahead: {what} is to follow; the change is not captured yet.", _STATUS
)
ITEM_AHEAD: Final = ReasonEntry(
    "item_ahead",
    "SharePoint is ahead in {what}; the edit is not read yet.",
    "nothing: the list is asked for its changes again and again; `rowtide status` says if it cannot be read",
)
ITEM_GONE: Final = ReasonEntry(
    "item_gone",
    "SharePoint is ahead: the item is gone there; its deletion is not read yet.",
    "nothing: the list is asked for its changes again and again; `rowtide status` says if it cannot be read",
)
ITEM_EDITED: Final = ReasonEntry(
    "item_edited",
    "Somebody changed the item in {what}; it stays so until the row changes: the sync only pushes.",
    _DEEP,
)
ITEM_MISSING: Final = ReasonEntry(
    "item_missing",
    "The item is gone from its list; it is made anew when the row changes: the sync only pushes.",
    _DEEP,
)
BOTH_AHEAD: Final = ReasonEntry(
    "both_ahead", "Both sides changed {what} to different values, and neither change is read yet.", _STATUS
)
