"""init, validate, plan --sql and --grants."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from connectors import settings
from connectors.postgres import connections
from state.roles import ROLES
from tests.integration.control.desk import SYNC, Desk


def test_init_writes_what_validate_takes(desk: Desk) -> None:
    desk.config.unlink()
    assert desk.type("init").code == 0
    assert desk.type("validate", "--offline").code == 0
    again = desk.type("init")
    assert (again.code, again.out) == (2, "")
    assert again.err.startswith("error config_exists: ")


def test_init_proposes_fields_of_a_real_table(desk: Desk) -> None:
    desk.config.unlink()
    done = desk.type("init", "--dsn", "env:ROWTIDE_SOURCE_DSN", "--table", "public.parts", "--json")
    assert done.json["syncs"] == ["parts"]
    assert desk.source_dsn not in desk.config.read_text()
    checked = desk.type("validate", "--json")
    assert checked.json["valid"]
    assert checked.json["unreached"] == {}
    fields = settings.load(desk.config).definition.syncs["parts"].fields
    assert {column: field.kind for column, field in fields.items()} == {
        "name": "text",
        "note": "note",
        "quantity": "number",
        "price": "number",
        "active": "boolean",
        "made_at": "dateTime",
        "region": "text",
        "feels": "choice",
    }


def test_a_secret_file_is_looked_for_beside_the_definition(desk: Desk) -> None:
    """Wherever the command is typed; `init` reads it from there too."""
    secret = desk.directory / "secrets" / "dsn"
    secret.parent.mkdir()
    secret.touch(0o600)
    secret.write_text(desk.source_dsn)
    desk.config.write_text(desk.config.read_text().replace("env:ROWTIDE_SOURCE_DSN", "file:secrets/dsn"))
    assert desk.type("validate", "--json", ROWTIDE_SOURCE_DSN="").json["unreached"] == {}
    desk.config.unlink()
    assert desk.type("init", "--dsn", "file:secrets/dsn", "--table", "public.parts").code == 0
    assert '"file:secrets/dsn"' in desk.config.read_text()
    secret.unlink()
    assert f"{secret} cannot be read" in desk.type("validate", "--json").json["unreached"]["main"]


def test_init_of_a_table_that_is_not_there(desk: Desk) -> None:
    desk.config.unlink()
    done = desk.type("init", "--dsn", "env:ROWTIDE_SOURCE_DSN", "--table", "public.nothing")
    assert done.code == 1
    assert done.err.startswith("error table_missing: ")
    assert not desk.config.exists()


def test_validate_names_every_problem_with_its_line(desk: Desk) -> None:
    desk.write(SYNC.replace("name: Title", "nam: Title").replace("quantity: {field", "quantity: {fild"))
    done = desk.type("validate")
    assert (done.code, done.out) == (2, "")
    assert f"\n{desk.config}:20: " in done.err
    assert "did you mean 'field'?" in done.err
    desk.write(SYNC.replace("name: Title", "nam: Title"))
    done = desk.type("validate", "--json")
    assert done.code == 2
    (problem,) = done.json["problems"]
    assert problem.startswith(f"{desk.config}:18: ")
    assert "did you mean 'name'?" in problem


def test_validate_refuses_tables_that_cannot_be_carried(desk: Desk) -> None:
    desk.sql("CREATE TABLE child () INHERITS (parts)")
    desk.write(SYNC.replace("table: public.parts}", "table: public.parts, key: [name]}"))
    desk.sql("CREATE UNIQUE INDEX ON parts (name) WHERE id > 5")
    problems = sorted(desk.type("validate", "--json").json["problems"])
    assert [problem.startswith(f"{desk.config}:14: ") for problem in problems] == [True, True]
    assert "no unique index of public.parts keeps (name) unique" in problems[0]
    assert "tables inherit from public.parts" in problems[1]
    for words in (["plan"], ["apply", "--yes", "--upgrade"]):
        refused = desk.type(*words)
        assert refused.code == 2
        assert "tables inherit from public.parts" in refused.err
    desk.sql("DROP TABLE child")
    desk.sql("CREATE UNIQUE INDEX ON parts (name)")
    assert desk.type("validate").code == 0


def test_validate_without_the_source(desk: Desk) -> None:
    done = desk.type("validate", "--json", ROWTIDE_SOURCE_DSN="host=127.0.0.1 port=9 dbname=x user=x")
    assert done.code == 3
    assert "erp" in done.json["unreached"]


def test_a_missing_table_is_a_problem_of_the_definition(desk: Desk) -> None:
    desk.write(SYNC.replace("public.parts", "public.pieces"))
    done = desk.type("validate")
    assert done.code == 2
    assert f"\n{desk.config}:14: syncs.parts: there is no table public.pieces" in done.err


def test_a_definition_that_is_not_there(desk: Desk) -> None:
    desk.config.unlink()
    done = desk.spawn("status", "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == "no_definition"
    assert done.err.startswith("error no_definition: ")
    assert "Traceback" not in done.err


def test_unknown_option_is_usage(desk: Desk) -> None:
    done = desk.spawn("status", "--frobnicate")
    assert (done.code, done.out) == (2, "")


def test_version_and_help_list_what_is_built(desk: Desk) -> None:
    assert desk.type("--version").out.startswith("rowtide ")
    shown = desk.type("--help").out
    built = "demo init validate plan apply run status doctor slot pause resume reconcile parked conflicts explain db"
    for name in built.split():
        assert f"  {name} " in shown
    for name in ("serve", "secrets", "uninstall", "rehearse"):
        assert name not in shown


def statements(script: list[str]) -> list[str]:
    """The statements of a script, one by one, as psql would send them."""
    found: list[str] = []
    lines: list[str] = []
    for line in script:
        if line.startswith("\\"):
            break  # psql goes on in the state database
        lines.append(line.partition("--")[0])
        if lines[-1].rstrip().endswith(";"):
            found.append("\n".join(lines))
            lines = []
    return found


@pytest.fixture
def roles(desk: Desk) -> Iterator[None]:
    """What the script makes goes afterwards."""
    yield
    for role in ("rowtide_admin", "rowtide_reader", "shop_owner"):
        desk.sql(
            f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN "
            f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}; END IF; END $$"
        )


@pytest.fixture
def shop_owner(desk: Desk, roles: None) -> str:
    """A role that owns the table."""
    desk.sql("CREATE ROLE shop_owner")
    desk.sql("ALTER TABLE parts OWNER TO shop_owner")
    return "shop_owner"


MEMBERS = """
SELECT m.rolname::text, r.rolname::text FROM pg_roles m CROSS JOIN pg_roles r
 WHERE m.rolname IN ('rowtide_admin', 'rowtide_reader') AND m.oid <> r.oid AND pg_has_role(m.oid, r.oid, 'MEMBER')
