"""What a table refuses: each case works, or parks its one row in PostgreSQL's own words, and the session goes on."""

from collections.abc import Sequence

import pytest

from connectors.postgres.apply_acts import (
    Act,
    Committed,
    DeleteRow,
    EditPlace,
    KeyTaken,
    LeaveRow,
    NoteRow,
    NotPrepared,
    Outcome,
    RowRefused,
    UniqueViolation,
)
from connectors.postgres.apply_session import ApplySession
from connectors.postgres.apply_table import ApplyTable
from tests.integration.postgres.pulled_table import GONE, RECORD, Decides, PulledTable, insert, place, update

SECRET = "Only The Row Says This"


def tried(
    pulled: PulledTable, table: ApplyTable, session: ApplySession, act: Act, where: EditPlace | None = None
) -> Outcome:
    """The outcome of an act; where it is no commit, nothing was changed and the session goes on."""
    outcome = session.apply_row(table, where or place("1"), Decides(act))
    if not isinstance(outcome, Committed):
        assert pulled.one("SELECT count(*) FROM rowtide_pull.applied") == 0
        assert isinstance(session.apply_row(table, place("2", item_id="2"), Decides(NoteRow(RECORD))), Committed)
        pulled.run("DELETE FROM rowtide_pull.applied")
    for said in (getattr(outcome, "sentence", ""), getattr(outcome, "said", "")):
        assert SECRET not in said
    return outcome


def prepared(
    pulled: PulledTable, columns: str, names: Sequence[str], *more: str, rows: str = "(1), (2)"
) -> tuple[ApplySession, ApplyTable]:
    """A table ``parts`` of these columns with rows 1 and 2."""
    pulled.run(f"CREATE TABLE parts (id int PRIMARY KEY, {columns})", *more, f"INSERT INTO parts (id) VALUES {rows}")
    pulled.grant("public.parts", names)
    session = pulled.session()
    fields = {name: f"F{name}" for name in names}
    return session, pulled.table(session, pulled.compiled(fields))


REFUSING = {
    "not null": (
        "a text NOT NULL DEFAULT 'x'",
        update(a=None),
        'null value in column "a" of relation "parts" violates not-null constraint',
    ),
    "check": (
        "a text CONSTRAINT short CHECK (length(a) < 5)",
        update(a=SECRET),
        'new row for relation "parts" violates check constraint "short"',
    ),
    "length": ("a varchar(5)", update(a=SECRET), "value too long for type character varying(5)"),
    "type": ("a int", update(a=SECRET), "a value is refused (InvalidTextRepresentation, SQLSTATE 22P02)"),
    "range": ("a smallint", update(a="70000"), "a value is refused (NumericValueOutOfRange, SQLSTATE 22003)"),
    "NUL": ("a text", update(a=f"{SECRET}\0"), "a value has a character that PostgreSQL does not hold"),
    "surrogate": ("a text", update(a=f"{SECRET}\ud800"), "a value has a character that PostgreSQL does not hold"),
}


@pytest.mark.parametrize("case", REFUSING)
def test_a_column_that_refuses_a_value_parks_the_row(case: str, pulled: PulledTable) -> None:
    columns, act, words = REFUSING[case]
    session, table = prepared(pulled, columns, ["a"])
    outcome = tried(pulled, table, session, act)
    assert isinstance(outcome, RowRefused)
    assert outcome.code == "refused_by_source"
    assert outcome.sentence == f"table public.parts does not take what the item says: {words}"


def test_a_domain_says_which_of_its_constraints(pulled: PulledTable) -> None:
    pulled.run("CREATE DOMAIN public.code AS text CONSTRAINT letters CHECK (VALUE ~ '^[A-Z]+$')")
    session, table = prepared(pulled, "a public.code", ["a"])
    outcome = tried(pulled, table, session, update(a=SECRET))
    assert isinstance(outcome, RowRefused)
    assert 'value for domain code violates check constraint "letters"' in outcome.sentence
    assert isinstance(tried(pulled, table, session, update(a="ABC")), Committed)


