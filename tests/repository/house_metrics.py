"""Proportions of the code, as docs/architecture.md shows them: ``python -m tests.repository.house_metrics``.

In: the repository's Python files (or those of another checkout: ``--root DIR``). Out: a table on stdout; with
``--write`` the table between the page's two marks. Rule: a line counts when it bears code, so neither blank lines nor
comments nor docstrings do; a function's size is that of its body.
"""

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("rowtide", "state", "connectors", "flows", "control", "graphsim", "demo", "migrations")
PAGE = "docs/architecture.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

BEFORE = (
    "before the re-cut | 182 | 18,354 | 91 / 205 / 336 | 5 / 19 / 46 | 100 % | 84 % (graphsim 43 %) | 33 | 1 | 0.70 | 0"
)
"""The same, measured at the commit before decision 0015."""

HEAD = """\
| | files | code lines | file median / p90 / max | function median / p95 / max | typed | public doc | largest class | \
import circles | test : code | mocks |
|---|---|---|---|---|---|---|---|---|---|---|"""

_MOCK = r"\b(?:Magic|Async)?Mock\(|\bunittest\.mock\b"
"""What a test puts in the place of a part of ours."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@dataclass(slots=True)
class Measured:
    """What some files are made of: sizes in code lines; ``typed`` and ``documented`` are one truth value each."""

    files: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    typed: list[bool] = field(default_factory=list)
    documented: list[bool] = field(default_factory=list)
    methods: list[int] = field(default_factory=list)

    @property
    def code(self) -> int:
        """All code lines."""
        return sum(self.files)


def measure(paths: Sequence[Path]) -> Measured:
    """The proportions of these files; empty ones (a package's bare ``__init__.py``) are left out."""
    found = Measured()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        lines = code_lines(text, tree)
        if lines or path.name != "__init__.py":
            found.files.append(len(lines))
            for node, public in definitions(tree, public=True):
                _add(found, node, public, lines)
    return found


def _add(found: Measured, node: Function | ast.ClassDef, public: bool, lines: set[int]) -> None:
    if public:
        found.documented.append(ast.get_docstring(node) is not None)
    if isinstance(node, ast.ClassDef):
        found.methods.append(sum(isinstance(one, Function) for one in node.body))
        return
    found.functions.append(sum(line in lines for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)))
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    arguments = [one for one in every if one.arg not in ("self", "cls")]
    found.typed.append(node.returns is not None and all(one.annotation for one in arguments))


def code_lines(text: str, tree: ast.Module) -> set[int]:
    """Numbers of the lines that bear code."""
    documented: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            documented.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return found - documented


def definitions(scope: ast.AST, public: bool) -> Iterator[tuple[Function | ast.ClassDef, bool]]:
    """Every function and class, with whether its name and those around it are public."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, Function):
            yield node, public and not node.name.startswith("_")
            yield from definitions(node, public=False)
        elif isinstance(node, ast.ClassDef):
            seen = public and not node.name.startswith("_")
            yield node, seen
            yield from definitions(node, seen)
        else:
            yield from definitions(node, public)


def circles(root: Path, folders: Sequence[str]) -> int:
    """Groups of modules that import each other, at whatever place in the file and for whatever reason."""
    modules = {_module(root, path): path for folder in folders for path in sorted((root / folder).rglob("*.py"))}
    uses = {name: _imports(path, modules) - {name} for name, path in modules.items()}
    reach = {name: _reached(name, uses) for name in uses}
    groups = {frozenset(other for other in reach[name] if name in reach[other]) for name in uses if name in reach[name]}
    return len(groups)


def _module(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, modules: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in inner}
    return found & modules.keys()


def _reached(name: str, uses: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    left = list(uses[name])
    while left:
        module = left.pop()
        if module not in reached:
            reached.add(module)
            left.extend(uses[module])
    return reached


def to_row(name: str, root: Path, folders: Sequence[str]) -> str:
    """One row of the table, for the product below ``root``."""
    found = measure([path for folder in folders for path in sorted((root / folder).rglob("*.py"))])
    paths = sorted((root / "tests").rglob("*.py"))
    tests = measure(paths)
    mocks = sum(len(re.findall(_MOCK, path.read_text(encoding="utf-8"))) for path in paths)
    cells = [
        name,
        str(len(found.files)),
        f"{found.code:,}",
        " / ".join(str(_at(found.files, share)) for share in (0.5, 0.9, 1.0)),
        " / ".join(str(_at(found.functions, share)) for share in (0.5, 0.95, 1.0)),
        f"{_percent(found.typed)} %",
        f"{_percent(found.documented)} % (graphsim {_percent(measure(_files(root, 'graphsim')).documented)} %)",
        str(max(found.methods, default=0)),
        str(circles(root, folders)),
        f"{tests.code / max(1, found.code):.2f}",
        str(mocks),
    ]
    return f"| {' | '.join(cells)} |"


def _files(root: Path, folder: str) -> list[Path]:
    return sorted((root / folder).rglob("*.py"))


def _at(values: Sequence[int], share: float) -> int:
    return sorted(values)[round((len(values) - 1) * share)] if values else 0


def _percent(values: Sequence[bool]) -> int:
    return 100 * sum(values) // max(1, len(values))


def to_table(root: Path) -> str:
    """The table: before, now, and now a folder."""
    folders = [f"`{folder}/`" for folder in PRODUCT]
    parts = [_to_part(name, root, folder) for name, folder in zip(folders, PRODUCT, strict=True)]
    return "\n".join([HEAD, f"| {BEFORE} |", to_row("now", root, PRODUCT), *parts])


def _to_part(name: str, root: Path, folder: str) -> str:
    cells = to_row(name, root, [folder]).strip("| ").split(" | ")
    cells[6] = cells[6].partition(" (")[0]
    return f"| {' | '.join([*cells[:-3], ' ', ' ', ' '])} |"


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--write", action="store_true", help=f"write it into {PAGE}")
    arguments = parser.parse_args()
    table = to_table(arguments.root)
    if arguments.write:
        page = ROOT / PAGE
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
