"""Each line of the log is one line that a program can read, and holds neither a key nor the words of an error."""

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
import structlog

from control.cli import logs
from rowtide.error_catalogue import graph_errors, source_errors
from rowtide.log_row import LogRow
from state import row_hashes

MARKER = "Anna Zweistein"
INSTALLATION = "5b7e0c1a-0000-4000-8000-000000000001"

Written = Callable[[], list[str]]


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """The lines on stderr since the last call; what the set-up changed is put back after the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    row_hashes.learn(INSTALLATION)
    yield partial(_lines, capsys)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    logging.getLogger("azure.identity").setLevel(logging.NOTSET)
    row_hashes.learn("")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error as it is caught, with a stack and maybe a cause."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_a_line_begins_with_time_level_and_event_in_both_styles(written: Written) -> None:
    for style in ("text", "json"):
        logs.set_up("json" if style == "json" else "text")
        structlog.get_logger().warning("list fails", sync="parts", upload=True, after_s=1.5)
    text, document = written()
    assert re.fullmatch(
        r'timestamp=\d{4}-\d\d-\d\dT[\d:.]+Z level=warning event="list fails" sync=parts upload=true after_s=1\.5', text
    )
    line = json.loads(document)
    assert list(line) == ["timestamp", "level", "event", "sync", "upload", "after_s"]
    assert (line["level"], line["event"], line["upload"], line["after_s"]) == ("warning", "list fails", True, 1.5)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["timestamp"])


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_left_out(written: Written, level: logs.Level, events: list[str]) -> None:
    logs.set_up("json", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)(name)
    assert [json.loads(line)["event"] for line in written()] == events


def test_a_row_stands_by_its_hash(written: Written) -> None:
    logs.set_up("json")
    row = LogRow("parts", MARKER)
    structlog.get_logger().info("refused", sync="parts", key_hash=row)
    [line] = written()
    assert json.loads(line)["key_hash"] == row.to_hash(INSTALLATION) == row_hashes.to_hash(row)
    assert MARKER not in line + repr(row) + str(row)


def test_hashes_differ_by_row_sync_and_installation() -> None:
    rows = [LogRow("parts", "1"), LogRow("parts", "2"), LogRow("part", "s1"), LogRow("parts", "\udc80")]
    hashes = {row.to_hash(installation) for row in rows for installation in ("one", "two")}
    assert len(hashes) == 8
    assert all(re.fullmatch("[0-9a-f]{16}", found) for found in hashes)
    row_hashes.learn("")
    assert row_hashes.to_hash(rows[0]) == ""


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_stack_has_the_names_of_errors_and_none_of_their_words(written: Written, style: logs.Format) -> None:
    logs.set_up(style)
    refused = raised(source_errors.SOURCE_REFUSED(doing="reading", said=MARKER, sqlstate="22P02"))
    errors = [
        raised(ValueError(MARKER), refused),
        raised(KeyError(MARKER)),
        raised(psycopg.errors.UniqueViolation(MARKER)),
        raised(graph_errors.LIST_REFUSED(status=403, code="accessDenied", said=MARKER)),
    ]
    for error in errors:
        structlog.get_logger().error("part did not end", exc_info=error)
    try:
        raise OSError(MARKER)
    except OSError:
        structlog.get_logger().exception("flow stopped")
    lines = written()
    assert len(lines) == 5
    assert MARKER not in "".join(lines)
    first, _, unique, listed, last = lines
    assert "test_logs.py" in first
    assert "PostgreSQL refused reading: … (SQLSTATE 22P02)." in json.loads(first)["exception"] if style == "json" else 1
    assert first.rstrip('"}').endswith("ValueError")
    assert "psycopg.errors.UniqueViolation (SQLSTATE 23505)" in unique
    assert "graph_403" in listed
    assert "OSError" in last


def test_what_libraries_warn_of_is_a_line_like_ours(written: Written) -> None:
    logs.set_up("json")
    logs.log_what_nobody_caught()
    logging.getLogger("urllib3.connectionpool").warning("Retrying %s\nafter this", "GET")
    logging.getLogger("urllib3.connectionpool").info("nothing of interest")
    logging.getLogger("azure.core").warning("slow %d", 3)
    logging.getLogger("asyncio").error("Task exception was never retrieved: %s", MARKER)
    logging.getLogger("asyncio").error(f"Task exception was never retrieved\nfuture: {MARKER}")
    logging.getLogger("aiohttp.client").error("failed", exc_info=raised(ValueError(MARKER)))
    logging.getLogger("azure.identity._internal").warning("get_token failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a thing of the past", DeprecationWarning, stacklevel=1)
    lines = [json.loads(line) for line in written()]
    assert [(line["level"], line["event"], line["logger"]) for line in lines] == [
        ("warning", "library", "urllib3.connectionpool"),
        ("warning", "library", "azure.core"),
        ("error", "library", "asyncio"),
        ("error", "library", "asyncio"),
        ("error", "library", "aiohttp.client"),
        ("warning", "library", "py.warnings"),
    ]
    said: list[Any] = [line["said"] for line in lines]
    assert said[:5] == [
        "Retrying GET", "slow 3", "Task exception was never retrieved: %s", "Task exception was never retrieved",
        "failed",
    ]  # fmt: skip
    assert said[5].endswith("DeprecationWarning: a thing of the past")
    assert MARKER not in json.dumps(lines)


def test_what_nobody_caught_is_a_line_too(written: Written) -> None:
    logs.set_up("json")
    logs.log_what_nobody_caught()

    def fail() -> None:
        raise ValueError(MARKER)

    thread = threading.Thread(target=fail, name="rowtide-x")
    thread.start()
    thread.join()
    error = raised(ValueError(MARKER))
    sys.excepthook(type(error), error, error.__traceback__)
    of_thread, of_process = (json.loads(line) for line in written())
    assert (of_thread["event"], of_thread["level"], of_thread["loop"]) == ("uncaught error", "critical", "rowtide-x")
    assert of_process["exception"].endswith("ValueError")
    assert MARKER not in json.dumps([of_thread, of_process])


def test_a_log_that_cannot_be_written_holds_nothing_up(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _text: str) -> None:
            raise BrokenPipeError

        flush = write

    logs.set_up()
    monkeypatch.setattr(sys, "stderr", Gone())
    structlog.get_logger().error("nobody reads this")
    monkeypatch.undo()
    assert written() == []
