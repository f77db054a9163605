"""Beats of running processes."""

from datetime import UTC, datetime

from state import database, processes


def test_a_process_beats_and_leaves(state_dsn: str) -> None:
    started = datetime.now(UTC)
    with database.connect(state_dsn) as connection:
        for lsn in (1, 2):
            health = {"source": {"slot": {"lsn": lsn, "at": started}}}
            processes.beat(connection, 0, ["deliver", "capture"], 42, "here", started, health)
        processes.beat(connection, 1, ["deliver"], 43, "there", started, {})
        first, second = processes.read(connection)
        assert (first.process_id, first.roles, first.pid, first.host) == (0, ["capture", "deliver"], 42, "here")
        assert first.health["source"]["slot"]["lsn"] == 2
        assert 0 <= first.age_s < 60
        assert second.roles == ["deliver"]
        processes.leave(connection, 0, {"capture", "deliver"})
        assert [process.process_id for process in processes.read(connection)] == [1]
