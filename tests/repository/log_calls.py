"""What the product may put into a line of its log (docs/design.md section 26).

In: the product's syntax trees. Out: a sentence for each call of a logger that names another key, or a value, than
allowed, and for each way around the loggers. Rule: allowed is what is listed here; a key is listed once its values were
seen to be numbers, ids, codes, names of tables, lists and parts, or words of ours.
"""

import ast
from collections.abc import Iterator
from typing import Final

from tests.repository.rules import Sources

LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
LOGGERS: Final = frozenset({"log", "_log"})
PACKAGES: Final = ("rowtide", "state", "connectors", "flows", "control", "migrations")
SET_UP: Final = frozenset({"control.cli.logs", "control.cli.log_stacks"})
"""Where structlog and the standard library are set up; they make lines of libraries' records and of stacks."""

KEYS: Final = frozenset(
    # which part, row or thing
    {"sync", "syncs", "key_hash", "list_id", "item_id", "graph", "source", "slot", "loop", "part", "process", "roles"}
    | {"process_id", "version", "instance", "listen", "path", "directory", "by", "era", "incarnation", "position"}
    | {"request_id", "client_request_id", "phase"}
    # what is wrong with it; `problem` is an error's `unquoted`
    | {"code", "problem", "remedy", "error", "exc_info", "refusal", "kind", "reason", "why", "changed", "signal"}
    # numbers, times, switches
    | {
        "status",
        "statuses",
        "requests",
        "retries",
        "ru",
        "took_ms",
        "rows",
        "rows_about",
        "items",
        "pairs",
        "ambiguous",
    }
    | {"inferred_deletes", "written_again", "made", "renewed", "ended", "refused", "after_s", "seconds", "wait_s"}
    | {"upload", "away_since"}
)

NEVER: Final = frozenset(
    {"sentence", "key", "keys", "fields", "values", "value", "row", "rows_of", "body", "bodies", "headers", "message"}
    | {"said", "dsn", "token", "secret", "password", "primary", "args", "desired", "shown", "title", "titles"}
)
"""Names that no value of a line may be made of, but for what `LogRow` hashes."""

CALLS: Final = frozenset(
    {"len", "round", "sorted", "join", "split", "partition", "type", "lsn_to_text", "str", "items"} | {"_clock"}
)
"""What may be called for a value."""

SPREAD: Final = frozenset(
    # Counts by names of ours.
    {"counts", "self.record.counts", "said", "more"}
    # Which part it is about: names and ids.
    | {"self._where", "_where(one)", "{part[0]: part[1]}", "claim.in_log", "self._in_log(lease)"}
)
"""What may be spread into a line; each was looked at."""

WORDS_OF_OURS: Final = frozenset(
    {("flows.column_watch", "held.sentence if held else None"), ("control.operations.run", "str(actor)")}
)
"""Values that the rule would refuse and that are names of columns, and who the operating system says types."""


def log_lines_hold_no_values(sources: Sources) -> Iterator[str]:
    """Every call of a logger has an event of ours and keys that are allowed, with values that cannot be a row's."""
    for module, tree in _product(sources):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _is_log_call(module, node):
                yield from (f"{module}:{node.lineno}: {problem}" for problem in _problems(module, node))


def nothing_is_logged_otherwise(sources: Sources) -> Iterator[str]:
    """A logger of structlog has one of two names, so that the rule above sees it; the standard library's is left."""
    for module, tree in _product(sources):
        if module in SET_UP:
            continue
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names) if any(one.name.partition(".")[0] == "logging" for one in names):
                    yield f"{module}:{node.lineno}: log with structlog"
                case ast.ImportFrom(module="logging" | "structlog"):
                    yield f"{module}:{node.lineno}: import structlog, and name the logger log"
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=made)) if _is_maker(made):
                    if name not in LOGGERS:
                        yield f"{module}:{node.lineno}: name the logger log"
                case ast.Attribute(attr="get_logger") if not _is_assigned(tree, node):
                    yield f"{module}:{node.lineno}: make the logger at the top of the module, and name it log"


def _product(sources: Sources) -> Iterator[tuple[str, ast.Module]]:
    return ((name, tree) for name, tree in sources.items() if name.partition(".")[0] in PACKAGES)


def _is_maker(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "get_logger"


def _is_assigned(tree: ast.Module, maker: ast.Attribute) -> bool:
    made = (one.value for one in tree.body if isinstance(one, ast.Assign))
    return any(isinstance(value, ast.Call) and value.func is maker for value in made)


def _is_log_call(module: str, node: ast.Call) -> bool:
    """A call of a logger, or of ``say``, which is one of its methods."""
    match node.func:
        case ast.Attribute(value=ast.Name(id=name), attr=method):
            return name in LOGGERS and method in LEVELS
        case ast.Name(id="say"):
            return module == "connectors.graph.exchanges"
        case _:
            return False


def _problems(module: str, node: ast.Call) -> Iterator[str]:
    events = {"self._begins", "self._ends"} if module == "connectors.trouble" else set[str]()
    for event in node.args:
        if not _is_fixed(event) and ast.unparse(event) not in events:
            yield f"the event is not a fixed text: {ast.unparse(event)}"
    for word in node.keywords:
        shown = ast.unparse(word.value)
        if word.arg is None:
            if shown not in SPREAD:
                yield f"**{shown} is not known to be free of values"
        elif word.arg not in KEYS:
            yield f"{word.arg} is no key of the log"
        elif (module, shown) not in WORDS_OF_OURS and (found := sorted(_suspects(word.value))):
            yield f"{word.arg}={shown} may hold a value ({', '.join(found)})"


def _is_fixed(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_fixed(node.body) and _is_fixed(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _suspects(value: ast.expr) -> Iterator[str]:
    """What in an expression may be a value, or another system's words."""
    for node in ast.walk(value):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in NEVER:
                yield name
            case ast.Call(func=ast.Name(id="repr" | "format" | "vars") as called):
                yield called.id
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name not in CALLS:
                yield f"{name}()"
            case ast.Call(func=ast.Name(id="str"), args=[ast.Name(id=name)]) if name in ("error", "cause", "fault"):
                yield f"str({name})"
