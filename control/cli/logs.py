"""Sends log lines to stderr, as key=value or JSON, never to stdout.

In: the style that the definition's ``run.log`` asks for. Out: structlog and the standard library, set up. Rule: stdout
belongs to the command's own answer, so that ``--json`` prints one document and nothing else.
"""

import logging
import sys
from typing import Any

import structlog


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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_to_stderr,
        cache_logger_on_first_use=False,
    )
    # Libraries (azure-identity, aiohttp) log through the standard library; only what they warn of is for operators.
    logging.basicConfig(
        stream=sys.stderr, level=logging.ERROR, format="level=%(levelname)s logger=%(name)s %(message)s"
    )


def _to_stderr(*_: object) -> structlog.PrintLogger:
    # Looked up at each use, since sys.stderr may have been replaced after the set-up.
    return structlog.PrintLogger(sys.stderr)
