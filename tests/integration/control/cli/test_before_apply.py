"""What `validate`, `plan`, `apply` and `doctor` say before anything is changed, and that nothing is changed then."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from demo.postgres import Cluster
from tests.e2e.conftest import Simulator
from tests.integration.control.desk import SYNC, TABLE, Desk

UNREADABLE = {
    "unreachable": "host=127.0.0.1 port=9 dbname=x user=x",
    "secret missing": "",
    "malformed": "host=localhost dbname='x",
}


def test_a_source_that_could_not_be_asked_is_a_finding(desk: Desk, simulator: Simulator) -> None:
    for why, dsn in UNREADABLE.items():
        validated = desk.type("validate", "--json", ROWTIDE_SOURCE_DSN=dsn)
        assert validated.code == 3, why
        assert list(validated.json["unreached"]) == ["erp"]
        planned = desk.type("plan", "--json", ROWTIDE_SOURCE_DSN=dsn)
        assert planned.code == 3, why
        assert planned.json["unseen"] == ["source erp"]
        assert desk.type("plan", ROWTIDE_SOURCE_DSN=dsn).code == 3, why
        assert desk.type("validate", "--offline", ROWTIDE_SOURCE_DSN=dsn).code == 0, why


def test_records_and_tenants_that_could_not_be_asked_are_findings(desk: Desk) -> None:
    planned = desk.type("plan", "--json", ROWTIDE_STATE_DSN="")
    assert planned.code == 3
    assert planned.json["unseen"] == ["state database", "graph contoso"]
    assert desk.type("validate", ROWTIDE_STATE_DSN="").code == 0, "it needs no records"


# --- what would stop apply ------------------------------------------------------------------------------------------


def test_apply_stops_before_a_server_that_cannot_decode(
    desk: Desk, simulator: Simulator, new_cluster: Callable[..., Cluster]
) -> None:
    dsn = new_cluster(wal_level="replica").dsn("postgres")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLE)
        assert desk.type("plan", ROWTIDE_SOURCE_DSN=dsn).code == 3
        done = desk.type("apply", "--yes", "--upgrade", ROWTIDE_SOURCE_DSN=dsn)
        assert done.code == 1
        assert done.err.startswith("error source_unfit: source erp: wal_level is replica")
        assert connection.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)
    assert_nothing_made(desk, simulator)


@pytest.fixture
def poor(desk: Desk) -> Iterator[str]:
    """A role that may log in and nothing else, with a name that has to be quoted."""
    name = f'poor "%s" {conninfo_to_dict(desk.source_dsn)["dbname"]}'
    quoted = '"' + name.replace('"', '""') + '"'
    desk.sql(f"CREATE ROLE {quoted} LOGIN PASSWORD 'p'")
    desk.sql("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    yield make_conninfo(desk.source_dsn, user=name, password="p")
    desk.sql(f"REASSIGN OWNED BY {quoted} TO postgres")
    desk.sql(f"DROP OWNED BY {quoted}")
    desk.sql(f"DROP ROLE {quoted}")


def test_apply_prints_the_grants_that_it_needs(desk: Desk, simulator: Simulator, poor: str) -> None:
    """With just these grants it goes through."""
    done = desk.type("apply", "--yes", "--upgrade", ROWTIDE_SOURCE_DSN=poor)
    assert done.code == 1
    assert done.err.startswith("error source_unfit: source erp: ")
    assert "rowtide doctor" not in done.err
    assert_nothing_made(desk, simulator)
    faults = desk.type("plan", "--json", ROWTIDE_SOURCE_DSN=poor).json["sources"]["erp"]["faults"]
    statement = r"(?:GRANT|ALTER ROLE|CREATE PUBLICATION) [^;]*;"
    grants = [grant for fault in faults for grant in re.findall(statement, fault["remedy"])]
    assert not any(grant.startswith('GRANT "postgres"') for grant in grants)
    assert all(grant in done.err for grant in grants)
    for grant in grants:
        if "rds_replication" not in grant:
            desk.sql(grant)
    done = desk.type("apply", "--yes", ROWTIDE_SOURCE_DSN=poor)
    assert done.code == 0, done.err


def assert_nothing_made(desk: Desk, simulator: Simulator) -> None:
    """Neither a publication nor a slot, a list or a version."""
    assert desk.sql("SELECT count(*) FROM pg_publication") == [(0,)]
    assert desk.sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", desk.slot) == [(0,)]
    assert not any(one["displayName"].startswith("Parts") for one in simulator.ask("lists")["lists"])
    assert desk.state("SELECT count(*) FROM rowtide.definition") == [(0,)]


# --- what it writes to items that are there --------------------------------------------------------------------------


@pytest.fixture
def delivered(applied: Desk) -> Desk:
    """The desk with its definition in force and an item for each of its 30 rows."""
    applied.state(
        "INSERT INTO rowtide.ledger (sync, key, list_id, item_id, mapping_version, era, lsn, ordinal, xid, state) "
        "SELECT 'parts', i::text, 'Parts EU', i::text, 1, 1, 16, 0, 1, 'live' FROM generate_series(1, 30) i"
    )
    return applied


PRICE = "quantity: {field: Quantity, as: number}\n      price: {field: Price, as: number}"
CHANGES: dict[str, tuple[tuple[str, str], int]] = {
    "nothing": (("", ""), 0),
    "a new field": (("quantity: {field: Quantity, as: number}", PRICE), 30),
    "another kind": (("as: number", "as: text"), 30),
    "another column": (("quantity: {field: Quantity, as: number}", "price: {field: Quantity, as: number}"), 30),
    "a text as a note": (("as: note", "as: text"), 0),
    "a field less": (("      quantity: {field: Quantity, as: number}\n", ""), 0),
    "a list with another title": (("US: Parts US", "US: Parts America"), 0),
    "ten rows in another list": ((", US: Parts US", ""), 20),
    "ten rows that leave": (("    fields:", '    where: "id > 10"\n    fields:'), 10),
    "another site": (("/sites/ops", "/sites/other"), 60),
}


def test_plan_counts_writes_to_items_that_are_there(delivered: Desk) -> None:
    for name, ((before, after), writes) in CHANGES.items():
        assert before in SYNC
        delivered.write(SYNC.replace(before, after) if before else SYNC)
        loads = delivered.type("plan", "--json").json["first_load"]
        assert sum(load["rewrites"] for load in loads) == writes, name
        assert sum(load["writes"] for load in loads) == writes, name
        assert sum(load["ru"] for load in loads) == 2 * writes, name
    assert "up to 20" in delivered.type("plan").out


# --- tenants --------------------------------------------------------------------------------------------------------


def token_check(desk: Desk) -> Any:
    """What doctor says of the token."""
    (check,) = [one for one in desk.type("doctor", "--json").json["checks"] if one["name"] == "token"]
    return check


def test_a_ca_file_that_is_not_there_is_called_that(desk: Desk, simulator: Simulator) -> None:
    desk.graph["ca_file"] = str(desk.directory / "nowhere.pem")
    desk.write()
    assert "nowhere.pem cannot be used: No such file or directory" in token_check(desk)["sentence"]
    done = desk.type("apply", "--yes", "--upgrade")
    assert done.err.startswith("error ca_file: ")
    desk.graph["ca_file"] = str(desk.config)
    desk.write()
    assert "it holds no certificates" in token_check(desk)["sentence"]


def test_a_certificate_that_is_not_accepted_is_called_that(desk: Desk, simulator: Simulator) -> None:
    desk.graph["ca_file"] = ""
    desk.write()
    check = token_check(desk)
    assert check["level"] == "failure"
    assert "the certificate of the token endpoint https://127.0.0.1:" in check["sentence"]
    assert "is not accepted: " in check["sentence"]
    done = desk.type("apply", "--yes", "--upgrade")
    assert done.err.startswith("error identity_certificate: ")


def test_doctor_names_missing_lists_once(desk: Desk, simulator: Simulator) -> None:
    checks = desk.type("doctor", "--json").json["checks"]
    (missing,) = [one["sentence"] for one in checks if one["name"] == "lists"]
    assert "3 lists with their columns: 'Parts EU', 'Parts US', 'Parts Other'" in missing
