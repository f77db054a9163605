"""What an end of the flow means: the exit code, and whether it begins anew with another store."""

from pathlib import Path

import pytest
from bytewax.recovery import InconsistentPartitionsError

from connectors.outbox_io import Stopped
from flows import ending
from flows.ending import Asked, Crashed, Failed, Outdated, Reasons, SetBack, Supplanted, Unresumable
from flows.recovery import Store
from rowtide.errors import SourceRefused, StateUnavailable

NAMES = ["rowtide"]


class PanicException(BaseException):
    """Named as the engine's is."""


def wrapped(cause: BaseException) -> RuntimeError:
    """As the engine hands on what a step raised."""
    error = RuntimeError("error calling a step")
    error.__cause__ = cause
    return error


@pytest.fixture
def fresh(tmp_path: Path) -> Store:
    """A store that was just made."""
    store = Store(tmp_path / "recovery")
    store.open(NAMES)
    return store


@pytest.fixture
def resumed(fresh: Store) -> Store:
    """A store of an earlier run."""
    fresh.open(NAMES)
    return fresh


def code_of(end: ending.End, store: Store) -> int | None:
    return ending.conclude(end, store, 1.0)


def test_only_an_end_that_was_asked_for_is_a_success(resumed: Store) -> None:
    assert code_of(ending.to_end(None, Reasons(asked=True), resumed), resumed) == 0
    assert code_of(ending.to_end(wrapped(Stopped()), Reasons(asked=True), resumed), resumed) == 0
    outdated = ending.to_end(wrapped(Stopped()), Reasons(outdated=True), resumed)
    assert code_of(outdated, resumed) is None
    set_back = ending.to_end(wrapped(Stopped()), Reasons(set_back=True), resumed)
    assert isinstance(set_back, SetBack)
    assert code_of(set_back, resumed) is None
    assert code_of(ending.to_end(None, Reasons(asked=True, fault=StateUnavailable("c", "s")), resumed), resumed) == 1
    assert code_of(ending.to_end(None, Reasons(asked=True, outdated=True), resumed), resumed) == 0
    unasked = ending.to_end(None, Reasons(), resumed)
    assert isinstance(unasked, Failed)
    assert unasked.error.code == "ended_unasked"
    assert code_of(unasked, resumed) == 1
    assert code_of(ending.to_end(wrapped(Stopped()), Reasons(), resumed), resumed) != 0
    assert code_of(ending.to_end(None, Reasons(supplanted=True, asked=True), resumed), resumed) == 1


def test_an_error_of_ours_is_found_in_what_the_engine_raises(resumed: Store) -> None:
    cause = SourceRefused("slot_lost", "The slot is gone.")
    assert ending.to_end(wrapped(wrapped(cause)), Reasons(), resumed) == Failed(cause)
    assert code_of(Failed(cause), resumed) == 1
    # An output that was stopped while it waited is no failure, whatever it waited for.
    stopped = Stopped()
    stopped.__cause__ = StateUnavailable("state_unavailable", "It does not answer.")
    assert ending.to_end(wrapped(stopped), Reasons(asked=True), resumed) == Asked()


@pytest.mark.parametrize("error", [InconsistentPartitionsError("old"), wrapped(KeyError(0)), ModuleNotFoundError("x")])
def test_a_store_that_is_not_resumed_from_is_tried_once(error: BaseException, resumed: Store) -> None:
    end = ending.to_end(error, Reasons(), resumed)
    assert end == Unresumable(error)
    assert code_of(end, resumed) is None
    resumed.open(NAMES)
    assert ending.to_end(error, Reasons(), resumed) == Crashed(error)
    assert code_of(Crashed(error), resumed) == 1


def test_a_full_disk_is_said_in_sqlites_words(resumed: Store) -> None:
    said = 'called `Result::unwrap()` on an `Err` value: SqliteFailure(Error { code: DiskFull }, Some("disk is full"))'
    for kind in (RuntimeError, PanicException):
        end = ending.to_end(kind(said), Reasons(), resumed)
        assert isinstance(end, Failed)
        assert end.error.code == "recovery_store_failed"
        assert "disk is full" in end.error.sentence
        assert end.error.remedy


def test_a_supplanted_process_fails_whatever_else_ended_it(resumed: Store) -> None:
    assert ending.to_end(wrapped(Stopped()), Reasons(supplanted=True), resumed) == Supplanted()
    assert code_of(Supplanted(), resumed) == 1


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (Asked(), ("stopped", None)),
        (Failed(StateUnavailable("state_unreachable", "", "")), ("failed", "state_unreachable")),
        (Supplanted(), ("supplanted", None)),
        (Outdated(), ("renewed", None)),
        (SetBack(), ("renewed", None)),
        (Unresumable(OSError()), ("renewed", None)),
        (Crashed(OSError()), ("crashed", None)),
    ],
)
def test_an_end_has_a_verdict(end: ending.End, verdict: tuple[str, str | None]) -> None:
    assert ending.to_verdict(end) == verdict
