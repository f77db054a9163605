"""Every line of docs/threat-model.md names an actor that the page knows, and a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/threat-model.md").read_text()
LINES = [line.split("|") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
NAMED = sorted({found for *_, shown, _ in LINES for found in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)})


def cells(heading: str) -> list[str]:
    """The first cell of each row of the table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [row.split("|")[1].strip() for row in rows[2:]]


def test_lines_are_numbered_and_each_names_a_test() -> None:
    assert [int(line[1]) for line in LINES] == list(range(1, len(LINES) + 1))
    assert all(len(line) == 7 and "::test_" in line[5] for line in LINES)


def test_each_line_is_about_an_actor_of_the_page_and_each_actor_has_a_line() -> None:
    actors, current, met = cells("Who is trusted with what"), "", set()
    for line in LINES:
        current = current if line[2].strip() == "the same" else line[2].strip()
        met.add(current)
    assert met == set(actors)


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_test_it_names_exists(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for file, name in NAMED if file == path} <= there
