"""The simulator ends with its parent: nothing of a demo or a test stays behind, whatever killed it.

In: the parent's process id. Out: the process ends when that parent is gone. Linux sends a signal (also when only the
parent's *thread* ends, so the handler compares the id); on every system the id is compared four times a second as well.
Rule: no cleaning up, because no parent waits for it any more.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def ask_for_signal(parent_pid: int) -> None:
    """Lets Linux wake the process when its parent ends; elsewhere `watch` alone does it."""
    if not sys.platform.startswith("linux"):
        return
    signal.signal(signal.SIGUSR1, lambda *_: _end_if_orphan(parent_pid))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGUSR1))
    _end_if_orphan(parent_pid)


def _end_if_orphan(parent_pid: int) -> None:
    if os.getppid() != parent_pid:
        os._exit(0)


async def watch(parent_pid: int) -> None:
    """Looks for the parent until it is gone, then ends the process."""
    while True:
        _end_if_orphan(parent_pid)
        await asyncio.sleep(0.25)
