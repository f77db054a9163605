"""What became of each row of the records, change by change, while a history ran.

In: the state database of a history. Out: the changes of the records of a row, in their order, for what is saved of a
history that found something. Rule: a trigger writes them down, so nothing of the product knows of it.
"""

from collections.abc import Iterator

from tests.e2e.stack import Stack

_TABLES = ("outbox", "ledger", "inbox", "conflict")
_MAKE = """
CREATE SCHEMA trail;
CREATE TABLE trail.change (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
       xid bigint NOT NULL DEFAULT txid_current(), of text NOT NULL, how text NOT NULL, now jsonb NOT NULL);
CREATE FUNCTION trail.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO trail.change (of, how, now)
    VALUES (TG_TABLE_NAME, TG_OP, CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END);
    RETURN NULL;
END $$;
"""
_WATCH = (
    "CREATE TRIGGER trail AFTER INSERT OR UPDATE OR DELETE ON rowtide.{} FOR EACH ROW EXECUTE FUNCTION trail.note()"
)
_OF_ROW = """
SELECT c.at::text, c.xid, c.of, c.how, jsonb_strip_nulls(c.now)::text FROM trail.change AS c
 WHERE c.now ->> 'key' = %s OR c.now ->> 'item_key' LIKE '%%:' || %s
    OR (c.of = 'inbox' AND EXISTS (SELECT FROM trail.change AS l
                                    WHERE l.of = 'ledger' AND l.now ->> 'key' = %s
                                      AND l.now ->> 'list_id' = c.now ->> 'list_id'
                                      AND l.now ->> 'item_id' = c.now ->> 'item_id'))
 ORDER BY c.id
"""


def watch(stack: Stack) -> None:
    """From now on every change of the records is written down."""
    stack.state(_MAKE)
    for table in _TABLES:
        stack.state(_WATCH.format(table))


def of_row(stack: Stack, key: str) -> Iterator[str]:
    """The changes of a row's records, a line each."""
    for at, xid, table, how, now in stack.state(_OF_ROW.strip(), key, key, key):
        yield f"{at} {xid} {how.lower()} {table} {now}"
