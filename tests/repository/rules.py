"""Rules of the code that no linter has: each is a function over the product's syntax trees.

In: `Sources`, the parsed files by module name. Out: one sentence for each place that breaks the rule. Rule: what is
allowed is listed, never what is forbidden, so that a new module is held too; imports count wherever they stand, under
TYPE_CHECKING and inside functions as well.
"""

import ast
import graphlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("rowtide", "state", "connectors", "flows", "control", "demo", "graphsim", "migrations")

Sources = Mapping[str, ast.Module]

CORE_IMPORTS: Final = frozenset(
    {"rowtide", "pydantic", "pydantic_core", "sqlglot"}
    | {
        "base64",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "hashlib",
        "hmac",
        "html",
        "ipaddress",
        "json",
        "math",
        "operator",
    }
    | {"itertools", "re", "string", "struct", "typing", "uuid", "zlib"}
)
"""All that the pure core may import; none of it reads or writes anything, but for the names below."""

CORE_BUILTINS: Final = frozenset({"open", "print", "input", "eval", "exec", "compile", "breakpoint", "__import__"})
"""Built-in functions that read, write or run something."""

CORE_ATTRIBUTES: Final = frozenset(
    {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
    | {("uuid", name) for name in ("uuid1", "uuid4", "uuid6", "uuid7", "getnode")}
)
"""Clocks and randomness of modules that are otherwise pure: time, chance and ids come in as arguments."""

CORE_CLASSES: Final = frozenset(of for of, _ in CORE_ATTRIBUTES)

TERMINAL_NAMES: Final = frozenset({"print", "input", "exit", "quit", "SystemExit"})
TERMINAL_ATTRIBUTES: Final = frozenset(
    {("sys", name) for name in ("exit", "stdin", "stdout", "stderr")} | {("os", "_exit"), ("getpass", "getpass")}
)
"""Ways to talk to a terminal or to end the process."""

STEP_IMPORTS: Final = frozenset({"bytewax", "flows.ports", "flows.steps", "rowtide"})
PORT_IMPORTS: Final = frozenset({"rowtide"})
"""What steps and ports may import of what is not in the standard library."""

MOST_METHODS: Final = 20

CONNECTION_OPENERS: Final = {
    # A proof needs a session; the first definition of a source names no slot yet.
    "open_unproven": frozenset({"connectors.postgres.source_sessions", "control.operations.init"}),
    # Continuity is judged on the stream's connection; doctor only identifies the server by one.
    "ReplicationConnection.connect": frozenset(
        {"connectors.postgres.replication.reader", "connectors.postgres.preflight"}
    ),
    "psycopg.connect": frozenset(
        {"connectors.postgres.connections", "connectors.postgres.replication.connection"}
        | {"state.database", "state.schema"}
    ),
}
"""What opens a connection to PostgreSQL, and who may; all others reach a source through `source_sessions` only."""
_MAY_OPEN: Final = frozenset().union(*CONNECTION_OPENERS.values())
COMPOSERS: Final = ("connectors", "flows", "control")
"""Packages whose statements may hold names of the customer's; those of `state` and `migrations` hold our own only."""
SAFE_IN_SQL: Final = frozenset({"as_string", "lsn_to_text", "_walsender_text"})
"""Calls whose text may be put into a statement: psycopg has quoted it, or it holds no name."""
QUOTERS: Final = frozenset(
    # The core imports no psycopg; a definition is YAML; the walsender's grammar is not SQL's; OData is no SQL.
    {"rowtide.expressions.syntax", "rowtide.table_name", "connectors.postgres.replication.connection"}
    | {"connectors.graph.batch"}
)
"""Modules that double quotes themselves."""
_SQL: Final = re.compile(
    r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|TRUNCATE|COPY|CREATE|ALTER|DROP|GRANT|SET|EXPLAIN|START_REPLICATION)\b"
)
_DOUBLED: Final = frozenset({(one, one * 2) for one in "\"'"})

_OPENING_MODULES: Final = frozenset(
    {"psycopg", "connectors.postgres.connections", "connectors.postgres.replication.connection"}
)
_OPENERS: Final = frozenset({"open_unproven", "ReplicationConnection", "connect", "Connection", "AsyncConnection"})


CLOCK_READERS: Final = frozenset(
    # What a clock of a machine is compared with, and the life of a token, which azure-identity reckons by it.
    {"connectors.clocks", "connectors.graph.auth"}
    # When a report was sent, as the replication protocol has it; no server goes by it.
    | {"connectors.postgres.replication.feedback"}
    # When a batch was sent, as a collector shows it beside other systems' spans.
    | {"connectors.otlp_spans"}
    # When a person's plan would be done, by that person's clock.
    | {"control.cli.plan", "control.cli.apply"}
)
"""Who may read this machine's clock; all others wait by a monotonic one and compare times of the state database."""
_CLOCKS: Final = frozenset(
    {("time", name) for name in ("time", "time_ns", "ctime", "localtime", "gmtime", "strftime")}
    | {("datetime", name) for name in ("now", "utcnow", "today")}
    | {("date", "today")}
)

