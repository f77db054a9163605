"""Sends log lines to stderr, as key=value or JSON, never to stdout.

In: the style and the level that the definition's ``run.log`` asks for. Out: structlog and the standard library, set up.
Rules: stdout belongs to the command's own answer, so that ``--json`` prints one document and nothing else; a line of
the log is one line, and no character of it acts on a terminal; a row stands in it by its hash, and an error without its
words (`control.cli.log_stacks`), because they may quote a value.
"""

import contextlib
import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Final, Literal

import structlog

from control.cli import log_stacks
from control.operations import log_rows
from rowtide.legible import legible
from rowtide.log_row import LogRow

Event = MutableMapping[str, Any]
Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_NEVER_SEE_ROWS: Final = ("azure.", "msal.", "py.warnings", "urllib3.")
"""Libraries whose whole message is logged; of others only its fixed part, because a value may have been put into it."""

_SAID_BY_US: Final = {"azure.identity": logging.ERROR, "opentelemetry": logging.CRITICAL}
"""What these say at each attempt, below the level, is said once by `connectors.trouble`."""


def set_up(style: Format = "text", level: Level = "info") -> None:
    """Send structlog's lines from ``level`` on, and warnings of libraries, to stderr in ``style``."""
    renderer: Any = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    if style == "json":
        renderer = structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            _hashed_rows,
            log_stacks.without_words,
            _legible_values,
            _begin_alike,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_to_stderr,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(one, _Libraries) for one in root.handlers):
        root.addHandler(_Libraries())
    root.setLevel(logging.WARNING)
    for name, lowest in _SAID_BY_US.items():
        logging.getLogger(name).setLevel(lowest)


def log_what_nobody_caught() -> None:
    """From now on an exception that ends a thread, or the process, is a line of the log; so is what Python warns of."""
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, stack: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, stack)
        return
    structlog.get_logger().critical("uncaught error", exc_info=error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    name = "" if args.thread is None else args.thread.name
    structlog.get_logger().critical("uncaught error", loop=name, exc_info=args.exc_value)


class _Libraries(logging.Handler):
    """Hands what libraries log through the standard library to structlog: only what they warn of is for operators."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record as a line of ours."""
        try:
            whole = f"{record.name}.".startswith(_NEVER_SEE_ROWS)
            said = record.getMessage() if whole else str(record.msg)
            more = {"exc_info": record.exc_info[1]} if record.exc_info and record.exc_info[1] else {}
            first = (said.strip().splitlines() or [""])[0]
            structlog.get_logger().log(record.levelno, "library", logger=record.name, said=first, **more)
        except Exception:
            self.handleError(record)


def _hashed_rows(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if isinstance(value, LogRow):
            event[name] = log_rows.key_hash(value)
    return event


def _legible_values(_logger: object, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if isinstance(value, str):
            # A stack has lines of its own, and what failed stands in the last one of them.
            event[name] = "\n".join(map(legible, value.split("\n"))) if name == "exception" else legible(value)
    return event


def _begin_alike(_logger: object, _method: str, event: Event) -> Event:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return {**first, **event}


class _Stderr(structlog.PrintLogger):
    """A log that cannot be written, its disk full or its reader gone, holds nothing else up."""

    def msg(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warning = error = critical = msg


def _to_stderr(*_: object) -> structlog.PrintLogger:
    # Looked up at each use, since sys.stderr may have been replaced after the set-up.
    return _Stderr(sys.stderr)
