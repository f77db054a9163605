"""What every record's columns are made of: the metadata they belong to, types, defaults.

In: nothing. Out: `metadata`, to which each `Table` adds itself. Rule: every text that is compared, ordered or joined
has collation "C", so that key order is byte order everywhere.
"""

from sqlalchemy import TIMESTAMP, MetaData, Text, text

from state.database import SCHEMA

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)

NAME = Text(collation="C")
TIME = TIMESTAMP(timezone=True)
NOW = text("now()")
FALSE = text("false")
ZERO = text("0")
