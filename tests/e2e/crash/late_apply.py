"""An `apply` whose person takes their time between the plan and the yes.

In: a world whose definition is what they want. Out: the exit code of their apply. Rule: it is planned when the question
is asked, from a file of its own, and goes on when the yes is given.
"""

import os
import pty
import subprocess
import sys

from tests.e2e.crash.world import World
from tests.e2e.stack import wait_until

QUESTION_S = 180.0
"""How long a plan may take: it shares the quota with a process that delivers."""


class Late:
    """`rowtide apply` at a terminal."""

    def __init__(self, world: World) -> None:
        stack, config = world.stack, world.stack.config
        stack.config = config.with_name("late.yaml")
        stack.write(world.definition.syncs())
        command = [sys.executable, "-m", "control.cli", "apply", "-c", str(stack.config)]
        stack.config = config
        self._log = config.with_name("late.log")
        self._terminal, at_its_end = pty.openpty()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=stack.environment_of("apply"), stdin=at_its_end, stdout=log, stderr=log
            )
        os.close(at_its_end)
        stack.processes.append(self._process)

    def wait_for_the_question(self) -> None:
        """Until the plan is shown."""
        wait_until(
            lambda: self._process.poll() is not None or "[y/N]" in self._log.read_text(), "the question", QUESTION_S
        )
        assert self._process.poll() is None, self._log.read_text()

    def agree(self) -> int:
        """Say yes; the exit code."""
        os.write(self._terminal, b"y\n")
        return self._process.wait(2 * QUESTION_S)

    def close(self) -> None:
        """Hang up."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        os.close(self._terminal)
