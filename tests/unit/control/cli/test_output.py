"""How a command answers."""

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from control.cli import output
from rowtide.errors import DefinitionError, SourceRefused, UserError


def test_a_piped_table_is_plain_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["sync", "waiting"], [["orders", 1234], ["a", None]])
    assert capsys.readouterr().out == "SYNC    WAITING\norders  1,234\na       -\n"


def test_values_are_never_read_as_markup() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(output.drawn(["key"], [["[bold]x[/bold]"]]))
    assert "[bold]x[/bold]" in stream.getvalue()


def test_a_document_is_one_json_value(capsys: pytest.CaptureFixture[str]) -> None:
    output.document({"at": datetime(2026, 11, 22, tzinfo=UTC), "names": {"b", "a"}})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-11-22T00:00:00+00:00", "names": ["a", "b"]}


@pytest.mark.parametrize(
    ("problem", "code", "lines"),
    [
        (SourceRefused("no_privilege", "No.", "Grant it."), 1, ["error no_privilege: No.", "  Grant it."]),
        (UserError("which_sync", "Say which."), 2, ["error which_sync: Say which."]),
        (
            DefinitionError("invalid_definition", "f.yaml:1: a\nf.yaml:2: b"),
            2,
            ["error invalid_definition: 2 problems", "f.yaml:1: a", "f.yaml:2: b"],
        ),
    ],
)
def test_an_error_is_lines_on_stderr_and_an_exit_code(
    problem: UserError, code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert output.error(problem, as_json=False) == code
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()) == ("", lines)
    assert output.error(problem, as_json=True) == code
    assert json.loads(capsys.readouterr().out)["error"]["code"] == problem.code


def test_nobody_to_ask_is_a_no() -> None:
    with pytest.raises(UserError):
        output.confirm("Sure?")
