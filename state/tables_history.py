"""The records of what each sync did, minute by minute and hour by hour.

In: nothing. Out: one `Table` per record, in the metadata of `state.column_types`. Rule: as for `state.tables`, which
names them too; `state.history` says what the arrays hold.
"""

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, Integer, Table, Uuid

from state.column_types import NAME, TIME, metadata


def _figures() -> list[Column[Any]]:
    return [
        Column("n", ARRAY(BigInteger), nullable=False),
        Column("push_ms", ARRAY(Integer), nullable=False),
        Column("bulk_ms", ARRAY(Integer), nullable=False),
        Column("pull_ms", ARRAY(Integer), nullable=False),
    ]


# What one incarnation of a process did for a sync in a minute of the database's clock. Written anew each second.
sync_minute = Table(
    "sync_minute",
    metadata,
    Column("minute", TIME, primary_key=True),
    Column("sync", NAME, primary_key=True),
    Column("incarnation", Uuid, primary_key=True),
    *_figures(),
    # Room on each page for the next version of every row: what one write replaces is free only for the write after it.
    postgresql_with={"fillfactor": "50"},
)

# The same of an hour, by all processes.
sync_hour = Table(
    "sync_hour",
    metadata,
    Column("hour", TIME, primary_key=True),
    Column("sync", NAME, primary_key=True),
    *_figures(),
)
