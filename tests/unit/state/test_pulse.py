"""A wait ticks whatever it waits for and however long; a call that cannot tick is declared while it lasts."""

import threading

import pytest

from state import pulse
from state.pulse import CALL_S, SILENT_S, Pulse, Silence

LONG_AGO = -1000.0


@pytest.mark.parametrize(
    ("silence", "is_stuck"),
    [
        (Silence("rowtide-due", SILENT_S, ""), False),
        (Silence("rowtide-due", SILENT_S + 1, ""), True),
        (Silence("rowtide-due", SILENT_S + 1, "PostgreSQL"), False),
        (Silence("rowtide-due", CALL_S + 1, "PostgreSQL"), True),
    ],
)
def test_a_declared_call_may_take_longer(silence: Silence, is_stuck: bool) -> None:
    assert silence.is_stuck is is_stuck


def test_a_tick_is_of_the_thread_that_makes_it() -> None:
    own, other = Pulse("own"), Pulse("other")
    with pulse.of_this_thread(own):
        own.ticked = other.ticked = LONG_AGO
        beside = threading.Thread(target=pulse.tick)  # a thread without a pulse
        beside.start()
        beside.join(30)
        assert own.ticked == LONG_AGO
        pulse.tick()
        assert own.ticked > LONG_AGO
        assert other.ticked == LONG_AGO
        own.ticked = LONG_AGO
    pulse.tick()
    assert own.ticked == LONG_AGO


def test_a_wait_ends_as_the_events_own_does() -> None:
    own, event = Pulse("own"), threading.Event()
    with pulse.of_this_thread(own):
        own.ticked = LONG_AGO
        assert pulse.wait(event, 0.01) is False
        assert own.ticked > LONG_AGO
        assert pulse.wait(event, 0.0) is False
        event.set()
        assert pulse.wait(event, None) is True
        assert pulse.wait(event, -1.0) is True


def test_waiting_for_a_lock_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "TURN_S", 0.01)
    lock, own, waits = threading.Lock(), Pulse("own"), threading.Event()

    def take() -> None:
        with pulse.of_this_thread(own):
            waits.set()
            with pulse.holding(lock):
                pass

    with lock:
        thread = threading.Thread(target=take)
        thread.start()
        assert waits.wait(30)
        own.ticked = LONG_AGO
        while own.ticked == LONG_AGO:
            thread.join(0.01)
    thread.join(30)
    assert not lock.locked()


def test_a_call_is_declared_while_it_lasts() -> None:
    own = Pulse("own")
    with pulse.call("nobody"):  # a thread without a pulse
        pass
    with pulse.of_this_thread(own):
        with pulse.call("the one"):
            with pulse.call("the other"):
                assert own.waits_for == "the other"
            assert own.waits_for == "the one"
        assert own.waits_for == ""
