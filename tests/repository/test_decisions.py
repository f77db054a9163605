"""Every decision record has a number, a status and a line in the index; the large ones have alternatives, too."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs/decisions"
RECORDS = sorted(FOLDER.glob("0*.md"))
LARGE = [path for path in RECORDS if path.name[:4] in {*(f"{number:04}" for number in range(2, 10)), "0015"}]
PARTS = ["Context", "Decision", "Alternatives", "Figures", "Consequences"]


def faults(name: str, text: str, index: str) -> list[str]:
    """What is missing in a record."""
    found = []
    title = re.match(r"# (\d{4}): (.+)", text)
    status = re.search(r"(?m)^Status: (\w+)\.", text)
    if title is None or title.group(1) != name[:4]:
        found.append("title")
    if status is None:
        found.append("status")
    if title and status and f"| [{title.group(1)}]({name}) | {title.group(2)} | {status.group(1)} |" not in index:
        found.append("line in the index")
    return found


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_record_is_numbered_and_listed(path: Path) -> None:
    assert faults(path.name, path.read_text(encoding="utf-8"), (FOLDER / "README.md").read_text(encoding="utf-8")) == []


def test_numbers_leave_no_gap() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.name)
def test_a_large_decision_has_all_parts(path: Path) -> None:
    assert re.findall(r"(?m)^## (.+)$", path.read_text(encoding="utf-8")) == PARTS


@pytest.mark.parametrize(
    ("text", "index", "fault"),
    [
        ("# 0003: Other\n\nStatus: accepted.\n", "", "title"),
        ("# 0002: A\n", "", "status"),
        ("# 0002: A\n\nStatus: accepted.\n", "| [0002](0002-a.md) | B | accepted |", "line in the index"),
    ],
)
def test_a_fault_is_found(text: str, index: str, fault: str) -> None:
    assert fault in faults("0002-a.md", text, index)
