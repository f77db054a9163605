"""How a command answers."""

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

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


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with output.progress("rows compared") as report:
        report(1000, 0)
        report(2000, 3000)
    assert terminal.getvalue() == "\r1,000 rows compared\r2,000 of about 3,000 rows compared\n"


def test_progress_is_nothing_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("rows compared") as report:
        report(1000, 0)
    assert capsys.readouterr().err == ""


def test_watching_ends_at_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = iter(["first", "second"])

    def picture() -> str:
        try:
            return next(pictures)
        except StopIteration:
            raise KeyboardInterrupt from None

    output.watch(picture, 0.0)
    assert "second" in capsys.readouterr().out


def test_no_other_module_of_the_command_line_prints() -> None:
    folder = Path(output.__file__).parent
    printing = re.compile(r"\bprint\(|sys\.std(out|err)\.write|typer\.echo|Console\(|Live\(")
    found = [path.name for path in sorted(folder.glob("*.py")) if printing.search(path.read_text(encoding="utf-8"))]
    assert found == ["output.py"]
