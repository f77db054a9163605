"""Signals are counted, and raise only where the demo looks."""

import os
import signal
import time

import pytest

from demo.interrupts import Interrupted, Interrupts


def test_a_wait_ends_at_the_first_signal() -> None:
    interrupts = Interrupts()
    with interrupts.installed():
        interrupts.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        began = time.monotonic()
        with pytest.raises(Interrupted):
            interrupts.wait(30)
        assert time.monotonic() - began < 5
        assert interrupts.asked


def test_a_patient_phase_overlooks_one_ctrl_c_and_no_more() -> None:
    interrupts = Interrupts()
    with interrupts.installed():
        interrupts.patience = 1
        os.kill(os.getpid(), signal.SIGINT)
        interrupts.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            interrupts.wait(0.01)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_patient_phase_too(signum: signal.Signals) -> None:
    interrupts = Interrupts()
    with interrupts.installed():
        interrupts.patience = 1
        os.kill(os.getpid(), signum)
        with pytest.raises(Interrupted):
            interrupts.check()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts().installed():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
