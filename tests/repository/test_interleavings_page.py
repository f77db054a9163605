"""Every test that docs/interleavings.md names exists, and each of the design's interleavings has one."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = [line for line in (ROOT / "docs/interleavings.md").read_text().splitlines() if re.match(r"\| \d+ \|", line)]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", "\n".join(LINES))))


def test_each_interleaving_has_a_line_and_a_test() -> None:
    assert [int(line.split("|")[1]) for line in LINES] == list(range(1, 26))
    assert all("::test_" in line.split("|")[4] for line in LINES)


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_it_names_exists(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for file, name in NAMED if file == path} <= there
