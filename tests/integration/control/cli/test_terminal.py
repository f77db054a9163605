"""What rows, lists and servers hold is looked at on a real terminal, and the terminal obeys none of it."""

import os
import pty
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from control.cli import logs, output
from rowtide.errors import GraphRefused
from tests.integration.control.desk import Desk

TITLE, CLIPBOARD, CLEAR, FORGED, BIDI = "\x1b]0;mine\x07", "\x1b]52;c;cm0=\x07", "\x9b2J", "\nerror: x", "\u202egpj"
PAYLOAD = f"k{TITLE}{CLIPBOARD}{CLEAR}{FORGED}{BIDI}"
ACTS = ("\x1b]", "\x07", "\x9b", "\u202e", "\nerror: x")


def on_terminal(desk: Desk, *words: str) -> str:
    """What a terminal is sent by a command; line breaks are those that it sends."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **desk.environment, "COLUMNS": "400", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "control.cli", *words]
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        sent = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the last one who had the terminal open is gone
                break
            if not piece:
                break
            sent += piece
        process.wait(60)
    os.close(ours)
    return sent.decode().replace("\r\n", "\n")


@pytest.fixture
def hostile(applied: Desk) -> Desk:
    """A parked row whose key, values and reason are payloads, and a hold with one."""
    applied.park(1)
    with psycopg.connect(applied.state_dsn, autocommit=True) as connection:
        connection.execute("UPDATE rowtide.outbox SET key = %(p)s, reason = %(p)s", {"p": PAYLOAD})
    return applied


def test_a_terminal_obeys_nothing_that_a_row_or_a_reason_holds(hostile: Desk) -> None:
    paused = on_terminal(hostile, "pause", "parts", "--reason", PAYLOAD)
    listed = on_terminal(hostile, "parked", "list")
    status = on_terminal(hostile, "status")
    for shown in (paused, listed, status):
        assert not [act for act in ACTS if act in shown]
    assert "k\\x1b]0;mine\\x07" in listed
    assert "\\x1b]52;c;" in status


def test_piped_output_json_and_errors_hold_nothing_that_acts(hostile: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    listed = hostile.type("parked", "list", "--json")
    assert [row["key"] for row in listed.json["parked"]] == [PAYLOAD]
    texts = [listed.out, hostile.type("parked", "list").out, hostile.type("parked", "show", "parts", PAYLOAD).out]
    output.error(GraphRefused("graph_refused", f"Graph says {PAYLOAD}", PAYLOAD), as_json=True)
    said = capsys.readouterr()
    for text in (*texts, said.out, said.err):
        assert not [act for act in ACTS if act in text]


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_log_line_is_one_line_and_acts_on_no_terminal(style: logs.Format, capsys: pytest.CaptureFixture[str]) -> None:
    import structlog

    logs.set_up(style)
    try:
        structlog.get_logger().warning("list_problem", title=PAYLOAD, problem=PAYLOAD)
    finally:
        structlog.reset_defaults()
    line: Any = capsys.readouterr().err
    assert line.count("\n") == 1
    assert not [act for act in ACTS if act in line]
