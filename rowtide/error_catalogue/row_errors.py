"""Why single rows are parked: the row waits for a newer value or a person while its neighbours go on."""

from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import RowError

TYPE_UNREPRESENTABLE: Final = Entry(
    RowError,
    "type_unrepresentable",
    "column {column} (field {field}): {why}",
    "change the value, or map the column as text",
)
NOT_A_CHOICE: Final = Entry(
    RowError,
    "type_unrepresentable",
    "column {column} (field {field}): the value is none of the choices of the definition",
    "add it to choices, or leave choices out",
)
EDIT_UNREPRESENTABLE: Final = Entry(
    RowError,
    "type_unrepresentable",
    "field {field} cannot be in column {column}: {why}",
    "change the value in the list; the next edit of the item is taken in its place",
)
VALUE_TOO_LONG: Final = Entry(
    RowError,
    "value_too_long",
    "column {column} (field {field}): the text is longer than the {most} characters a {kind} column holds",
    "shorten it, map it as note, or overflow: truncate",
)
NO_LIST: Final = Entry(
    RowError,
    "no_list",
    "no list is named for this row: add its value to lists.map, or name a lists.default",
    "add the value to lists.map, or name a lists.default; then `rowtide apply`",
)
STATE_REFUSES_ROW: Final = Entry(
    RowError,
    "state_refuses_row",
    "The state database cannot hold this row ({refusal}).",
    "change the row's value; the state server's log says which it is",
)
STATE_REFUSES_KEY: Final = Entry(
    RowError,
    "state_refuses_row",
    "The state database cannot hold this row ({refusal}). Its key is shown shortened.",
    "change the row's key; the state server's log says why",
)
SETTLE_REFUSED: Final = Entry(
    RowError,
    "refused_by_state",
    "{sentence}",
    "see the state server's log; the row was written to its list, only the record is missing",
    ("sentence",),
)
INTERNAL_ERROR: Final = Entry(
    RowError, "internal_error", "Rowtide failed on this row ({error}); please report it", "`rowtide parked retry`"
)
ITEM_OLDER_THAN_KNOWN: Final = Entry(
    RowError,
    "item_older_than_known",
    "SharePoint shows an older version of this item than was written",
    "nothing: a deep reconcile of the sync begins by itself, and the row is tried again",
)
UNIQUE_VIOLATION: Final = Entry(
    RowError,
    "unique_violation",
    "{sentence}",
    "another item has the value of a column that SharePoint keeps unique: change either",
    ("sentence",),
)
GRAPH_REFUSED_ROW: Final = Entry(
    RowError,
    "{code}",
    "{sentence}",
    "a code that is not in this table is Graph's own: see Graph's sentence",
    ("sentence",),
)
GRAPH_REFUSED_ROW_PLAINLY: Final = Entry(
    RowError,
    "graph_{status}",
    "{sentence}",
    "Graph refused the row and gave no code: see Graph's sentence",
    ("sentence",),
)
REFUSED_BY_SOURCE: Final = Entry(
    RowError,
    "refused_by_source",
    "table {table} does not take what the item says: {said}",
    "change the item or the row so that the table's constraints, triggers and policies take it; then "
    "`rowtide parked retry`",
    ("said",),
)
UNIQUE_IN_SOURCE: Final = Entry(
    RowError,
    UNIQUE_VIOLATION.code,
    "table {table} does not take what the item says: {said}",
    "another row has the value of a column that the table keeps unique: change either",
    ("said",),
)
OUTSIDE_FILTER: Final = Entry(
    RowError,
    "outside_filter",
    "the row that table {table} makes of this new item does not satisfy `where` of the sync; nothing was inserted",
    "change the item, or `where`; the item stays in its list and is not synced",
)
INSERT_EXISTS: Final = Entry(
    RowError,
    "insert_exists",
    "a new item has the key of a row that has an item already, or that the sync leaves out",
    "give the item another key, or delete it; the row and its own item stay as they are",
)
NO_KEY: Final = Entry(
    RowError,
    "no_key",
    "a new item cannot become a row: column {column} is part of the table's key, and {why}",
    "map the key's columns and have people fill them in, or let PostgreSQL number them (GENERATED ... AS IDENTITY)",
)
MATCH_AMBIGUOUS: Final = Entry(
    RowError,
    "match_ambiguous",
    "{rows} rows and {items} items of its lists have the same {columns}: nobody can tell which belong together",
    "make them differ or delete what is too many, then `rowtide reconcile {sync} --deep`; `rowtide parked retry` lets "
    "this one go on by itself, as a new one",
)
MATCH_OUTSIDE: Final = Entry(
    RowError,
    "match_outside",
    "a row with the same {columns} is there, to which `where` does not apply: the item is not made a second row",
    "change the row so that it belongs to the sync, then `rowtide reconcile {sync} --deep`; `rowtide parked retry` "
    "makes the item a row of its own",
)
PING_PONG: Final = Entry(
    RowError,
    "ping_pong",
    "both sides have set field {field} in turn {times} times within {minutes} minutes: neither is written any more",
    "find what sets it on each side (a flow, a trigger); then `rowtide parked retry` applies the item's value, "
    "`rowtide parked discard` drops it",
)
INFERRED_DELETE: Final = Entry(
    RowError,
    "inferred_delete",
    "its list was read from beginning to end and does not show the item any more; nobody has told of its deletion",
    "look whether the item is only hidden (content approval, a lost grant); `rowtide parked retry {sync} --all` has "
    "the rows of such items deleted",
)
MASS_DELETE_BACK: Final = Entry(
    RowError,
    "mass_delete_back",
    "with this one {count} rows of {pairs} would be deleted in an hour because their items were: more than the breaker "
    "lets pass",
    "`rowtide parked retry {sync} --all` has these rows deleted; restoring the items in SharePoint keeps them",
)