@pytest.mark.parametrize("deferred", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_foreign_key_deferred_or_not(deferred: str, pulled: PulledTable) -> None:
    pulled.run("CREATE TABLE makers (name text PRIMARY KEY)")
    session, table = prepared(
        pulled,
        f"a text CONSTRAINT to_makers REFERENCES makers {deferred}",
        ["a"],
        "CREATE TABLE children (part int REFERENCES parts, n int)",
        rows="(1), (2), (3)",
    )
    pulled.run("INSERT INTO children VALUES (3, 1)")
    outcome = tried(pulled, table, session, update(a=SECRET))
    assert isinstance(outcome, RowRefused)
    assert 'insert or update on table "parts" violates foreign key constraint "to_makers"' in outcome.sentence
    outcome = tried(pulled, table, session, DeleteRow(GONE), place("3"))
    assert isinstance(outcome, RowRefused)
    assert 'violates foreign key constraint "children_part_fkey" on table "children"' in outcome.sentence


@pytest.mark.parametrize("deferred", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_second_unique_key_deferred_or_not(deferred: str, pulled: PulledTable) -> None:
    session, table = prepared(pulled, f"a text CONSTRAINT names UNIQUE {deferred}", ["a"])
    pulled.run(f"UPDATE parts SET a = '{SECRET}' WHERE id = 2")
    for act, where in ((update(a=SECRET), place("1")), (insert(id="9", a=SECRET), place(None))):
        outcome = tried(pulled, table, session, act, where)
        assert isinstance(outcome, UniqueViolation)
        assert outcome.constraint == "names"
        assert 'duplicate key value violates unique constraint "names"' in outcome.sentence


def test_an_exclusion_constraint(pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a int4range, CONSTRAINT apart EXCLUDE USING gist (a WITH &&)", ["a"])
    pulled.run("UPDATE parts SET a = '[1,5]' WHERE id = 2")
    outcome = tried(pulled, table, session, update(a="[3,4]"))
    assert isinstance(outcome, RowRefused)
    assert 'conflicting key value violates exclusion constraint "apart"' in outcome.sentence


def test_a_key_that_is_deferrable_is_taken_all_the_same(pulled: PulledTable) -> None:
    pulled.run(
        "CREATE TABLE parts (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a text)",
        "INSERT INTO parts VALUES (1), (2)",
    )
    pulled.grant("public.parts", ["a"])
    session = pulled.session()
    table = pulled.table(session, pulled.compiled({"a": "A"}))
    assert not table.arbiter
    assert tried(pulled, table, session, insert(id="1", a="x"), place(None)) == KeyTaken()
    assert isinstance(tried(pulled, table, session, insert(id="3", a="x"), place(None)), Committed)


def test_a_sequence_that_is_behind_its_table_parks_in_postgresqls_words(pulled: PulledTable) -> None:
    pulled.run("CREATE TABLE parts (id serial PRIMARY KEY, a text)", "INSERT INTO parts (id) VALUES (1), (2)")
    pulled.grant("public.parts", ["a"])
    session = pulled.session()
    table = pulled.table(session, pulled.compiled({"a": "A"}))
    outcome = session.apply_row(table, place(None), Decides(insert(a="x")))
    assert isinstance(outcome, NotPrepared)  # of a serial column the role needs the sequence as well
    assert "permission denied for sequence parts_id_seq" in outcome.error.sentence
    pulled.run(f"GRANT USAGE ON SEQUENCE parts_id_seq TO {pulled.puller}")
    outcome = tried(pulled, table, session, insert(a="x"), place(None))
    assert isinstance(outcome, UniqueViolation)
    assert 'duplicate key value violates unique constraint "parts_pkey"' in outcome.sentence


def test_a_key_that_is_generated_always_can_be_given_and_drawn(pulled: PulledTable) -> None:
    pulled.run("CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY, a text)")
    pulled.grant("public.parts", ["a"])
    session = pulled.session()
    table = pulled.table(session, pulled.compiled({"a": "A"}))
    given = session.apply_row(table, place("5"), Decides(insert(id="5", a="x")))
    drawn = session.apply_row(table, place(None, item_id="2"), Decides(insert(a="x")))
    bare = session.apply_row(table, place(None, item_id="3"), Decides(insert()))
    assert [one.key for one in (given, drawn, bare) if isinstance(one, Committed)] == ["5", "10", "11"]


def function(body: str) -> str:
    return f"CREATE FUNCTION acts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"


@pytest.mark.parametrize(
    ("event", "act", "words"),
    [
        ("UPDATE", update(a="x"), "0 rows were touched in place of one"),
        ("DELETE", DeleteRow(GONE), "0 rows were touched in place of one"),
        ("INSERT", insert(id="9", a="x"), "0 rows were inserted in place of one"),
    ],
)
def test_a_trigger_that_suppresses_parks_the_row(event: str, act: Act, words: str, pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    pulled.run(
        function("RETURN NULL;"),
        f"CREATE TRIGGER acts BEFORE {event} ON parts FOR EACH ROW EXECUTE FUNCTION acts()",
    )
    outcome = tried(pulled, table, session, act, place("9") if event == "INSERT" else place("1"))
    assert isinstance(outcome, RowRefused)
    assert f"{words}: a trigger or a policy of the table prevents it" in outcome.sentence


@pytest.mark.parametrize("deferred", [False, True])
def test_what_a_trigger_raises_is_kept_in_its_words(deferred: bool, pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    kind = "CREATE CONSTRAINT TRIGGER acts AFTER" if deferred else "CREATE TRIGGER acts BEFORE"
    pulled.run(
        function("RAISE EXCEPTION 'closed on Sundays' USING DETAIL = NEW.a;"),
        f"{kind} UPDATE ON parts {'DEFERRABLE INITIALLY DEFERRED ' if deferred else ''}"
        "FOR EACH ROW EXECUTE FUNCTION acts()",
    )
    outcome = tried(pulled, table, session, update(a=SECRET))
    assert isinstance(outcome, RowRefused)
    assert outcome.sentence == "table public.parts does not take what the item says: closed on Sundays"


def test_what_is_raised_at_the_commit_itself_undoes_row_and_record(pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    pulled.run(
        function("RAISE EXCEPTION 'at the very end';"),
        "CREATE CONSTRAINT TRIGGER acts AFTER UPDATE ON parts DEFERRABLE FOR EACH ROW EXECUTE FUNCTION acts()",
        "CREATE FUNCTION defers() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN NEW; END $$",
        "CREATE TRIGGER a_defers BEFORE UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION defers()",
    )
    outcome = tried(pulled, table, session, update(a="x"))
    assert isinstance(outcome, RowRefused)
    assert "at the very end" in outcome.sentence
    assert pulled.one("SELECT a FROM parts WHERE id = 1") is None


def test_a_trigger_that_lacks_a_privilege_parks_the_row(pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"], "CREATE TABLE audit (a text)")
    pulled.run(
        function("INSERT INTO audit VALUES (NEW.a); RETURN NEW;"),
        "CREATE TRIGGER acts BEFORE UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION acts()",
    )
    outcome = tried(pulled, table, session, update(a="x"))
    assert isinstance(outcome, RowRefused)
    assert "permission denied for table audit" in outcome.sentence


def test_a_trigger_that_gives_the_row_another_key_parks_it(pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    pulled.run(
        function("NEW.id := 77; RETURN NEW;"),
        "CREATE TRIGGER acts BEFORE UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION acts()",
    )
    outcome = tried(pulled, table, session, update(a="x"))
    assert isinstance(outcome, RowRefused)
    assert "changes the row's key" in outcome.sentence


def test_a_rule_in_the_place_of_the_update_parks_the_row(pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    pulled.run("CREATE RULE instead AS ON UPDATE TO parts DO INSTEAD NOTHING")
    outcome = tried(pulled, table, session, update(a="x"))
    assert isinstance(outcome, RowRefused)
    assert 'cannot perform UPDATE RETURNING on relation "parts"' in outcome.sentence


POLICIES = (
    "ALTER TABLE parts ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY shown ON parts FOR SELECT USING (id < 5)",
    "CREATE POLICY made ON parts FOR INSERT WITH CHECK (a <> 'forbidden')",
    "CREATE POLICY kept ON parts FOR UPDATE USING (id <> 3) WITH CHECK (a <> 'forbidden')",
    "CREATE POLICY stays ON parts FOR DELETE USING (id <> 1)",
)


def test_row_security_lets_pass_or_parks(pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"], rows="(1), (2), (3), (7)")
    pulled.run(*POLICIES)
    violates = 'new row violates row-level security policy for table "parts"'
    for act, key, words in (
        (update(a="forbidden"), "1", violates),
        (insert(id="4", a="forbidden"), None, violates),
        (insert(id="8", a="allowed"), None, violates),  # a row that it could not see afterwards
        (DeleteRow(GONE), "1", "0 rows were touched in place of one"),
    ):
        outcome = tried(pulled, table, session, act, place(key))
        assert isinstance(outcome, RowRefused), act
        assert words in outcome.sentence
    assert isinstance(tried(pulled, table, session, update(a="allowed")), Committed)
    assert isinstance(tried(pulled, table, session, insert(id="4", a="allowed"), place(None)), Committed)
    assert isinstance(tried(pulled, table, session, DeleteRow(GONE), place("2")), Committed)


@pytest.mark.parametrize(("key", "hidden"), [("3", True), ("7", True), ("99", False)])
def test_a_row_that_only_the_reader_sees_is_refused_and_not_absent(key: str, hidden: bool, pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"], rows="(1), (2), (3), (7)")
    pulled.run(*POLICIES)
    decides = Decides(LeaveRow())
    session.apply_row(table, place(key), decides)
    assert (decides.found.row, decides.found.hidden) == (None, hidden)
    outcome = tried(pulled, table, session, NoteRow(RECORD), place(key))
    assert isinstance(outcome, RowRefused) is hidden
    if isinstance(outcome, RowRefused):
        assert "row security lets only the reader see this row" in outcome.sentence


def test_a_reader_that_row_security_holds_back_is_no_answer(pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    pulled.run(*POLICIES, f"ALTER ROLE {pulled.reader} NOBYPASSRLS")
    outcome = session.apply_row(table, place("7"), Decides(LeaveRow()))
    assert isinstance(outcome, NotPrepared)
    assert outcome.error.code == "row_security"


@pytest.mark.parametrize(
    ("revoke", "act", "words"),
    [
        ("UPDATE (a) ON parts", update(a="x"), "permission denied for table parts"),
        ("INSERT (a) ON parts", insert(id="9", a="x"), "permission denied for table parts"),
        ("DELETE ON parts", DeleteRow(GONE), "permission denied for table parts"),
        ("SELECT (a) ON parts", LeaveRow(), "permission denied for table parts"),
        ("USAGE ON SCHEMA rowtide_pull", LeaveRow(), "permission denied for schema rowtide_pull"),
        ("UPDATE ON rowtide_pull.applied", LeaveRow(), "permission denied for table applied"),
        ("INSERT ON rowtide_pull.applied", update(a="x"), "permission denied for table applied"),
    ],
)
def test_a_missing_right_is_no_rows_fault(revoke: str, act: Act, words: str, pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    pulled.run(f"REVOKE {revoke} FROM {pulled.puller}")
    outcome = session.apply_row(table, place("9" if isinstance(act, type(insert())) else "1"), Decides(act))
    assert isinstance(outcome, NotPrepared)
    assert words in outcome.error.sentence
    assert outcome.error.code == "no_privilege"


@pytest.mark.parametrize(
    "statement",
    ["DROP SCHEMA rowtide_pull CASCADE", "ALTER TABLE parts RENAME TO pieces", "ALTER TABLE parts DROP COLUMN a"],
)
def test_a_table_that_is_not_there_any_more_is_no_rows_fault(statement: str, pulled: PulledTable) -> None:
    session, table = prepared(pulled, "a text", ["a"])
    pulled.run(statement)
    outcome = session.apply_row(table, place("1"), Decides(update(a="x")))
    assert isinstance(outcome, NotPrepared)
    assert "does not exist" in outcome.error.sentence


def test_a_partitioned_table_takes_edits_that_move_rows_too(pulled: PulledTable) -> None:
    pulled.run(
        "CREATE TABLE parts (id int, region text, a text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('EU')",
        "CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('US')",
        "INSERT INTO parts VALUES (1, 'EU', 'x'), (2, 'US', 'y')",
    )
    pulled.grant("public.parts", ["a"], ["id", "region"])
    session = pulled.session()
    table = pulled.table(session, pulled.compiled({"a": "A"}))
    outcome = session.apply_row(table, place("1|EU"), Decides(update(a="z")))
    assert isinstance(outcome, Committed)
    assert outcome.row == ("1", "EU", "z")
    taken = session.apply_row(table, place("2|US"), Decides(insert(id="2", region="US", a="z")))
    assert taken == KeyTaken()
    lost = session.apply_row(table, place(None), Decides(insert(id="3", region="JP", a="z")))
    assert isinstance(lost, RowRefused)
    assert 'no partition of relation "parts" found for row' in lost.sentence


def test_a_key_is_its_exact_text_whatever_its_type_takes_for_equal(pulled: PulledTable) -> None:
    pulled.run("CREATE TABLE parts (code numeric PRIMARY KEY, a text)", "INSERT INTO parts VALUES (1.50, 'x')")
    pulled.grant("public.parts", ["a"], ["code"])
    session = pulled.session()
    table = pulled.table(session, pulled.compiled({"a": "A"}))
    decides = Decides(LeaveRow())
    session.apply_row(table, place("1.5"), decides)
    assert (decides.found.row, decides.found.absent_at is not None) == (None, True)  # another row to us
    assert session.apply_row(table, place("1.5"), Decides(insert(code="1.5", a="x"))) == KeyTaken()
    assert isinstance(session.apply_row(table, place("1.50"), Decides(update(a="z"))), Committed)
    unfit = session.apply_row(table, place("no number"), Decides(LeaveRow()))
    assert isinstance(unfit, RowRefused)
    assert "no number" not in unfit.sentence
