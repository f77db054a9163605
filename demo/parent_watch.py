"""Runs a Python module in a process that ends when the process that started it ends, for whatever reason.

In: ``python -m demo.parent_watch PARENT_PID MODULE ARGUMENTS...``. Out: the module runs as if started by ``python -m``.
Rule: it is done in two ways, because each has a gap: Linux sends SIGKILL when the parent's thread is gone, which other
systems do not; a thread checks the parent's process id, but not while something holds the interpreter lock.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.25


def hold_to(parent: int) -> None:
    """End this process when the process ``parent`` ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the kernel was asked
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Entry point."""
    parent, module, *arguments = sys.argv[1:]
    hold_to(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
