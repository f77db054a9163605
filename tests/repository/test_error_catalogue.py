"""Every word an operator meets comes from the catalogue, and every entry of the catalogue is used."""

import ast
import functools
import importlib
import pkgutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from rowtide import error_catalogue, errors
from rowtide.error_catalogue.entries import Entry, FindingEntry, ReasonEntry
from rowtide.errors import RowtideError

ROOT = Path(__file__).parents[2]
LAYERS = ("rowtide", "state", "connectors", "flows", "control", "demo", "perf")
CATALOGUE = ROOT / "rowtide" / "error_catalogue"

MODULES = {
    info.name: importlib.import_module(f"rowtide.error_catalogue.{info.name}")
    for info in pkgutil.iter_modules(error_catalogue.__path__)
    if info.name != "entries"
}
ENTRIES: dict[tuple[str, str], Any] = {
    (module, name): value
    for module, content in MODULES.items()
    for name, value in vars(content).items()
    if isinstance(value, Entry | ReasonEntry | FindingEntry)
}
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, RowtideError) and kind.__module__ == errors.__name__
}
CODED = {"ParkRow": 1, "Check": 0, "Said": 0, "Reason": 0, "pause": 2, "_pause": 1, "Rejected": 1}
"""Calls that carry a code to an operator, and where it stands among the arguments."""


