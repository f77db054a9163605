"""Connection strings and errors in our words."""

import psycopg
import pytest
from psycopg import conninfo

from connectors.postgres.connections import address, connect_error, source_conninfo, sqlstate_error
from rowtide.errors import RowtideError, SourceRefused, SourceUnavailable

DSN = "postgresql://u:hush@db.example:6432/shop"


def test_pinned_settings_join_the_ones_of_the_dsn() -> None:
    given = conninfo.conninfo_to_dict(source_conninfo(f"{DSN}?options=-c%20role%3Dx", "rowtide"))
    options = given["options"]
    assert isinstance(options, str)
    assert options.startswith("-c role=x -c TimeZone=UTC -c DateStyle=ISO")
    assert "-c bytea_output=hex" in options
    assert given["client_encoding"] == "UTF8"
    assert given["application_name"] == "rowtide"


def test_the_dsn_may_choose_its_own_timeouts() -> None:
    given = conninfo.conninfo_to_dict(source_conninfo(f"{DSN}?connect_timeout=9", "rowtide"))
    assert given["connect_timeout"] == "9"
    assert given["keepalives_idle"] == "15"


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [(DSN, "db.example:6432/shop"), ("user=u password=hush", "localhost:5432/u"), ("u:hush in the open", "?")],
)
def test_the_address_shows_no_secret(dsn: str, shown: str) -> None:
    assert address(dsn) == shown


def test_a_bad_dsn_is_not_quoted() -> None:
    with pytest.raises(SourceRefused) as refused:
        source_conninfo("u:hush in the open", "rowtide")
    assert "hush" not in f"{refused.value} {refused.value.__cause__} {refused.value.remedy}"


SAID = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '

CONNECTS: list[tuple[str, type[RowtideError], str]] = [
    (SAID + 'FATAL:  password authentication failed for user "u"', SourceRefused, "wrong_password"),
    (SAID + "Connection refused\n\tIs the server running on that host?", SourceUnavailable, "connection_refused"),
    (SAID + 'FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "u", no encryption', SourceRefused, "pg_hba"),
    (SAID + "FATAL:  permission denied to start WAL sender\nDETAIL: ...", SourceRefused, "no_replication_privilege"),
    (
        SAID + "FATAL:  must be superuser or replication role to start walsender",
        SourceRefused,
        "no_replication_privilege",
    ),
    (SAID + "FATAL:  sorry, too many clients already", SourceUnavailable, "too_many_connections"),
    (SAID + "FATAL:  the database system is shutting down", SourceUnavailable, "server_not_ready"),
    (SAID + 'FATAL:  database "shop" does not exist', SourceRefused, "no_such_database"),
    (SAID + "SSL error: certificate verify failed", SourceRefused, "tls"),
    (SAID + "FATAL:  Passwort-Authentifizierung fehlgeschlagen", SourceUnavailable, "connect_failed"),
    ("connection timeout expired", SourceUnavailable, "connect_timeout"),
    ("failed to resolve host 'db': Name or service not known", SourceUnavailable, "unknown_host"),
]


@pytest.mark.parametrize(("said", "kind", "code"), CONNECTS, ids=[case[2] + case[0][-12:] for case in CONNECTS])
def test_connect_errors(said: str, kind: type[RowtideError], code: str) -> None:
    error = connect_error(psycopg.OperationalError(said), DSN)
    assert (type(error), error.code) == (kind, code)
    assert error.sentence.startswith("PostgreSQL at db.example:6432/shop: ")
    assert "FATAL" not in error.sentence
    assert "\n" not in error.sentence


@pytest.mark.parametrize(
    ("sqlstate", "kind", "code"),
    [
        (None, SourceUnavailable, "connection_lost"),
        ("57P01", SourceUnavailable, "connection_lost"),
        ("57014", SourceUnavailable, "source_failed"),
        ("53300", SourceUnavailable, "source_failed"),
        ("55006", SourceUnavailable, "source_failed"),
        ("42501", SourceRefused, "no_privilege"),
        ("42P01", SourceRefused, "source_refused"),
    ],
)
def test_statement_errors(sqlstate: str | None, kind: type[RowtideError], code: str) -> None:
    error = sqlstate_error(sqlstate, "said", "doing it")
    assert (type(error), error.code) == (kind, code)


def test_a_data_exception_does_not_quote_the_value() -> None:
    assert "hush" not in str(sqlstate_error("22P02", 'invalid input syntax for type integer: "hush"', "reading"))
