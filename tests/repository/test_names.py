"""Names: every file has a name that says something, no two classes share a name, some words name one function."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAYS_NOTHING = {"utils", "util", "common", "helpers", "misc", "types", "base"}
PRODUCT = ["rowtide", "state", "connectors", "flows", "control", "demo", "graphsim", "migrations", "perf", "dashboards"]

ONE_MEANING = {
    "stage",
    "settle",
    "claim",
    "take_up",
    "misfit",
    "bucket_of",
    "note_absent",
    "count_absent",
    "translated",
}
"""Words with which readers look for one function; a second function of that name would mean something else."""


def test_every_file_name_says_something() -> None:
    paths = [path for folder in [*PRODUCT, "tests"] for path in (ROOT / folder).rglob("*.py")]
    assert paths
    assert [path for path in paths if path.stem in SAYS_NOTHING] == []


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    assert len(places) > 200
    assert repeated(places) == {}


def test_a_word_of_one_meaning_names_one_function() -> None:
    places = defaultdict(list)
    for path, tree in trees():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in ONE_MEANING:
                places[node.name].append(path)
    assert set(places) == ONE_MEANING  # the list names what there is
    assert repeated(places) == {}


def trees() -> Iterator[tuple[str, ast.Module]]:
    """The product's files, parsed, with their paths."""
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def repeated(places: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names that stand in more than one place."""
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}
