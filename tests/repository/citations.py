"""Finds what a text cites and is not there: sections of pages, files, dotted names.

In: the text of a page, or the prose of a source file (docstrings and comments). Out: one sentence a finding. Rule:
modules are read, never imported, so that a name is resolved the same way whatever its module needs to be imported.
"""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rowtide", "state", "connectors", "flows", "control", "demo", "graphsim", "migrations")
FOLDERS = (*PACKAGES, "tests", "perf", "dashboards")

MADE_LATER = ("perf/results", "tests/histories")
"""Files that recipes write."""

NO_MODULES = frozenset(
    {"rowtide.yaml", "graphsim.md", "rowtide.heartbeat", "rowtide.alembic_version", "rowtide.edited_by"}
)
"""Files, a message in the WAL, Alembic's own table, a setting of PostgreSQL: dotted, and no names of Python."""

_SECTIONS = re.compile(r"(docs/[\w-]+\.md) sections? (\d+(?:\.\d+)?(?:(?:, | and | to )\d+(?:\.\d+)?)*)")
_HEADING = re.compile(r"(?m)^#{2,4} (\d+(?:\.\d+)?)[. ]")
_NO_SECTIONS = re.compile(r"\bDESIGN\b|\breference (?:\w+\.md )?section|\.\./shared|\b(?:HOUSE|STYLE)\.md")
_FILE = re.compile(rf"(?<![\w./@{{-])(?:{'|'.join((*FOLDERS, 'docs', 'requirements'))})/[\w./-]*\w")
_NAME = re.compile(rf"(?<![\w./@$-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+(?![\w/-])")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def source_files() -> list[Path]:
    """Every Python file of the repository."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def pages() -> list[Path]:
    """Every page of documentation."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def read_prose(path: Path) -> str:
    """The docstrings and comments of a Python file; a page as it is. Wrapped lines are joined."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return _joined(text)
    strings = [
        node.value.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    comments: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(token.string.lstrip("# "))
        elif token.type not in (tokenize.NL, tokenize.NEWLINE):
            comments.append("\n")
    return "\n".join([*(_joined(one) for one in strings), _joined("\n".join(comments))])


def _joined(text: str) -> str:
    """Lines of one paragraph on one line."""
    return re.sub(r"(?<!\n)[ \t]*\n[ \t]*(?![\n|#`-])", " ", text)


def missing_sections(text: str) -> list[str]:
    """Cited sections that their page does not have, and citations of papers that are not in the repository."""
    found = [f"cites what is not in the repository: {one.group()}" for one in _NO_SECTIONS.finditer(text)]
    for page, listed in _SECTIONS.findall(text):
        known = _sections_of(page)
        for number in _numbers(listed):
            if number not in known:
                found.append(f"{page} has no section {number}")
    return found


@cache
def _sections_of(page: str) -> frozenset[str]:
    path = ROOT / page
    return frozenset(_HEADING.findall(path.read_text(encoding="utf-8"))) if path.is_file() else frozenset()


def _numbers(listed: str) -> list[str]:
    """The section numbers of ``2, 4 and 5`` or ``1 to 3``."""
    first, to, last = listed.partition(" to ")
    if to and first.isdigit() and last.isdigit():
        return [str(number) for number in range(int(first), int(last) + 1)]
    return re.findall(r"\d+(?:\.\d+)?", listed)


def missing_files(text: str) -> list[str]:
    """Named paths below our folders that do not exist."""
    named = sorted({one.group() for one in _FILE.finditer(text)})
    return [f"there is no {path}" for path in named if not _is_there(path)]


def _is_there(path: str) -> bool:
    number = path.rpartition("/")[2]  # docs/1965 is an issue of microsoft-graph-docs
    return number.isdigit() or path.startswith(MADE_LATER) or (ROOT / path).exists()


def unresolved_names(text: str) -> list[str]:
    """Dotted names of our packages that are neither a module nor something in one."""
    named = sorted({one.group() for one in _NAME.finditer(text)} - NO_MODULES)
    return [f"{name} is nothing" for name in named if not _resolves(name)]


@cache
def _resolves(name: str) -> bool:
    parts = name.split(".")
    if parts[0] == "rowtide" and len(parts) > 1 and parts[1] in _tables():
        return True  # a table of the state database's schema, rowtide too
    if parts[0] == "state" and len(parts) == 2 and parts[1] == "dsn":
        return True  # a key of rowtide.yaml
    for length in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:length])
        file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if file.is_file():
            return _has(ast.parse(file.read_text(encoding="utf-8")), parts[length:])
        if module.is_dir() and length == len(parts):
            return True
    return False


def _has(scope: ast.Module | ast.ClassDef, parts: list[str]) -> bool:
    """Whether the names lead from one to the next; what is in anything but a class is taken on trust."""
    if not parts:
        return True
    for node in _flat(scope.body):
        if parts[0] in _names_of(node):
            return _has(node, parts[1:]) if isinstance(node, ast.ClassDef) else True
    return False


def _flat(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements, and those under an ``if TYPE_CHECKING``."""
    inner = [one for node in body if isinstance(node, ast.If) for one in node.body]
    return [*body, *inner]


def _names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, _DEFINITIONS):
        attributes = [one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)]
        return [node.name, *(attributes if node.name == "__init__" else [])]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets for target in _targets(target)]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return []


def _targets(target: ast.expr) -> list[ast.Name]:
    elements = target.elts if isinstance(target, ast.Tuple) else [target]
    return [one for one in elements if isinstance(one, ast.Name)]


_DECLARING = ("tables", "tables_both_ways")


@cache
def _tables() -> frozenset[str]:
    """Names of the tables that state/tables.py and state/tables_both_ways.py declare."""
    trees = [ast.parse((ROOT / f"state/{name}.py").read_text(encoding="utf-8")) for name in _DECLARING]
    nodes = (node for tree in trees for node in ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    tables = [call.args[0] for call in calls if call.func.id == "Table"]  # type: ignore[attr-defined]
    return frozenset(str(one.value) for one in tables if isinstance(one, ast.Constant))
