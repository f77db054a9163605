"""What pages, docstrings and comments cite is there: sections, files, dotted names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.repository import citations

QUOTING = "tests/repository/test_citations.py"
"""This file names what is not there on purpose."""
FILES = [path for path in (*citations.pages(), *citations.source_files()) if path != citations.ROOT / QUOTING]
PLANTED: list[tuple[Callable[[str], list[str]], str, str]] = [
    (citations.missing_sections, "as docs/design.md section 99 says", "docs/design.md has no section 99"),
    (citations.missing_sections, "Rules (docs/design.md sections 2 and 98)", "docs/design.md has no section 98"),
    (citations.missing_sections, "docs/facts.md sections 16 to 18", "docs/facts.md has no section 17"),
    (citations.missing_sections, "docs/nothing.md section 1", "docs/nothing.md has no section 1"),
    (citations.missing_sections, "(DESIGN section 3.6)", "cites what is not in the repository: DESIGN"),
    (citations.missing_files, "see `state/nothing.py`", "there is no state/nothing.py"),
    (citations.missing_files, "in flows/nowhere/, or docs/none.md.", "there is no docs/none.md"),
    (citations.unresolved_names, "`rowtide.nothing`", "rowtide.nothing is nothing"),
    (citations.unresolved_names, "state.outbox.claims.nobody says", "state.outbox.claims.nobody is nothing"),
    (citations.unresolved_names, "rowtide.position.Position.height", "rowtide.position.Position.height is nothing"),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(citations.ROOT)))
def test_what_is_cited_is_there(path: Path) -> None:
    text = citations.read_prose(path)
    found = [*citations.missing_sections(text), *citations.missing_files(text), *citations.unresolved_names(text)]
    assert found == [], f"{path.name}: {found}"


@pytest.mark.parametrize(("find", "text", "finding"), PLANTED, ids=lambda one: one if isinstance(one, str) else "")
def test_a_planted_citation_is_found(find: Callable[[str], list[str]], text: str, finding: str, tmp_path: Path) -> None:
    """Planted in a docstring, in a comment and in a page, each wrapped where a line would be."""
    page, docstring, comment = tmp_path / "a.md", tmp_path / "a.py", tmp_path / "b.py"
    wrapped = text.replace(" section", "\nsection")
    page.write_text(wrapped)
    docstring.write_text(f'def f():\n    """{wrapped}"""\n')
    comment.write_text("def f():\n" + "".join(f"    # {line}\n" for line in wrapped.splitlines()) + "    pass\n")
    for path in (page, docstring, comment):
        assert finding in find(citations.read_prose(path)), path.name


def test_what_is_right_is_left_alone() -> None:
    text = "docs/design.md sections 1 to 3, docs/facts.md section 1.1; `state/outbox/claims.py`, docs/1965, flows/;"
    names = "rowtide.position.Position.lsn, rowtide.outbox, rowtide.yaml, state.outbox.claim, rowtide.deciding.push"
    assert citations.missing_sections(text) == citations.missing_files(text) == []
    assert citations.unresolved_names(names) == []
