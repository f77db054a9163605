"""How the C library keeps the memory of this process.

In: nothing. Out: fewer arenas. Called once, before the first thread starts. Rule: where the library has no such
setting, nothing changes.
"""

import ctypes
from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


def bound_arenas() -> None:
    """Let all threads share two arenas.

    glibc gives each thread one of its own, which keeps what wide rows once took; the interpreter's lock lets few of
    them allocate at a time anyway.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
