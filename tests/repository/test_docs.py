"""What the pages name exists: files, functions, commands."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from control.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/decisions").glob("*.md"))]
REFERENCE = re.compile(r"`([\w./-]+\.py)(?:: (\w+))?`")
COMMAND = re.compile(r"^\s*(?:\$ )?(rowtide .*)$|`(rowtide [^`]*)`", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_exist(page: Path) -> None:
    for path, name in REFERENCE.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), f"{page.name} names {path}"
        if name:
            defined = rf"(?m)^\s*(async )?(def|class) {name}\b|^{name}\b"
            assert re.search(defined, (ROOT / path).read_text(encoding="utf-8")), f"{page.name}: {path} has no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"](docs/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "errors.md"], ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    root = get_command(app)
    for line, inline in COMMAND.findall(page.read_text(encoding="utf-8")):
        command, options = root, []
        for word in shlex.split((line or inline).partition("#")[0].rstrip("`,.;:"))[1:]:
            if word.startswith("-"):
                options.append(word)
            elif not options and hasattr(command, "commands") and word in command.commands:
                command = command.commands[word]
        assert command is not root or options, f"{page.name}: {line or inline}"
        known = {spelling for parameter in command.params for spelling in parameter.opts} | {"--help", "-h"}
        assert set(options) <= known, f"{page.name}: {line or inline}"
