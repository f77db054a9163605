"""Each word of docs/glossary.md occurs in the code, as a name or in prose."""

import re

import pytest

from tests.repository import citations

PAGE = (citations.ROOT / "docs/glossary.md").read_text(encoding="utf-8")
WORDS = [word for word in re.findall(r"(?m)^\| ([^|]+) \|", PAGE) if word not in ("word", "---")]
PRODUCT = [path for path in citations.source_files() if path.relative_to(citations.ROOT).parts[0] in citations.PACKAGES]
CODE = "\n".join(path.read_text(encoding="utf-8") for path in PRODUCT)


def occurs(word: str, code: str) -> bool:
    """Whether ``row key`` is there as such, as ``row_key`` or as ``RowKey``; endings (parked, claims) count."""
    return re.search(r"(?<![a-z])" + r"[ _]?".join(map(re.escape, word.split())), code, re.IGNORECASE) is not None


def test_words_stand_there_once() -> None:
    assert len(WORDS) > 50
    assert len(WORDS) == len(set(WORDS))


@pytest.mark.parametrize("word", WORDS)
def test_word_occurs_in_the_code(word: str) -> None:
    assert occurs(word, CODE)


@pytest.mark.parametrize(
    ("word", "code", "there"),
    [
        ("row key", "def row_key(", True),
        ("row key", "class RowKey", True),
        ("lane", "in lanes", True),
        ("lane", "planes", False),
        ("era", "operation", False),
        ("watermill", "the outbox", False),
    ],
)
def test_a_word_that_is_not_there_is_found_out(word: str, code: str, there: bool) -> None:
    assert occurs(word, code) is there
