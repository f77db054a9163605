"""What recording takes of a process: processor time of the calls that are counted, each once."""

import hashlib
import threading

from perf import accounted


def work(rounds: int = 20_000) -> bytes:
    """Some milliseconds of the processor."""
    digest = b""
    for _ in range(rounds):
        digest = hashlib.sha256(digest).digest()
    return digest


def spent(kind: str) -> float:
    """The seconds counted so far."""
    return accounted._spent_s[kind]


def test_time_on_the_processor_is_counted_and_waiting_is_not() -> None:
    counted, idle = accounted.counted("test one", work), accounted.counted("test two", threading.Event().wait)
    assert counted() == work()
    assert spent("test one") > 0
    assert idle(0.05) is False
    assert spent("test two") < 0.04


def test_a_call_within_a_counted_call_is_counted_once() -> None:
    inner = accounted.counted("test inner", work)
    assert accounted.counted("test outer", inner)() == work()
    assert spent("test outer") > 0
    assert spent("test inner") == 0


def test_a_call_that_fails_is_counted_and_fails() -> None:
    def fail() -> None:
        work()
        raise ValueError

    counted = accounted.counted("test failing", fail)
    for _ in range(2):
        try:
            counted()
        except ValueError:
            continue
        raise AssertionError("it did not fail")
    assert spent("test failing") > 0


def test_what_is_counted_exists() -> None:
    assert all(callable(getattr(owner, name)) for owner, name, _ in accounted.parts())
    assert {kind for _, _, kind in accounted.parts()} == {"recording", "gauging"}
