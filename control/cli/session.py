"""What every command starts with: the definition file, the style of the log, who types, and how it is stopped.

In: the path given with ``-c``. Out: a `Session` for the operations, the `Actor` for those that act, an event for those
that take long. Rule: the log takes
the style that the file asks for before the command does anything else.
"""

import getpass
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors import signals
from control.cli import logs
from control.operations.session import Session, open_session
from rowtide.actor import Actor, claimed_actor


def start_session(config: Path) -> Session:
    """A session on the definition file; log lines take its style and level from now on."""
    session = open_session(config)
    log = session.definition.run.log
    logs.set_up(log.format, log.level)
    return session


def actor() -> Actor:
    """Whoever types, as the operating system names them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return claimed_actor(user, socket.gethostname())


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or Ctrl-C sets."""
    stop = threading.Event()
    with signals.handled(lambda _signal: stop.set()):
        yield stop
