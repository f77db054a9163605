"""What the pages name exists: files, functions, commands."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from control.cli.main import Commands, app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/decisions").glob("*.md")),
    *sorted((ROOT / "docs/playbooks").glob("*.md")),
]
REFERENCE = re.compile(r"`([\w./-]+\.py)(?:: (\w+))?`")
COMMAND = re.compile(r"^\s*(?:\$ )?(rowtide .*)$|`(rowtide [^`]*)`", re.MULTILINE)


def missing_names(text: str) -> list[str]:
    """Files that a page names and that do not exist, and names that their file does not define."""
    found = []
    for path, name in REFERENCE.findall(text):
        if not (ROOT / path).is_file():
            found.append(path)
        elif name:
            defined = rf"(?m)^\s*(async )?(def|class) {name}\b|^{name}\b"
            if not re.search(defined, (ROOT / path).read_text(encoding="utf-8")):
                found.append(f"{path}: {name}")
    return found


def dead_links(text: str, folder: Path) -> list[str]:
    """Links to files that are not there, from a page in ``folder``."""
    return [target for target in re.findall(r"\]\(([^)#:]+)\)", text) if not (folder / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_exist(page: Path) -> None:
    assert missing_names(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page.read_text(encoding="utf-8"), page.parent) == []


def test_what_is_not_there_is_found() -> None:
    text = "`state/nothing.py`, `state/ledger.py: nothing`, `state/ledger.py: to_pair`, [a](none.md), [b](walk.md#top)"
    assert missing_names(text) == ["state/nothing.py", "state/ledger.py: nothing"]
    assert dead_links(text, ROOT / "docs") == ["none.md"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


def every_command() -> Commands:
    """The command line with all its commands loaded."""
    root = get_command(app)
    assert isinstance(root, Commands)
    assert root.list_commands(Context(root))
    return root


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "errors.md"], ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    root = every_command()
    for line, inline in COMMAND.findall(page.read_text(encoding="utf-8")):
        options: list[str] = []
        command: Any = root
        for word in shlex.split((line or inline).partition("#")[0].rstrip("`,.;:"))[1:]:
            if word.startswith("-"):
                options.append(word)
            elif not options and hasattr(command, "commands") and word in command.commands:
                command = command.commands[word]
        assert command is not root or options, f"{page.name}: {line or inline}"
        known = {spelling for parameter in command.params for spelling in parameter.opts} | {"--help", "-h"}
        assert set(options) <= known, f"{page.name}: {line or inline}"
