"""What every command starts with: the definition file, the style of the log, and who types.

In: the path given with ``-c``. Out: a `Session` for the operations, the `Actor` for those that act. Rule: the log takes
the style that the file asks for before the command does anything else.
"""

import getpass
import socket
from pathlib import Path

from control.cli import logs
from control.operations.session import Session, open_session
from rowtide.actor import Actor, claimed_actor


def start_session(config: Path) -> Session:
    """A session on the definition file; log lines take its style from now on."""
    session = open_session(config)
    logs.set_up(session.definition.run.log)
    return session


def actor() -> Actor:
    """Whoever types, as the operating system names them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return claimed_actor(user, socket.gethostname())
