"""Writes docs/errors.md: every error code that the code can raise, with its sentence and remedy.

In: the source files. Out: the page's text. Run by people as ``python -m control.operations.errors_page`` when a test
says that the page is old. Rule: the page is read off the code, so an error without an entry cannot exist.
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rowtide import errors
from rowtide.errors import Park, Pause, Retry, RowtideError, Stop, reaction_to

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
LAYERS = ("rowtide", "state", "connectors", "flows", "control", "demo")

_KINDS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RowtideError)
}


_PARKING = ("_refused", "_park", "ParkRow")
"""What parks a row: their first argument is the row, then come code, sentence and remedy."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One place that makes an error; ``…`` stands for what is known only then."""

    code: str
    kind: str
    sentence: str
    remedy: str


def entries() -> list[Entry]:
    """Every error the code makes, by code; one entry per code and kind, of its places the one that says most."""
    found: dict[tuple[str, str], Entry] = {}
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            for entry in _entries_of(ast.parse(path.read_text(encoding="utf-8"))):
                known = found.get((entry.code, entry.kind))
                if known is None or _said(known) < _said(entry):
                    found[entry.code, entry.kind] = entry
    return sorted(found.values())


def _said(entry: Entry) -> tuple[bool, bool]:
    return entry.sentence not in ("", "…"), entry.remedy not in ("", "…")


def _entries_of(tree: ast.Module) -> Iterator[Entry]:
    """Errors made by calls, and those that stand in tables or constants as ``(..., kind, code, remedy)``."""
    scopes = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]
    texts = {scope: _assigned(scope) for scope in scopes}
    for scope in scopes:
        for node in _own_nodes(scope):
            known = {**_before(texts[tree], None), **_before(texts[scope], getattr(node, "lineno", 0))}
            match node:
                case ast.Call() if (made := _made(node)) is not None:
                    kind, (code, *said) = made
                    if isinstance(code, ast.Constant) and isinstance(code.value, str):
                        texts_said = [*(_text(one, known) for one in said[:2]), "", ""]
                        yield Entry(code.value, kind, texts_said[0], texts_said[1])
                case ast.Tuple(
                    elts=[_, ast.Name(id=kind), ast.Constant(value=str(code)), ast.Constant(value=str(remedy))]
                ):
                    if kind in _KINDS:
                        yield Entry(code, kind, "PostgreSQL at …: …", remedy)


def _made(call: ast.Call) -> tuple[str, list[ast.expr]] | None:
    """The kind of error a call makes, and its arguments from the code on."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in _KINDS and call.args:
        return name, call.args
    if name in _PARKING and len(call.args) > 1:
        return "RowError", call.args[1:]
    return None


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of functions inside it."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.FunctionDef):
            continue
        yield child
        yield from _own_nodes(child)


def _assigned(scope: ast.AST) -> list[tuple[int, str, str]]:
    """Line, name and text of the assignments of a scope, in order."""
    return sorted(
        (node.lineno, node.targets[0].id, _text(node.value, {}))
        for node in _own_nodes(scope)
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    )


def _before(assigned: Sequence[tuple[int, str, str]], line: int | None) -> dict[str, str]:
    """What names stand for at a line: the nearest assignment before it (None: the last one)."""
    return {name: text for at, name, text in assigned if line is None or at < line}


def _text(node: ast.expr, known: Mapping[str, str]) -> str:
    """The text of a literal or f-string, with … where a value goes."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, known) if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.Name(id=name):
            return known.get(name, "…")
        case _:
            return "…"


def _reaction(kind: str) -> str:
    match reaction_to(_KINDS[kind]("", "")):
        case Retry(_, most_s):
            return f"tried again, at most {most_s:g} s apart"
        case Park():
            return "the row is parked"
        case Pause():
            return "the sync is paused"
        case Stop(code):
            return f"ends with exit code {code}"


def page() -> str:
    """The page's text."""
    lines = [
        "# Error codes",
        "",
        "Written by `python -m control.operations.errors_page` from the source; do not edit.",
        "",
        "Every error is one line on stderr, `error CODE: sentence`, and below it what to do. A command ends with exit",
        "code 2 for a UserError or DefinitionError and 1 for any other; the third column says what a running process",
        "does. The codes of parked rows are those of kind RowError, and Graph's own where Graph refused a row.",
        "`…` stands for what is known only then.",
        "",
        "| code | kind | while running | sentence | what to do |",
        "|---|---|---|---|---|",
    ]
    for entry in entries():
        cells = (f"`{entry.code}`", entry.kind, _reaction(entry.kind), entry.sentence, entry.remedy)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stderr.write(f"wrote {PAGE.relative_to(ROOT)}\n")
