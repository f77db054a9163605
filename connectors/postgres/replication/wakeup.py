"""Wakes a thread that waits for a socket: a byte through a socket pair.

In: `Wakeup.wake` from any thread. Out: a descriptor to poll beside others, or a wait of its own. Rule: any number of
wakes before a look count as one.
"""

import contextlib
import socket


class Wakeup:
    """One waiting thread, any number of threads that wake it."""

    def __init__(self) -> None:
        self._awake, self._waker = socket.socketpair()
        self._awake.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        """The descriptor that is readable once the thread was woken."""
        return self._awake.fileno()

    def wake(self) -> None:
        """End the wait of the other side, now or its next one."""
        # A full pipe wakes the thread, too.
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def wait(self, timeout_s: float) -> None:
        """Return when woken, or after ``timeout_s``."""
        self._awake.settimeout(timeout_s or 0.001)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self._awake.recv(4096)
        self._awake.setblocking(False)

    def clear(self) -> None:
        """Forget the wakes so far."""
        with contextlib.suppress(BlockingIOError):
            self._awake.recv(4096)

    def close(self) -> None:
        """Close both ends."""
        self._awake.close()
        self._waker.close()
