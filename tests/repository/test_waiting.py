"""No loop decides by itself how long to wait after a failure: `rowtide.backoff` does.

What a syntax tree shows: a literal or constant wait in an ``except`` clause, and a wait that is doubled or raised to a
power by hand. A pause between two looks (a poll) is none of these and stays where it is.
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


def own_waits(tree: ast.AST) -> Iterator[int]:
    """Lines where a loop decides a wait itself."""
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
    ],
)
def test_a_poll_and_the_backoff_are_not(kept: str) -> None:
    assert list(own_waits(ast.parse(kept))) == []
