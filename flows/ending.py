"""How a run of the flow ended, and what follows: an exit code, or another run with a new store.

In: what the engine raised, whether the end was asked for, the store. Out: an `End`, which is logged, and its exit code.
Rule: only an end that somebody asked for has code 0; a store from which the flow could not resume is tried once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import structlog
from bytewax.recovery import InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError

from connectors.outbox_io import Stopped
from flows.recovery import Store, sqlite_reason
from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError

log = structlog.get_logger()

_STORE_ERRORS = (InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError)


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asked for the end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The flow failed for a reason that an operator can read."""

    error: RowtideError


@dataclass(frozen=True, slots=True)
class Supplanted:
    """Another process took this one's place; that was logged when it was noticed."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """The definition in force names other sources or tenants than the flow was made for."""


@dataclass(frozen=True, slots=True)
class SetBack:
    """This machine's clock was set back, and the engine goes by it."""


@dataclass(frozen=True, slots=True)
class Unresumable:
    """The flow could not resume from its store."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Crashed:
    """The flow ended by a fault of Rowtide."""

    error: BaseException


End = Asked | Failed | Supplanted | Outdated | SetBack | Unresumable | Crashed


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why the process itself wanted the flow to end; ``fault``: what a thread met that must not go on."""

    supplanted: bool = False
    asked: bool = False
    outdated: bool = False
    set_back: bool = False
    fault: RowtideError | None = None


def to_end(error: BaseException | None, reasons: Reasons, store: Store) -> End:
    """Why the flow ended; ``error`` is what the engine raised."""
    chain = list(_causes(error))
    ours = next((cause for cause in chain if isinstance(cause, RowtideError)), None)
    reason = sqlite_reason(error) if error is not None else None
    if reasons.supplanted:
        return Supplanted()
    if reasons.fault is not None:
        return Failed(reasons.fault)
    stopped = error is None or any(isinstance(cause, Stopped) for cause in chain)
    if reasons.asked and stopped:
        return Asked()
    if reasons.outdated and stopped:
        return Outdated()
    if reasons.set_back and stopped:
        return SetBack()
    if error is None:
        return Failed(process_errors.ENDED_UNASKED())
    if ours is not None:
        return Failed(ours)
    if reason is not None:
        return Failed(store.failure(reason))
    # What a store restores is unpickled and handed to the steps. Whatever fails then, the store is not tried twice.
    if not store.fresh and (isinstance(error, _STORE_ERRORS) or not store.has_moved()):
        return Unresumable(error)
    return Crashed(error)


def to_verdict(end: End) -> tuple[str, str | None]:
    """How the end is called in the record of runs, and the code of the error by which it came."""
    match end:
        case Asked():
            return "stopped", None
        case Failed(error):
            return "failed", error.code
        case Supplanted():
            return "supplanted", None
        case Outdated() | SetBack() | Unresumable():
            return "renewed", None
        case Crashed():
            return "crashed", None
        case _:
            assert_never(end)


def conclude(end: End, store: Store, after_s: float) -> int | None:
    """Log how the flow ended; the exit code, or None when the flow begins anew."""
    match end:
        case Asked():
            log.info("stopped", after_s=round(after_s, 1))
            return 0
        case Supplanted():
            return 1
        case Outdated():
            log.info("other connections are in force, the flow begins anew", after_s=round(after_s, 1))
            return None
        case SetBack():
            log.info("the flow begins anew by the clock as it is now", after_s=round(after_s, 1))
            return None
        case Failed(error):
            log.error("flow stopped", code=error.code, problem=error.unquoted, remedy=error.remedy)
            return 1
        case Unresumable(cause):
            log.warning("flow did not resume", error=type(cause).__name__)
            store.condemn(type(cause).__name__)
            return None
        case Crashed(cause):
            log.exception("flow stopped by an unexpected error", exc_info=cause)
            return 1
        case _:
            assert_never(end)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
