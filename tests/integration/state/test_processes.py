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


def test_a_process_is_dead_when_it_neither_beats_nor_holds_its_lock(state_dsn: str) -> None:
    """One that hangs keeps its lock, and one whose connection broke beats again: the rows stay theirs."""
    with database.connect(state_dsn) as connection, database.connect(state_dsn) as other:
        for process_id, roles in ((0, {"deliver"}), (1, {"deliver", "capture"}), (2, {"deliver"})):
            processes.beat(connection, process_id, roles, 42, "here", datetime.now(UTC), {})
        assert processes.find_dead(connection) == []
        connection.execute("UPDATE rowtide.process SET seen_at = seen_at - interval '4 s' WHERE process_id < 2")
        both = [processes.name_of(0, {"deliver"}), processes.name_of(1, {"capture", "deliver"})]
        assert sorted(processes.find_dead(connection)) == sorted(both)
        for name in both:
            other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        assert processes.find_dead(connection) == []
        other.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [both[1]])
        assert processes.find_dead(connection) == [both[1]]
