"""Dying with the parent: nothing of a demo or a test may stay behind, whatever killed it.

In: the parent's process id. Out: the process ends when that parent is gone. Linux tells by a signal (which also comes
when only the parent's *thread* ends, so the id is looked at again); everywhere a look four times a second is the
fallback. Rule: no cleaning up: the parent cannot wait for it any more.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def ask_for_signal(parent_pid: int) -> None:
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
    while True:
        _end_if_orphan(parent_pid)
        await asyncio.sleep(0.25)
