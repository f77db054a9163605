"""`rowtide run`: one process of the flow, from the first connection to exit code 0.

In: the loaded definition file (for the state database's address), roles, process id and peers. Out: an exit code. Rule:
what is not there is waited for with a clear line on stderr; SIGTERM ends everything within two seconds with code 0; the
applied definition is obeyed, not the file (docs/design.md section 14).
"""

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TypeVar

import structlog
from bytewax._bytewax import cli_main
from bytewax.recovery import InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError

from connectors import metrics
from connectors.outbox_io import Stopped
from connectors.settings import Loaded, resolve_secret
from flows import recovery, sync
from flows.applied_view import View, read_view
from flows.compose import CAPTURE, DELIVER, compose
from flows.process_lock import Identity
from rowtide.backoff import Backoff
from rowtide.errors import Retry, RowtideError, reaction_to
from state import database

log = structlog.get_logger()
T = TypeVar("T")

EPOCH = timedelta(milliseconds=500)
ROLES = frozenset({CAPTURE, DELIVER})
_STORE_ERRORS = (InconsistentPartitionsError, MissingPartitionsError, NoPartitionsError)


def run(config: Loaded, roles: frozenset[str] = ROLES, process_id: int = 0, addresses: Sequence[str] = ()) -> int:
    """Run until SIGTERM or SIGINT (0) or until nothing can go on (1); errors a person can mend are waited out."""
    # Millions of short-lived tuples pass and hardly a cycle: collecting them at Python's default pace costs a tenth.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    stop = threading.Event()
    with _signals(stop):
        dsn = resolve_secret(config.definition.state.dsn)
        link = database.Link(dsn, "rowtide run")
        identity = Identity(dsn, roles, process_id)
        try:
            view = _wait_for(stop, lambda: link.run(lambda connection: read_view(connection, None)))
            _wait_for(stop, identity.hold)
            if view is None or stop.is_set():
                return 0
            return _run_flow(config, dsn, view, roles, process_id, identity, addresses, stop)
        finally:
            link.close()
            identity.close()


def _run_flow(
    config: Loaded,
    dsn: str,
    view: View,
    roles: frozenset[str],
    process_id: int,
    identity: Identity,
    addresses: Sequence[str],
    stop: threading.Event,
) -> int:
    directory = _recovery_directory(config, roles)
    while True:
        process, parts = compose(dsn, view, roles, identity, stop)
        metrics.serve(view.catalog.definition.run.listen)
        recovery_config = recovery.prepare(directory, sync.names(parts))
        process.start()
        log.info("running", version=view.catalog.version, roles=",".join(sorted(roles)), syncs=len(view.catalog.syncs))
        started = time.monotonic()
        try:
            cli_main(  # type: ignore[no-untyped-call]
                sync.build(parts),
                workers_per_process=1,
                process_id=process_id if addresses else None,
                addresses=list(addresses) or None,
                epoch_interval=EPOCH,
                recovery_config=recovery_config,
            )
        except _STORE_ERRORS as error:
            recovery.wipe(directory, type(error).__name__)
            continue
        except Exception as error:  # the engine raises what a step raised, wrapped or as it is
            return _ended_by(error, stop)
        finally:
            process.close()
        log.info("stopped", after_s=round(time.monotonic() - started, 1))
        return 1 if process.supplanted else 0


def _ended_by(error: BaseException, stop: threading.Event) -> int:
    """The exit code of a flow that an exception ended; a supervisor restarts it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Stopped) and stop.is_set():
            return 0
        if isinstance(cause, RowtideError):
            log.error("flow stopped", code=cause.code, problem=cause.sentence, remedy=cause.remedy)
            return 1
        cause = cause.__cause__ or cause.__context__
    log.exception("flow stopped by an unexpected error", exc_info=error)
    return 1


def _recovery_directory(config: Loaded, roles: frozenset[str]) -> Path:
    """Different roles are different clusters with stores of their own."""
    directory = Path(config.definition.run.recovery_dir)
    if not directory.is_absolute():
        directory = config.path.parent / directory
    return directory if roles == ROLES else directory / "-".join(sorted(roles))


def _wait_for(stop: threading.Event, act: Callable[[], T]) -> T | None:
    """The result of ``act``; what can be mended outside is waited for, with one line when the problem changes."""
    backoff = Backoff()
    while not stop.is_set():
        try:
            return act()
        except RowtideError as error:
            if not isinstance(reaction_to(error), Retry):
                raise
            wait_s = backoff.failed(error)
            if backoff.is_news:
                log.warning("waiting", code=error.code, problem=error.sentence, remedy=error.remedy)
            stop.wait(wait_s)
    return None


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set the flag; every source ends at its next call."""

    def ask(signum: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(signum).name)
        stop.set()

    before = {signum: signal.signal(signum, ask) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
