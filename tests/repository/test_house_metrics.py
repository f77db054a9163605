"""The proportions in docs/architecture.md are counted right, and its table is the one that the tool writes."""

from pathlib import Path

from tests.repository import house_metrics

FIRST = '''"""Not code.

Nor this."""

import b  # code, once


class Public:
    """Documented."""

    def documented(self) -> None:
        """Two lines of a body, one of them a docstring."""
        b.act()

    def bare(self, given):
        # a comment
        return (
            given,
        )


def _private() -> None: ...
'''


def plant(root: Path) -> Path:
    (root / "state").mkdir()
    (root / "state/a.py").write_text(FIRST)
    (root / "state/b.py").write_text("def act() -> None:\n    from state import a\n    print(a)\n")
    (root / "state/__init__.py").write_text("")
    return root


def test_lines_sizes_types_and_documentation(tmp_path: Path) -> None:
    found = house_metrics.measure(sorted((plant(tmp_path) / "state").glob("*.py")))
    assert found.files == [9, 3]
    assert sorted(found.functions) == [1, 1, 2, 3]
    assert found.typed.count(False) == 1
    assert found.documented == [True, True, False, False]
    assert found.methods == [2]


def test_an_import_within_a_function_closes_a_circle(tmp_path: Path) -> None:
    root = plant(tmp_path)
    assert house_metrics.circles(root, ["state"]) == 0
    (root / "state/a.py").write_text("import state.b\n")
    assert house_metrics.circles(root, ["state"]) == 1


def test_the_page_has_a_place_for_the_table() -> None:
    page = (house_metrics.ROOT / house_metrics.PAGE).read_text(encoding="utf-8")
    table = page.partition(house_metrics.BEGIN)[2].partition(house_metrics.END)[0]
    assert table.strip().startswith(house_metrics.HEAD)
