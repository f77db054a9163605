"""plan, apply and doctor against real databases and the simulator."""

import psycopg

from tests.e2e.conftest import Simulator
from tests.integration.control.desk import SYNC, Desk
from tests.integration.graph.conftest import make_lists, settings_for

LISTS = {"Parts EU", "Parts US", "Parts Other"}


def test_plan_changes_nothing_and_says_everything(desk: Desk, simulator: Simulator) -> None:
    found = desk.type("plan", "--json").json
    assert found["definition"] == {"applied": None, "changes": ["nothing is applied yet: everything is new"]}
    assert found["state"]
    create, slot = found["sources"]["erp"]["statements"]
    assert create.startswith('CREATE PUBLICATION "rowtide_erp" FOR TABLE')
    assert slot.startswith("SELECT pg_create_logical_replication_slot")
    assert "make list 'Parts EU'" in found["graphs"]["contoso"]["work"]
    assert {load["list"]: load["writes"] for load in found["first_load"]} == dict.fromkeys(LISTS, 10)
    assert sum(load["ru"] for load in found["first_load"]) == 60
    assert desk.sql("SELECT count(*) FROM pg_publication") == [(0,)]
    assert not LISTS & {one["displayName"] for one in simulator.ask("lists")["lists"]}
    text = desk.type("plan")
    assert text.code == 0
    assert "of the day's quota" in text.out.lower()
    assert "whoever may read the site may read them" in text.out


def test_plan_and_apply_say_who_can_read_lists_that_are_made(desk: Desk, simulator: Simulator) -> None:
    (said,) = desk.type("plan", "--json").json["readers"]
    assert said.startswith("lists that are made in contoso.sharepoint.com:/sites/ops have its permissions")
    assert desk.type("apply", "--yes", "--upgrade", "--json").json["readers"] == [said]
    assert desk.type("apply", "--yes", "--json").json["readers"] == []
    desk.write(SYNC.replace("US: Parts US", "US: Parts America"))
    assert desk.type("plan", "--json").json["readers"] == []  # it is renamed
    desk.write(SYNC.replace("US: Parts US", "US: Parts US, JP: Parts JP"))
    assert f"note: {said}" in desk.type("apply", "--yes").out.splitlines()


def test_apply_needs_the_state_schema(desk: Desk, simulator: Simulator) -> None:
    done = desk.type("apply", "--yes")
    assert done.code == 1
    assert "rowtide db upgrade" in done.err


def test_apply_without_a_yes_does_nothing(desk: Desk, simulator: Simulator) -> None:
    done = desk.spawn("apply", "--upgrade")
    assert done.code == 2
    assert "error not_confirmed: " in done.err
    assert desk.sql("SELECT count(*) FROM pg_publication") == [(0,)]


def test_apply_then_again_then_a_change(desk: Desk, simulator: Simulator) -> None:
    first = desk.type("apply", "--yes", "--upgrade", "--json").json
    assert (first["version"], first["changed"]) == (1, True)
    lists = {one["displayName"]: one for one in simulator.ask("lists")["lists"]}
    assert set(lists) >= LISTS
    assert {"Title", "Note", "Quantity", "RowtideKey"} <= {column["name"] for column in lists["Parts EU"]["columns"]}
    assert desk.sql("SELECT slot_name::text FROM pg_replication_slots WHERE slot_name = %s", desk.slot) == [
        (desk.slot,)
    ]

    again = desk.type("apply", "--yes", "--json").json
    assert (again["version"], again["changed"], again["graphs"], again["sources"]) == (
        1,
        False,
        {"contoso": []},
        {"erp": []},
    )

    desk.write(SYNC.replace("US: Parts US", "US: Parts America"))
    planned = desk.type("plan", "--json").json
    assert planned["definition"]["changes"] == ['~ syncs.parts.lists.map.US: "Parts US" -> "Parts America"']
    assert planned["graphs"]["contoso"]["work"] == ["list 'Parts US': rename it to 'Parts America'"]
    assert planned["left_alone"] == []
    third = desk.type("apply", "--yes", "--json").json
    assert (third["version"], third["changed"]) == (2, True)
    renamed = {one["displayName"]: one for one in simulator.ask("lists")["lists"]}
    assert renamed["Parts America"]["id"] == lists["Parts US"]["id"]
    assert LISTS - {"Parts US"} <= renamed.keys()

    desk.write(SYNC.replace(", US: Parts US", ""))
    assert any("Parts America" in line for line in desk.type("plan", "--json").json["left_alone"])


