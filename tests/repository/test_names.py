"""No file has a name that says nothing."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SAYS_NOTHING = {"utils", "util", "common", "helpers", "misc", "types", "base"}
FOLDERS = ["rowtide", "state", "connectors", "flows", "control", "demo", "graphsim", "migrations", "perf", "tests"]


def test_every_file_name_says_something() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert paths
    assert [path for path in paths if path.stem in SAYS_NOTHING] == []
