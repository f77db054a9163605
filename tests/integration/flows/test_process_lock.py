"""Who a process is, when two claim to be it and when the lock's connection breaks."""

import pytest

from flows.process_lock import ProcessLock
from rowtide.errors import StateRefused, StateUnavailable
from state import database

ROLES = {"capture", "deliver"}


def test_a_second_process_of_a_name_is_refused_until_the_first_is_gone(state_dsn: str) -> None:
    first, second = ProcessLock(state_dsn, ROLES, 0), ProcessLock(state_dsn, ROLES, 0)
    first.hold()
    with pytest.raises(StateRefused, match="id 0"):
        second.hold()
    first.close()
    second.hold()
    second.close()


def test_other_roles_and_other_ids_are_other_processes(state_dsn: str) -> None:
    locks = [ProcessLock(state_dsn, ROLES, 0), ProcessLock(state_dsn, ROLES, 1), ProcessLock(state_dsn, {"deliver"}, 0)]
    for lock in locks:
        lock.hold()
    assert len({lock.name for lock in locks}) == 3
    for lock in locks:
        lock.close()


def test_after_a_break_it_is_taken_again_or_lost_to_another(state_dsn: str) -> None:
    first, second = ProcessLock(state_dsn, ROLES, 0), ProcessLock(state_dsn, ROLES, 0)

    def break_off() -> None:
        with database.connect(state_dsn) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'rowtide identity'"
            )

    first.hold()
    break_off()
    with pytest.raises(StateUnavailable):
        first.hold()
    first.hold()
    break_off()
    second.hold()
    with pytest.raises(StateUnavailable):
        first.hold()
    with pytest.raises(StateRefused, match="id 0"):
        first.hold()
    second.close()