def test_apply_takes_over_no_list_with_a_strangers_items(desk: Desk, simulator: Simulator) -> None:
    desk.type("apply", "--yes", "--upgrade")
    simulator.edit(list="Parts EU", fields={"Title": "mine"}, user="Ann Person")
    assert desk.type("apply", "--yes").code == 0, "the list is ours, and an item of a person stops nobody"
    make_lists(settings_for(simulator), "Of others")
    simulator.edit(list="Of others", fields={"Title": "mine"}, user="Ann Person")
    desk.write(SYNC.replace("EU: Parts EU", "EU: Parts EU, APAC: Of others"))
    done = desk.type("apply", "--yes")
    assert done.code == 1
    assert done.err.startswith("error list_has_foreign_items: ")
    assert desk.state("SELECT max(version) FROM rowtide.definition") == [(1,)]


def test_two_syncs_may_not_share_a_list(desk: Desk, simulator: Simulator) -> None:
    second = SYNC.replace("  parts:", "  more:").lstrip("\n")
    desk.write(SYNC + second)
    done = desk.type("apply", "--yes", "--upgrade")
    assert done.code != 0
    assert "Parts EU" in done.err


def test_apply_while_graph_does_not_answer_changes_nothing(desk: Desk, simulator: Simulator) -> None:
    desk.type("db", "upgrade")
    simulator.close()
    done = desk.type("apply", "--yes")
    assert done.code == 1
    assert done.err.startswith("error identity_unavailable: ")
    assert desk.sql("SELECT count(*) FROM pg_publication") == [(0,)]


def test_doctor_before_and_after(desk: Desk, simulator: Simulator) -> None:
    before = desk.type("doctor", "--json")
    assert before.code == 3
    found = {(check["part"], check["name"], check["level"]) for check in before.json["checks"]}
    assert found >= {
        ("state", "schema", "failure"),
        ("source erp", "publication", "failure"),
        ("graph contoso", "token", "ok"),
        ("graph contoso", "lists", "warning"),
    }
    desk.type("apply", "--yes", "--upgrade")
    after = desk.type("doctor", "--json")
    checks = after.json["checks"]
    assert not [check for check in checks if check["level"] == "failure"]
    assert ("graph contoso", "lists", "ok") in {(check["part"], check["name"], check["level"]) for check in checks}


def test_doctor_tells_that_schema_public_of_the_state_database_is_open(applied: Desk) -> None:
    def found() -> list[str]:
        checks = applied.type("doctor", "--json").json["checks"]
        return [one["remedy"] for one in checks if (one["part"], one["name"]) == ("state", "public")]

    assert found() == []
    with psycopg.connect(applied.state_dsn, autocommit=True) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    assert found() == ["REVOKE CREATE ON SCHEMA public FROM PUBLIC;"]


def test_doctor_of_a_wrong_secret(desk: Desk, simulator: Simulator) -> None:
    found = desk.type("doctor", "--json", ROWTIDE_CLIENT_SECRET="wrong").json["checks"]
    (token,) = [check for check in found if check["name"] == "token"]
    assert token["level"] == "failure"
    assert "AADSTS7000215" in token["sentence"]
    assert "wrong" not in token["sentence"]


def test_doctor_tells_of_a_role_that_may_do_everything(applied: Desk) -> None:
    role = f"records_of_{applied.slot}"[:60]
    dsn = psycopg.conninfo.make_conninfo(applied.state_dsn, user=role, password="of-a-role")

    def found(dsn: str) -> list[str]:
        checks = applied.type("doctor", "--json", ROWTIDE_STATE_DSN=dsn).json["checks"]
        return [one["sentence"] for one in checks if (one["part"], one["name"]) == ("state", "rights")]

    assert found(applied.state_dsn) == ["The role postgres is superuser."]
    applied.state(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'of-a-role'")
    try:
        applied.state(f"GRANT USAGE ON SCHEMA rowtide TO {role}")
        applied.state(f"GRANT SELECT ON ALL TABLES IN SCHEMA rowtide TO {role}")
        assert found(dsn) == [f"The role {role} may also: make databases."]
        applied.state(f"ALTER ROLE {role} NOCREATEDB")
        assert found(dsn) == [f"The role {role} may do no more than is needed."]
        applied.state(f"ALTER SCHEMA rowtide OWNER TO {role}")
        assert f"The role {role} owns the schema of the records" in found(dsn)[0]
    finally:
        applied.state("ALTER SCHEMA rowtide OWNER TO postgres")
        applied.state(f"DROP OWNED BY {role}")
        applied.state(f"DROP ROLE {role}")