THREAD_STARTERS: Final = {
    # Every loop is supervised there, and every call beside its caller.
    "Thread": frozenset({"connectors.loops"}),
    # Awaited where it is called, in commands only.
    "to_thread": frozenset({"connectors.graph.sdk_client"}),
    **dict.fromkeys(("Timer", "run_in_executor", "start_new_thread"), frozenset()),
    **dict.fromkeys(("ThreadPoolExecutor", "ProcessPoolExecutor", "Process"), frozenset()),
}
"""What begins a thread or a process, and which modules of the product may."""
_THREAD_MODULES: Final = frozenset({"threading", "_thread", "concurrent.futures", "multiprocessing"})
THREADED: Final = ("rowtide", "state", "connectors", "flows", "control", "migrations")


def read_sources(root: Path = ROOT) -> dict[str, ast.Module]:
    """The product's files, parsed."""
    return {
        module_name(path.relative_to(root)): ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }


def module_name(path: Path) -> str:
    """``a/b/c.py`` is a.b.c; a package's ``__init__.py`` has the package's name."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def core_imports_only_pure_modules(sources: Sources) -> Iterator[str]:
    """The pure core imports nothing that could do IO."""
    for module, name, line in _imports_of("rowtide", sources):
        if name.partition(".")[0] not in CORE_IMPORTS:
            yield f"{module}:{line} imports {name}"


def core_has_no_clock_and_no_io(sources: Sources) -> Iterator[str]:
    """The pure core opens nothing, prints nothing, and asks for neither the time nor chance."""
    for module, tree in _within("rowtide", sources):
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in CORE_BUILTINS:
                yield f"{module}:{node.lineno} uses {node.id}"
            if isinstance(node, ast.Attribute) and (_last_name(node.value), node.attr) in CORE_ATTRIBUTES:
                yield f"{module}:{node.lineno} uses {_last_name(node.value)}.{node.attr}"
            if isinstance(node, ast.ImportFrom):
                taken = {(node.module, alias.name) for alias in node.names} & CORE_ATTRIBUTES
                # Under another name the clock would not be seen above.
                taken |= {(node.module, one.name) for one in node.names if one.asname and one.name in CORE_CLASSES}
                yield from (f"{module}:{node.lineno} imports {of}.{name}" for of, name in sorted(taken))


def steps_know_ports_only(sources: Sources) -> Iterator[str]:
    """The flow's steps know the core, Bytewax and the ports; the ports know the core."""
    for package, allowed in (("flows.steps", STEP_IMPORTS), ("flows.ports", PORT_IMPORTS)):
        for module, name, line in _imports_of(package, sources):
            parts = name.split(".")
            heads = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
            if parts[0] not in sys.stdlib_module_names and not heads & allowed:
                yield f"{module}:{line} imports {name}"


def operations_return_documents(sources: Sources) -> Iterator[str]:
    """An operation takes values and gives a document: it prints nothing, asks nobody and ends no process."""
    for module, tree in _within("control.operations", sources):
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in TERMINAL_NAMES:
                yield f"{module}:{node.lineno} uses {node.id}"
            if isinstance(node, ast.Attribute) and (_last_name(node.value), node.attr) in TERMINAL_ATTRIBUTES:
                yield f"{module}:{node.lineno} uses {_last_name(node.value)}.{node.attr}"


def product_needs_no_tests(sources: Sources) -> Iterator[str]:
    """What is delivered imports neither tests nor benchmarks."""
    for package in PACKAGES:
        for module, name, line in _imports_of(package, sources):
            if name.partition(".")[0] in ("tests", "perf"):
                yield f"{module}:{line} imports {name}"


def no_import_circle(sources: Sources) -> Iterator[str]:
    """No module imports itself by way of others."""
    graph = {module: {name for name, _ in _imports(tree, module, sources) if name in sources} - {module}
             for module, tree in sources.items()}  # fmt: skip
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield " <- ".join(error.args[1])


def no_class_knows_everything(sources: Sources) -> Iterator[str]:
    """No class has more methods than can be kept in mind."""
    for module, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)
                if methods > MOST_METHODS:
                    yield f"{module}:{node.lineno} {node.name} has {methods} methods"


def sessions_on_a_source_are_proven(sources: Sources) -> Iterator[str]:
    """Whoever opens a session on a source proves its server: connections are opened in the listed modules only."""
    for module, tree in sources.items():
        if module.partition(".")[0] == "demo":  # its databases are its own
            continue
        for node in ast.walk(tree):
            used = _opener_of(node)
            if used is not None and module not in CONNECTION_OPENERS[used]:
                yield f"{module}:{node.lineno} uses {used}"  # type: ignore[attr-defined]
            if isinstance(node, ast.ImportFrom) and node.module in _OPENING_MODULES and module not in _MAY_OPEN:
                # Under another name, or as a bare `connect`, its use would not be seen above.
                hidden = {one.name for one in node.names if one.asname or node.module == "psycopg"} & _OPENERS
                yield from (f"{module}:{node.lineno} imports {name}" for name in sorted(hidden))


