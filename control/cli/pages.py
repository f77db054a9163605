"""Writes the printed pages of docs/; a person runs ``python -m control.cli.pages`` when a test says that one is old.

In: the pages as `control.operations` gives them. Out: the files. Rule: it is for people who work on Rowtide and not one
of its commands.
"""

from pathlib import Path
from typing import Final

from control.cli import output
from control.operations import errors_page, metrics_page

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = {"docs/errors.md": errors_page.page, "docs/metrics.md": metrics_page.page}
"""By the file's name from the root of the repository."""

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")
        output.say(f"wrote {name}")
