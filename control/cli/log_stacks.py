"""The stack of an error for the log: where it was raised, of which kind it is, and none of its words.

In: an event of structlog with ``exc_info``. Out: the event with ``exception``, the frames from the outermost to the
one that raised, of the error and of what it came from. Rule (docs/design.md section 26): the message of an error is
whoever's who raised it, and PostgreSQL's and Graph's quote values; of ours stand code and sentence without such words,
of PostgreSQL's the SQLSTATE.
"""

import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

from rowtide.errors import RowtideError

_MOST_ERRORS: Final = 8
"""So many errors of one chain are shown."""


def without_words(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The event with its stack as text (a processor of structlog)."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = stack_of(error)
    return event


def stack_of(error: BaseException) -> str:
    """The frames of the error and of its causes, the first cause first, each with the error's name."""
    told = []
    for one in _chain(error):
        frames = "".join(traceback.StackSummary.extract(traceback.walk_tb(one.__traceback__)).format())
        told.append(f"{frames}{_name_of(one)}")
    return "\n".join(reversed(told))


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(_MOST_ERRORS):
        if current is None:
            return
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _name_of(error: BaseException) -> str:
    if isinstance(error, RowtideError):
        return f"{type(error).__qualname__}: {error.code}: {error.unquoted}"
    sqlstate = getattr(error, "sqlstate", None)
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    return f"{name} (SQLSTATE {sqlstate})" if isinstance(sqlstate, str) else name