def names_enter_sql_by_psycopg(sources: Sources) -> Iterator[str]:
    """A name of the customer's gets into a statement by `sql.Identifier` alone: no text is put together around it."""
    for module, tree in sources.items():
        for node in ast.walk(tree):
            if _doubles_quotes(node) and module not in QUOTERS:
                yield f"{module}:{node.lineno} quotes a name itself"  # type: ignore[attr-defined]
            if module.partition(".")[0] in COMPOSERS and any(not _is_safe(part) for part in _put_into_sql(node)):
                yield f"{module}:{node.lineno} puts text into a statement"  # type: ignore[attr-defined]


def _doubles_quotes(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="replace"), args=[ast.Constant(old), ast.Constant(new)]):
            return (old, new) in _DOUBLED
        case _:
            return False


def _put_into_sql(node: ast.AST) -> list[ast.expr]:
    """What an f-string, ``format``, ``%`` or ``+`` puts into a text that is SQL."""
    match node:
        case ast.JoinedStr(values=values):
            text = "".join(str(one.value) for one in values if isinstance(one, ast.Constant))
            parts = [one.value for one in values if isinstance(one, ast.FormattedValue)]
        case ast.Call(
            func=ast.Attribute(attr="format", value=ast.Constant(value=str(text))), args=args, keywords=named
        ):
            parts = [*args, *(one.value for one in named)]
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod() | ast.Add(), right=right):
            parts = [right]
        case _:
            return []
    return parts if _SQL.search(text) else []


def _is_safe(part: ast.expr) -> bool:
    """Whether it is a constant of the module, or the text of a call that is safe in SQL."""
    match part:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name.isupper()
        case ast.Call(func=func):
            return _last_name(func) in SAFE_IN_SQL
        case _:
            return False


def threads_are_supervised(sources: Sources) -> Iterator[str]:
    """No thread begins but through `connectors.loops`: one that dies silently would stop its work for good."""
    for package in THREADED:
        for module, tree in _within(package, sources):
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute):
                    known = node.attr in _THREAD_NAMES or _last_name(node.value) in _THREAD_TAILS
                    used = {node.attr} if known else set()
                elif isinstance(node, ast.ImportFrom):
                    taken = node.module in (*_THREAD_MODULES, "concurrent", "asyncio")
                    used = {alias.name for alias in node.names} if taken else set()
                else:
                    continue
                used = {name for name in used if module not in THREAD_STARTERS.get(name, {module})}
                yield from (f"{module}:{node.lineno} uses {name}" for name in sorted(used))


def clocks_are_read_where_it_is_said(sources: Sources) -> Iterator[str]:
    """No part of the product goes by this machine's clock, which may be wrong and may be set."""
    for package in THREADED:
        for module, tree in _within(package, sources):
            if module in CLOCK_READERS:
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and (_last_name(node.value), node.attr) in _CLOCKS:
                    yield f"{module}:{node.lineno} uses {_last_name(node.value)}.{node.attr}"
                if isinstance(node, ast.ImportFrom) and node.module == "time":
                    hidden = {alias.name for alias in node.names} & {name for of, name in _CLOCKS if of == "time"}
                    yield from (f"{module}:{node.lineno} imports time.{name}" for name in sorted(hidden))


_THREAD_NAMES: Final = THREAD_STARTERS.keys() - {"Process"}
_THREAD_TAILS: Final = frozenset(name.rpartition(".")[2] for name in _THREAD_MODULES)


def _opener_of(node: ast.AST) -> str | None:
    """The entry of `CONNECTION_OPENERS` that an expression names."""
    if isinstance(node, ast.Name):
        return node.id if node.id in CONNECTION_OPENERS else None
    if not isinstance(node, ast.Attribute):
        return None
    if node.attr in CONNECTION_OPENERS:
        return node.attr
    of = _last_name(node.value)
    of = "psycopg" if of in ("Connection", "AsyncConnection") else of
    return f"{of}.{node.attr}" if f"{of}.{node.attr}" in CONNECTION_OPENERS else None


RULES: Final = (
    core_imports_only_pure_modules,
    core_has_no_clock_and_no_io,
    steps_know_ports_only,
    operations_return_documents,
    product_needs_no_tests,
    no_import_circle,
    no_class_knows_everything,
    sessions_on_a_source_are_proven,
    names_enter_sql_by_psycopg,
    threads_are_supervised,
    clocks_are_read_where_it_is_said,
)


def _within(package: str, sources: Sources) -> Iterator[tuple[str, ast.Module]]:
    return ((name, tree) for name, tree in sources.items() if name == package or name.startswith(package + "."))


def _imports_of(package: str, sources: Sources) -> Iterator[tuple[str, str, int]]:
    for module, tree in _within(package, sources):
        for name, line in _imports(tree, module, sources):
            yield module, name, line


def _imports(tree: ast.Module, module: str, sources: Sources) -> Iterator[tuple[str, int]]:
    """Names of the modules that are imported, with the line; ``from a import b`` is a.b where that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} is a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in sources else str(node.module)), node.lineno


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
