"""Signals that ask for an end, acted on in a thread of their own.

In: signals, an act. Out: the act is called once for each signal. Rule: nothing is done in a signal's handler. It runs
in the main thread between any two instructions, also while that thread holds the lock of an event or of a log, and
whoever sets the event or logs there waits for that lock for ever.
"""

import signal
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Final

from connectors.loops import Beside

END: Final = (signal.SIGTERM, signal.SIGINT)
_PATIENCE_S: Final = 1.0


@contextmanager
def handled(act: Callable[[signal.Signals], None], signals: Collection[signal.Signals] = END) -> Iterator[None]:
    """For the length of the block each of these signals calls ``act``, beside the main thread, which has to be ours."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = {one: signal.signal(one, _leave_to_thread) for one in signals}
    writes_to = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    beside = Beside("rowtide-signals", partial(_pass_on, receiver, act, frozenset(signals)))
    try:
        yield
    finally:
        signal.set_wakeup_fd(writes_to)
        for one, handler in before.items():
            signal.signal(one, handler)
        sender.close()
        beside.ended(_PATIENCE_S)
        receiver.close()


def _leave_to_thread(_signum: int, _frame: FrameType | None) -> None:
    """The interpreter has written the signal's number to the socket already."""


def _pass_on(receiver: socket.socket, act: Callable[[signal.Signals], None], signals: Collection[int]) -> None:
    while numbers := receiver.recv(64):
        for number in numbers:
            if number in signals:
                act(signal.Signals(number))
