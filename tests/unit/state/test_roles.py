"""Each table of the state database is granted to somebody, and who only looks sees no column with values of rows."""

from state import roles
from state.tables import metadata

TABLES = {table.name: {column.name: str(column.type) for column in table.columns} for table in metadata.sorted_tables}


def test_every_table_is_a_record_or_read_only() -> None:
    assert sorted([*roles.RECORDS, *roles.READ_ONLY]) == sorted([*TABLES, "alembic_version"])


def test_documents_of_rows_are_hidden_and_no_column_is_made_up() -> None:
    assert [table for table, names in roles.VALUES.items() if not names <= TABLES[table].keys()] == []
    documents = {(table, name) for table, of in TABLES.items() for name, kind in of.items() if "JSON" in kind}
    shown = documents - {(table, name) for table, names in roles.VALUES.items() for name in names}
    # What these hold is said in state.tables: counts, names, kinds, definitions, and keys in samples of holds.
    assert shown == {
        ("definition", "compiled"),
        ("hold", "deletes"),
        ("list", "columns"),
        ("list", "held"),
        ("list", "kinds"),
        ("process", "health"),
        ("reconcile", "counts"),
        ("runs", "detail"),
        ("runs", "from_pos"),
        ("runs", "to_pos"),
        ("sync", "shape"),
    }
