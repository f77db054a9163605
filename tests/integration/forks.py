"""Child processes that tests kill: forked from a server that has made their imports once for all of them.

In: a function of a module, its arguments, failpoints. Out: the exit code. Rule: a child shares nothing with the test;
its failpoints are its own.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

from state import failpoints
from tests.failpoints import Failpoints

DEADLINE_S = 120.0
_context = multiprocessing.get_context("forkserver")


def preload(*modules: str) -> None:
    """Have these modules in every child; to be called where they are imported, before the first child is made."""
    _preloaded.extend(modules)
    _context.set_forkserver_preload(_preloaded)


_preloaded: list[str] = [__name__]


def run_forked(function: Callable[..., object], *arguments: object, trap: str = "") -> int:
    """The exit code of a process that calls the function with the failpoints of ``trap`` armed; -9 when killed."""
    child = _context.Process(target=_armed, args=(function, arguments, trap))
    child.start()
    child.join(DEADLINE_S)
    assert child.exitcode is not None, f"{function.__name__} has not ended"
    code = child.exitcode
    child.close()
    return code


def _armed(function: Callable[..., object], arguments: Sequence[Any], trap: str) -> None:
    failpoints._of_process = Failpoints(trap)
    function(*arguments)
