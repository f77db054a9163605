"""The recording of one run of the suite: where the answers go, and the verdict at its end.

In: pytest's hooks, passed on by `tests/conftest.py`. Out: the environment variable that every process of the run
inherits; a failed run and a section of the summary when an answer is not such as Graph gives.
Rules: the controller of xdist does this, its workers only inherit; answers are kept when something is wrong with them.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.recording import DIRECTORY
from tests.recording.verdict import find_problems, read

_problems = pytest.StashKey[list[str]]()
_directory = pytest.StashKey[Path]()


def begin(config: pytest.Config) -> None:
    """Before any worker or simulator is started."""
    if DIRECTORY not in os.environ:
        config.stash[_directory] = Path(tempfile.mkdtemp(prefix="rowtide-answers-"))
        os.environ[DIRECTORY] = str(config.stash[_directory])


def judge(session: pytest.Session) -> None:
    """After the last test: the run has failed when an answer has."""
    directory = session.config.stash.get(_directory, None)
    if directory is None:
        return
    del os.environ[DIRECTORY]
    problems = session.config.stash[_problems] = find_problems(directory)
    if problems:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        session.config.stash[_count] = sum(1 for _ in read(directory))
        shutil.rmtree(directory, ignore_errors=True)


_count = pytest.StashKey[int]()


def report(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was found, at the end of the summary."""
    if count := config.stash.get(_count, 0):
        terminal.write_line(f"{count} distinct answers of the simulator agree with Graph's published schema")
    if problems := config.stash.get(_problems, []):
        terminal.section("answers of the simulator that Graph would not give", red=True)
        for problem in problems:
            terminal.write_line(problem)
        terminal.write_line(f"recorded in {config.stash[_directory]}")