@functools.cache
def sources() -> list[tuple[Path, ast.Module]]:
    """The product's files but the catalogue's own."""
    paths = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
    return [
        (path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8")))
        for path in paths
        if CATALOGUE not in path.parents and path.name != "errors.py"
    ]


def called(node: ast.Call) -> str:
    """The last part of what is called."""
    return called_name(node.func)


def bindings(node: ast.AST) -> list[tuple[str, ast.expr]]:
    """The names that a statement gives to something that has a name: imported as, assigned, derived from."""
    match node:
        case ast.ImportFrom(names=names):
            return [(one.asname, ast.Name(one.name)) for one in names if one.asname]
        case ast.Assign(targets=targets, value=value):
            return [(called_name(one), value) for one in targets]
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
            return [(called_name(target), value)]
        case ast.ClassDef(name=name, bases=bases):
            return [(name, base) for base in bases]
        case _:
            return []


def other_names(tree: ast.Module, wanted: Collection[str]) -> dict[str, str]:
    """The other names under which a file knows what is wanted, each with the name that it stands for."""
    pairs = [pair for node in ast.walk(tree) for pair in bindings(node)]
    found: dict[str, str] = {}
    before = -1
    while len(found) > before:
        before = len(found)
        for name, value in pairs:
            known = found.get(called_name(value), called_name(value))
            if known in wanted and name != known:
                found[name] = known
    return found


def made_by_hand(tree: ast.Module, wanted: Collection[str]) -> list[tuple[ast.Call, str]]:
    """Calls of what is wanted, by whatever name, also by way of ``partial``."""
    others = other_names(tree, wanted)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            maker = node.args[0] if called(node) == "partial" and node.args else node.func
            name = called_name(maker)
            if name in wanted or name in others:
                found.append((node, others.get(name, name)))
    return found


def called_name(node: ast.expr) -> str:
    """The last part of a name."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def aliases(tree: ast.Module) -> dict[str, str]:
    """The names under which a file knows modules of the catalogue."""
    return {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "rowtide.error_catalogue"
        for alias in node.names
    }


def direct(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Entries that a file imports by name."""
    return {
        alias.asname or alias.name: (node.module.rpartition(".")[2], alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rowtide.error_catalogue.")
        for alias in node.names
    }


def entry_at(node: ast.expr, modules: dict[str, str], names: dict[str, tuple[str, str]]) -> tuple[str, str] | None:
    """The entry that an expression names; None when it names none."""
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in modules and name.isupper():
            return modules[module], name
        case ast.Name(id=name) if name in names and name.isupper():
            return names[name]
        case _:
            return None


def uses() -> Iterator[tuple[str, tuple[str, str], ast.Call | None]]:
    """Where an entry is named, and the call if it is called there."""
    for path, tree in sources():
        modules, names = aliases(tree), direct(tree)
        calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and (entry := entry_at(node, modules, names)) is not None:
                yield f"{path}:{node.lineno}", entry, calls.get(id(node))


def test_no_error_is_made_but_from_the_catalogue() -> None:
    made = [f"{path}:{node.lineno}: {kind}" for path, tree in sources() for node, kind in made_by_hand(tree, ERRORS)]
    assert made == []


@pytest.mark.parametrize(
    "planted",
    [
        "raise UserError('code', 'sentence')",
        "raise errors.UserError('code', 'sentence')",
        "E = UserError\nraise E('code', 'sentence')",
        "from rowtide.errors import UserError as E\nraise E('code', 'sentence')",
        "E: type = errors.UserError\nF = E\nraise F('code', 'sentence')",
        "class Mine(SyncError):\n    pass\nraise Mine('code', 'sentence')",
        "make = partial(RowError, 'code')",
        "raise (E := UserError)('code', 'sentence')\nraise E('code', 'sentence')",
    ],
)
def test_an_error_made_by_hand_is_found_under_any_name(planted: str) -> None:
    assert made_by_hand(ast.parse(planted), ERRORS)


@pytest.mark.parametrize(
    "kept",
    [
        "try:\n    ask()\nexcept UserError as error:\n    print(error)",
        "ok = isinstance(error, UserError)",
        "E = Exception",
    ],
)
def test_an_error_that_is_caught_is_not_made(kept: str) -> None:
    assert made_by_hand(ast.parse(kept), ERRORS) == []


def test_no_code_stands_as_a_literal_in_a_parked_row_a_pause_or_a_finding() -> None:
    literal = [f"{path}:{line}" for path, tree in sources() for line in literal_codes(tree)]
    assert literal == []


def literal_codes(tree: ast.Module) -> list[int]:
    """Lines where a code that an operator meets is a literal, by position or by name."""
    found = []
    for node, kind in made_by_hand(tree, CODED):
        by_place = node.args[CODED[kind] : CODED[kind] + 1]
        by_name = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        found += [node.lineno for one in by_place + by_name if isinstance(one, ast.Constant | ast.JoinedStr)]
    return found


@pytest.mark.parametrize(
    "planted",
    [
        "ParkRow(claim, 'code', 'sentence')",
        "ParkRow(claim, code='code', sentence='sentence')",
        "from rowtide.deciding.push import ParkRow as P\nP(claim, 'code', 'sentence')",
        "hold = outbox.pause\nhold(conn, syncs, f'{code}')",
    ],
)
def test_a_literal_code_is_found_under_any_name(planted: str) -> None:
    assert literal_codes(ast.parse(planted))


def test_no_code_stands_as_a_literal_in_a_document() -> None:
    literal = [
        f"{path}:{node.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "code" and isinstance(value, ast.Constant | ast.JoinedStr)
    ]
    assert literal == []


def test_every_entry_named_exists_and_is_called_with_its_fields() -> None:
    wrong = []
    for place, entry, call in uses():
        if entry not in ENTRIES:
            if not hasattr(MODULES.get(entry[0]), entry[1]):
                wrong.append(f"{place}: there is no {entry[1]} in {entry[0]}")
            continue
        if call is None:
            continue
        given = {keyword.arg for keyword in call.keywords}
        if None not in given and (call.args or given != ENTRIES[entry].fields):
            wrong.append(f"{place}: {entry[1]} takes {sorted(ENTRIES[entry].fields)}")
    assert wrong == []


def test_every_entry_is_used() -> None:
    named = {entry for _, entry, _ in uses()}
    for module, content in MODULES.items():
        # What stands in a table of the catalogue is used when the table is.
        for table, value in vars(content).items():
            if (module, table) in named and not isinstance(value, Entry | ReasonEntry | FindingEntry):
                named |= {(module, name) for name, one in vars(content).items() if in_table(one, value)}
    assert sorted(name for module, name in set(ENTRIES) - named) == []


def in_table(entry: object, table: object) -> bool:
    """Whether an entry stands in a table of the catalogue."""
    if not isinstance(entry, Entry):
        return False
    values = (
        table.values() if isinstance(table, dict) else [row[1] for row in table] if isinstance(table, tuple) else []
    )
    return any(value is entry for value in values)


def test_a_code_of_the_code_is_compared_only_with_the_catalogue() -> None:
    literal = [
        f"{path}:{node.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Attribute)
        and ast.unparse(node.left).endswith(("error.code", "problem.code", "cause.code"))
        and any(isinstance(one, ast.Constant) for one in node.comparators)
    ]
    assert literal == []


@pytest.mark.parametrize(("entry", "made"), [(name, entry) for (_, name), entry in ENTRIES.items()], ids=str)
def test_every_entry_can_be_made(entry: str, made: Any) -> None:
    assert entry
    done = made(**dict.fromkeys(made.fields, "x"))
    assert "{" not in done.sentence
    if isinstance(made, Entry):
        assert isinstance(done, made.kind)
