"""What a DSN may look like, what is said of one, and how a server elsewhere is met."""

import pytest
from psycopg import conninfo

from state import dsn
from tests.malformed_dsns import MALFORMED

WELL = (
    ("postgresql://u:hush@db.example:6432/shop", "db.example:6432/shop"),
    ("postgres://u:hu#s?h@db.example/shop?sslmode=require", "db.example:5432/shop"),
    ("postgresql://u:hu%40s%2Fh@[::1]:5433/shop", "::1:5433/shop"),
    ("postgresql://u@%2Ftmp%2Fpg/shop?options=-c%20role%3Dx", "/tmp/pg:5432/shop"),
    ("postgresql://one,two:5433/shop?target_session_attrs=read-write&connect_timeout=9", "one,two:5432,5433/shop"),
    ("postgresql:///shop?host=/tmp/pg&password=hu@sh", "/tmp/pg:5432/shop"),
    ("host=my_db port=5432 dbname='a b' user=u password='hu sh@x/y:z'", "my_db:5432/a b"),
    ("user=u password=hush", "localhost:5432/u"),
)


@pytest.mark.parametrize(("text", "address"), WELL)
def test_the_address_shows_no_secret(text: str, address: str) -> None:
    found = dsn.parse(text)
    assert isinstance(found, dsn.Dsn)
    assert found.address == address
    assert "hu" not in f"{found} {found!r}"


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_malformed_is_refused_and_not_quoted(text: str) -> None:
    found = dsn.parse(text)
    assert isinstance(found, dsn.MalformedDsn)
    assert not any(part in found.problem for part in ("geheim", "Pa55"))


def settings(text: str) -> dict[str, object]:
    """What is connected with."""
    found = dsn.parse(text)
    assert isinstance(found, dsn.Dsn)
    return dict(conninfo.conninfo_to_dict(found.conninfo({"connect_timeout": 5}, "-c a=1 {}", client_encoding="UTF8")))


@pytest.mark.parametrize(
    "text",
    ["host=localhost", "host=127.0.0.1", "hostaddr=::1", "host=/tmp", "dbname=x", "service=x", "host=127.0.0.1,::1"],
)
def test_a_server_on_this_machine_is_met_as_libpq_does(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    assert not {"sslmode", "require_auth"} & set(settings(text))


@pytest.mark.parametrize(
    "text", ["host=db", "host=10.0.0.1", "host=127.0.0.1,db", "host=db hostaddr=127.0.0.1", "hostaddr=10.0.0.1"]
)
def test_a_server_elsewhere_has_to_prove_itself_and_is_told_no_password(text: str) -> None:
    found = settings(text)
    assert (found["sslmode"], found["require_auth"]) == ("verify-full", "scram-sha-256")


def test_the_environment_may_name_a_server_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    assert settings("dbname=x")["sslmode"] == "verify-full"


def test_the_dsn_may_say_otherwise() -> None:
    found = settings("host=db sslmode=disable require_auth=md5 connect_timeout=9 options='-c b=2'")
    assert (found["sslmode"], found["require_auth"], found["connect_timeout"]) == ("disable", "md5", "9")
    assert found["options"] == "-c a=1 -c b=2"
    assert settings("host=db sslcert=/c")["require_auth"] == "scram-sha-256,none"
