"""A host that nobody of ours has any business with: it notes who comes, and what is said to it.

In: nothing. Out: a port of this machine, and what was sent to it so far. Rule: it never answers.
"""

import contextlib
import socket
import threading


class Stranger:
    """Listens on a port of its own until `close`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                with caller:
                    caller.settimeout(1)
                    said = b""
                    with contextlib.suppress(OSError):
                        said = caller.recv(4096)
                    self.heard.append(said)