"""


@pytest.mark.parametrize(
    "owner", ["", "CREATE ROLE shop_owner CREATEROLE", "CREATE ROLE shop_owner IN ROLE pg_write_server_files"]
)
def test_the_dbas_script_makes_nobody_a_superuser(desk: Desk, roles: None, owner: str) -> None:
    """The table is the superuser's own, or of a role whose members can become one."""
    if owner:
        desk.sql(owner)
        desk.sql("ALTER TABLE parts OWNER TO shop_owner")
    for statement in statements(desk.type("plan", "--sql", "--json").json["sql"]):
        if not any(role in statement for role in ROLES):
            desk.sql(statement.replace("%", "%%"))
    assert desk.sql(MEMBERS) == []
    desk.sql("ALTER ROLE rowtide_admin PASSWORD 'a'")
    desk.sql("CREATE TABLE more (id int PRIMARY KEY, name text); GRANT SELECT ON more TO rowtide_admin")
    more = SYNC.replace("  parts:", "  more:").replace("public.parts", "public.more").replace("quantity:", "id:")
    lists = "lists: {by: region, map: {EU: Parts EU, US: Parts US}, default: Parts Other}"
    desk.write(
        SYNC + more.replace(lists, "list: More").replace("      note: {field: Note, as: note}\n", "").lstrip("\n")
    )
    admin = make_conninfo(desk.source_dsn, user="rowtide_admin", password="a")
    faults = desk.type("plan", "--json", ROWTIDE_SOURCE_DSN=admin).json["sources"]["erp"]["faults"]
    said = [fault["remedy"] for fault in faults]
    assert not any('GRANT "postgres"' in one or 'GRANT "shop_owner"' in one for one in said), said
    (alter,) = [one for one in said if "ADD TABLE" in one]
    desk.sql(alter.partition(": ")[2])
    assert desk.sql("SELECT count(*) FROM pg_publication_tables WHERE pubname = 'rowtide_erp'") == [(2,)]


def test_the_dbas_script_is_enough_and_least(desk: Desk, shop_owner: str) -> None:
    """Its statements run as they are; then the reader can stream and read, and do no more."""
    with psycopg.connect(desk.source_dsn, autocommit=True) as connection:
        for statement in statements(desk.type("plan", "--sql", "--json").json["sql"]):
            if not any(role in statement for role in ROLES):
                connection.execute(statement.encode())
        assert f'GRANT "{shop_owner}" TO "rowtide_admin";' in desk.type("plan", "--sql").out
        connection.execute("ALTER ROLE rowtide_reader PASSWORD 'r'")
    base = conninfo_to_dict(desk.source_dsn)
    reader = make_conninfo("", **{**base, "user": "rowtide_reader", "password": "r"})
    assert desk.type("slot", "show", "--json", ROWTIDE_SOURCE_DSN=reader).json["lost"] is None
    assert desk.type("slot", "create", ROWTIDE_SOURCE_DSN=reader).code == 0
    with connections.open_unproven(reader) as as_reader:
        assert as_reader.execute("SELECT count(*) FROM public.parts").fetchone() == (30,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_reader.execute("DELETE FROM public.parts")
    assert desk.type("slot", "drop", "--yes", ROWTIDE_SOURCE_DSN=reader).code == 0


def test_the_script_has_placeholders_when_the_source_does_not_answer(desk: Desk) -> None:
    done = desk.type("plan", "--sql", ROWTIDE_SOURCE_DSN="host=127.0.0.1 port=9 dbname=x user=x")
    assert done.code == 0
    assert 'GRANT <owner of the tables> TO "rowtide_admin";' in done.out
    assert "was not asked" in done.err


def test_graph_grants_name_app_site_and_role(desk: Desk) -> None:
    (grant,) = desk.type("plan", "--grants", "--json").json["grants"]
    assert grant["permission"] == "Sites.Selected"
    assert '"roles": ["manage"]' in grant["requests"][0]
    assert "contoso.sharepoint.com:/sites/ops" in grant["requests"][0]
