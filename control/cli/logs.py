"""Sends log lines to stderr, as key=value or JSON, never to stdout.

In: the style that the definition's ``run.log`` asks for. Out: structlog and the standard library, set up. Rule: stdout
belongs to the command's own answer, so that ``--json`` prints one document and nothing else; a value is on one
line, and no character of it acts on a terminal.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from rowtide.legible import legible


def set_up(style: str = "text", level: int = logging.INFO) -> None:
    """Send structlog's lines, and warnings of libraries, to stderr in ``style`` (``text`` or ``json``)."""
    renderer: Any = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    if style == "json":
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(),
            _legible_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_to_stderr,
        cache_logger_on_first_use=False,
    )
    # Libraries (azure-identity, aiohttp) log through the standard library; only what they warn of is for operators.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LegibleFormatter("level=%(levelname)s logger=%(name)s %(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler])


class _LegibleFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return legible(super().formatMessage(record))


def _legible_values(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            # A stack has lines of its own, and what failed stands in the last one of them.
            event[name] = "\n".join(map(legible, value.split("\n"))) if name == "exception" else legible(value)
    return event


def _to_stderr(*_: object) -> structlog.PrintLogger:
    # Looked up at each use, since sys.stderr may have been replaced after the set-up.
    return structlog.PrintLogger(sys.stderr)
