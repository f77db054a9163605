"""Writes docs/errors.md; a person runs ``python -m control.cli.errors_page`` when a test says that the page is old.

In: the page as `control.operations.errors_page` gives it. Out: the file. Rule: it is for people who work on Rowtide and
not one of its commands.
"""

from pathlib import Path

from control.cli import output
from control.operations.errors_page import page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    output.say(f"wrote {PAGE.relative_to(ROOT)}")
