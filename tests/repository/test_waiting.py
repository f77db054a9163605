"""No loop decides by itself how long to wait after a failure: `rowtide.backoff` does.

What a syntax tree shows: a literal or constant wait in an ``except`` clause, and a wait that is doubled, raised to a
power, or grown with the number of attempts by hand. A pause between two looks (a poll) is none of these and stays where
it is.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("rowtide", "state", "connectors", "flows", "control", "demo")
WAITS = re.compile(r"(?<!process)\.wait$|\bsleep$")
"""A child process is waited for within a limit, which is no pause between attempts."""
SECONDS = re.compile(r"wait|pause|_s\b|attempts|failures")
COUNTS = re.compile(r"(^|_)(attempts?|failures|tries|tried|retries)$")
"""Names that count attempts; a name of seconds that grows in place is `DURATIONS`."""
DURATIONS = re.compile(r"(^|_)(wait|pause|delay|sleep)(_s|_seconds)?$")


def is_fixed(node: ast.expr) -> bool:
    """Whether an expression is a number or a constant by name."""
    match node:
        case ast.Constant(value=int() | float()):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
        case ast.IfExp(body=body, orelse=orelse):
            return is_fixed(body) or is_fixed(orelse)
        case _:
            return False


def is_grown(node: ast.AST) -> bool:
    """Whether an expression bounds something that doubles, as ``min(wait * 2, most)`` and ``min(2.0**n, most)`` do."""
    if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "min"):
        return False
    return any(
        isinstance(part, ast.BinOp)
        and (
            (isinstance(part.op, ast.Pow) and getattr(part.left, "value", None) == 2)
            or (isinstance(part.op, ast.Mult) and "2" in (ast.unparse(part.left), ast.unparse(part.right)))
        )
        and SECONDS.search(ast.unparse(node))
        for argument in node.args
        for part in ast.walk(argument)
    )


def is_counted(node: ast.expr) -> bool:
    """Whether an expression grows with a count of attempts, as ``0.5 * attempts`` does; the backoff takes a count."""
    if isinstance(node, ast.Call) and last_name(node.func) == "wait_s":
        return False
    return any(COUNTS.search(last_name(part)) for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute))


def last_name(node: ast.AST) -> str:
    """The name that an expression ends with."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def linear_waits(tree: ast.AST) -> Iterator[int]:
    """Lines where a wait grows with each attempt: in the call itself, in what is kept for it, or in place."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=func, args=[seconds, *_]) if WAITS.search(ast.unparse(func)) and is_counted(seconds):
                yield node.lineno
            case ast.Assign(targets=[target], value=ast.BinOp() | ast.Call() as value) if DURATIONS.search(
                last_name(target)
            ) and is_counted(value):
                yield node.lineno
            case ast.AugAssign(target=target, op=ast.Add() | ast.Mult()) if DURATIONS.search(last_name(target)):
                yield node.lineno


def own_waits(tree: ast.AST) -> Iterator[int]:
    """Lines where a loop decides a wait itself."""
    yield from linear_waits(tree)
    for node in ast.walk(tree):
        if is_grown(node):
            yield node.lineno  # type: ignore[attr-defined]
        if isinstance(node, ast.ExceptHandler):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and WAITS.search(ast.unparse(call.func)):
                    yield from (call.lineno for seconds in call.args[:1] if is_fixed(seconds))


def test_no_loop_has_waits_of_its_own() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for layer in LAYERS
        for path in sorted((ROOT / layer).rglob("*.py"))
        if path != ROOT / "rowtide" / "backoff.py"
        for line in own_waits(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "try:\n    ask()\nexcept OSError:\n    stop.wait(0.5)\n",
        "try:\n    ask()\nexcept OSError:\n    if not done:\n        time.sleep(RETRY_S)\n",
        "try:\n    ask()\nexcept OSError:\n    stop.wait(RETRY_S if said else 0.2)\n",
        "wait_s = min(wait_s * 2, 5.0)\n",
        "wait_s = min(most_s, first_s * 2**failures)\n",
        "wait_s = min(2.0**attempts, 60.0)\n",
        "for attempt in range(5):\n    time.sleep(attempt)\n",
        "while not ask():\n    attempts += 1\n    stop.wait(0.5 * attempts)\n",
        "await asyncio.sleep(min(float(self._failures), MOST_S))\n",
        "wait_s = FIRST_S * tries\nstop.wait(wait_s)\n",
        "while not ask():\n    stop.wait(pause_s)\n    pause_s += 1.0\n",
        "while not ask():\n    stop.wait(self._delay_s)\n    self._delay_s *= 2\n",
    ],
)
def test_a_wait_decided_by_hand_is_found(planted: str) -> None:
    assert list(own_waits(ast.parse(planted)))


@pytest.mark.parametrize(
    "kept",
    [
        "while not there():\n    stop.wait(POLL_S)\n",
        "try:\n    ask()\nexcept OSError as error:\n    stop.wait(backoff.failed(error))\n",
        "half = min(count, most)\n",
        "attempts += 1\nstop.wait(wait_s(bounds, attempts))\n",
        "self.waiting_bytes += size\n",
    ],
)
def test_a_poll_and_the_backoff_are_not(kept: str) -> None:
    assert list(own_waits(ast.parse(kept))) == []
