"""Sessions on real servers: which of them is taken for the source, and when a session is opened anew."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from connectors.postgres import slots
from connectors.postgres.connections import open_unproven
from connectors.postgres.server_proof import read_server
from connectors.postgres.source_sessions import Source, SourceSessions, open_proven
from demo.postgres import Cluster
from rowtide.errors import SourceUnavailable
from state import cursors, database, processes, slot_server
from state.slot_server import SlotServer
from tests.integration.postgres.standby import standby_of

PROBLEM = "source_differs"


@dataclass
class OneRecord:
    """What is on record of the source's server."""

    server: SlotServer | None

    def read(self, _slot: str) -> SlotServer | None:
        return self.server

    def close(self) -> None:
        """Nothing to close."""

    def change(self, **values: Any) -> None:
        """Other values are on record from now on."""
        assert self.server is not None
        self.server = replace(self.server, **values)


@pytest.fixture
def records(source: Any) -> OneRecord:
    slots.ensure_slot(source.conn, source.slot, source.publication)
    found = read_server(source.conn, source.slot)
    return OneRecord(SlotServer(source.slot, 1, found.system_id, found.timeline, found.lsn, "db1:5432/shop", None))


@pytest.fixture
def sessions(source: Any, records: OneRecord) -> Any:
    found = SourceSessions("test", lambda _name: Source(source.dsn, source.slot), records)
    yield found
    found.close()


def refused(sessions: SourceSessions) -> str:
    """The sentence with which a session is refused; the problem is shown."""
    with pytest.raises(SourceUnavailable) as raised:
        sessions.get("erp")
    assert raised.value.code == PROBLEM
    assert sessions.problems() == {"erp": raised.value}
    return raised.value.sentence


def test_a_session_is_proven_once_and_anew_in_each_incarnation(sessions: SourceSessions, records: OneRecord) -> None:
    first = sessions.get("erp")
    assert sessions.get("erp") is first
    records.change(incarnation=2)
    second = sessions.get("erp")
    assert second is not first
    assert first.closed
    records.change(system_id="")  # a person accepts another server: this one may not be it
    assert "a person has accepted another server" in refused(sessions)
    assert second.closed
    records.change(system_id="7000000000000000001")
    assert "its system id is " in refused(sessions)


def test_a_session_whose_connection_was_lost_is_made_again(sessions: SourceSessions) -> None:
    first = sessions.get("erp")
    first.close()
    assert sessions.get("erp") is not first


def test_before_the_first_cursor_any_server_will_do(sessions: SourceSessions, records: OneRecord) -> None:
    records.server = None
    assert not sessions.get("erp").closed


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ({"system_id": "7000000000000000001"}, "its system id is "),
        ({"timeline": 2}, "it is on timeline 1, below 2"),
        ({"lsn": 1 << 60}, "its WAL ends at "),
        ({"slot": "not_there"}, "it has no slot not_there"),
        ({"walsender_pid": 1}, "is read by nobody, not by PID 1 as by capture"),
    ],
)
def test_another_server_is_refused_and_the_right_one_taken_at_once(
    recorded: dict[str, Any], words: str, sessions: SourceSessions, records: OneRecord
) -> None:
    right = records.server
    records.change(**recorded)
    sentence = refused(sessions)
    assert words in sentence
    assert "(at db1:5432/shop)" in sentence
    records.server = right
    assert not sessions.get("erp").closed
    assert sessions.problems() == {}


def test_the_walsender_that_capture_reads_proves_the_server(
    source: Any, new_tap: Callable[..., Any], sessions: SourceSessions, records: OneRecord
) -> None:
    tap = new_tap(source)
    tap.streaming()
    records.change(walsender_pid=tap.reader.walsender_pid)
    assert not sessions.get("erp").closed


def test_what_is_on_record(state_dsn: str) -> None:
    beat: dict[str, Any] = {"source": {"s": {"walsender_pid": 41}}}
    with database.connect(state_dsn) as connection:
        assert slot_server.read(connection, "s") is None
        cursors.open_slot(connection, cursors.SlotCursor("s", 3, 70, "7", 2, 70, 16400, address="db1:5432/shop"))
        assert slot_server.read(connection, "s") == SlotServer("s", 3, "7", 2, 70, "db1:5432/shop", None)
        connection.execute("UPDATE rowtide.slot_cursor SET staged_lsn = 90")
        cursors.note_address(connection, "s", "db2:5432/shop")
        [(now,)] = connection.execute("SELECT now()").fetchall()
        processes.beat(connection, 0, ["capture"], 1, "host", now, beat)
        assert slot_server.read(connection, "s") == SlotServer("s", 3, "7", 2, 90, "db2:5432/shop", 41)
        connection.execute("UPDATE rowtide.process SET seen_at = seen_at - interval '1 minute'")
        gone = slot_server.read(connection, "s")
        assert gone is not None
        assert gone.walsender_pid is None


def test_a_standby_is_taken_for_what_it_replays(
    new_cluster: Callable[..., Cluster], reachable_path: Path, until: Callable[..., Any]
) -> None:
    """It has no slot; promoted, it is on a new timeline from the first moment, before any checkpoint."""
    primary = new_cluster(wal_level="logical")
    dsn = primary.create_database("shop")
    standby = standby_of(primary, reachable_path / "standby")
    standby.start()
    try:
        with open_unproven(dsn) as there, open_unproven(standby.dsn("shop")) as here:
            there.execute("SELECT pg_logical_emit_message(false, 'test', 'x')")
            there.execute("SELECT pg_switch_wal()")
            on_primary = read_server(there, None)
            server = SlotServer("s", 1, on_primary.system_id, on_primary.timeline, on_primary.lsn, "db1", 7)
            sessions = SourceSessions("test", lambda _: Source(standby.dsn("shop"), "s"), OneRecord(server))
            assert not sessions.get("erp").closed
            sessions.close()
            found = read_server(here, "s")
            assert (found.standby, found.timeline, found.slot) == (True, 1, None)
            assert found.system_id == on_primary.system_id
            here.execute("SELECT pg_promote(true, 30)")
            promoted = until(lambda: (one := read_server(here, None)) and not one.standby and one, "promoted")
            assert promoted.timeline == 2
    finally:
        standby.kill()


def test_a_failed_proof_closes_its_connection(source: Any, until: Callable[..., Any]) -> None:
    def fail() -> None:
        raise RuntimeError("the records are not there")

    with pytest.raises(RuntimeError):
        open_proven(source.dsn, "rowtide left open", fail)
    opened = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowtide left open'"
    until(lambda: source.one(opened) == 0, "the connection has gone")
