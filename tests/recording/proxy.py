"""The process: a simulator of its own behind it, bytes both ways, a copy of them read.

In: the arguments of ``python -m graphsim``. Out: its ready line with this proxy's port in the place of the
simulator's, its exit code; in the directory named by the environment one file per process, a line of JSON for each
distinct answer. Called by ``__main__``. Rules: bytes go on before they are looked at and are never changed (links in
bodies come out right because the simulator builds them from the Host header it gets), so truncations, resets and
delays arrive as they were sent; killing this process kills the simulator; a line is in the file as soon as its answer
has passed.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.recording import DIRECTORY
from tests.recording.answers import parts_of, to_record
from tests.recording.messages import Message, Messages

_PR_SET_PDEATHSIG = 1
_HIGH_WATER = 1024 * 1024
_ATTEMPTS = 3


class Book:
    """The distinct answers of this process, in a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._seen: set[Any] = set()
        self._test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0]

    def note(self, request: Message, answer: Message) -> None:
        method, target = request.first.split(" ")[:2]
        status = int(answer.first.split(" ")[1])
        for part in parts_of(method, target, request.body, status, answer.body):
            key = part.key()
            if key not in self._seen:
                self._seen.add(key)
                self._file.write(orjson.dumps({"test": self._test, **to_record(part)}) + b"\n")

    def note_trouble(self, error: Exception) -> None:
        """Never in silence: an answer that could not be read may be one that is wrong."""
        self._file.write(orjson.dumps({"test": self._test, "trouble": repr(error)}) + b"\n")


class Exchange:
    """What passed on one connection: answers come in the order of their requests."""

    def __init__(self, book: Book) -> None:
        self._book: Book | None = book
        self._requests: deque[Message] = deque()
        self._sent, self._answered = Messages(), Messages()

    def saw(self, data: bytes, is_answer: bool) -> None:
        if self._book is None:
            return
        try:
            if is_answer:
                for answer in self._answered.feed(data):
                    self._book.note(self._requests.popleft(), answer)
            else:
                self._requests.extend(self._sent.feed(data))
        except Exception as error:
            self._book.note_trouble(error)
            self._book = None


class End(asyncio.Protocol):
    """One end of a connection that is passed on: what comes here goes to the other end."""

    def __init__(self, exchange: Exchange, is_answer: bool) -> None:
        self.exchange = exchange
        self.is_answer = is_answer
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self._early: list[bytes] = []
        self._is_gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def pair(self, other: "End") -> None:
        """From now on the two belong together; what came before is passed on."""
        self.other, other.other = other, self
        assert other.transport is not None
        for data in self._early:
            other.transport.write(data)
        if self._is_gone:
            other.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)
        self.exchange.saw(data, self.is_answer)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            with contextlib.suppress(RuntimeError):
                self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_gone = True
        if self.other is None or self.other.transport is None:
            return
        if error is None:
            self.other.transport.close()
        else:
            reset(self.other.transport)


def reset(transport: asyncio.Transport) -> None:
    """End a connection as a reset: SO_LINGER 0 turns the close into a RST."""
    if (held := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    transport.abort()


class Entrance(End):
    """The client's end: it opens the way to the simulator."""

    def __init__(self, book: Book, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(Exchange(book), is_answer=False)
        self._port = port
        self._context = context
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, end = await loop.create_connection(
                lambda: End(self.exchange, True), "127.0.0.1", self._port, ssl=self._context
            )
        except OSError:
            assert self.transport is not None
            reset(self.transport)
            return
        self.pair(end)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _split(arguments: list[str]) -> tuple[int, list[str], bool]:
    """The port to listen on, the simulator's own arguments, and whether to end with the parent."""
    port, own, is_leashed = 0, [], False
    words = iter(arguments)
    for word in words:
        name, _, value = word.partition("=")
        if name == "--port":
            port = int(value or next(words))
        elif word == "--die-with-parent":
            is_leashed = True
        else:
            own.append(word)
    return port, own, is_leashed


def _tls_of(ready: dict[str, Any]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate for this side, whose CA is added to the simulator's file, and trust in that file for the other."""
    from graphsim.identity.certificates import make_authority  # it loads slowly, and few simulators serve TLS

    path = Path(ready["ca_file"])
    inner = ssl.create_default_context(cafile=str(path))
    own = make_authority(["127.0.0.1", "localhost"])
    path.write_bytes(path.read_bytes() + own.ca_pem)
    return own.context, inner


def _free_port() -> int:
    """For the simulator: its ready line does not tell its port when it names a public address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _is_taken(port: int) -> bool:
    """Whether somebody else has got the port since it was free."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def _start(port: int, own: list[str]) -> tuple[subprocess.Popen[bytes], bytes]:
    """The simulator and its ready line, which is empty when it ends instead."""
    # The simulator holds this process's own stdout too: whoever reads that to its end knows that both are gone.
    held = os.dup(1)
    simulator = subprocess.Popen(
        [sys.executable, "-m", "graphsim", "--port", str(port), *own],
        stdout=subprocess.PIPE,
        # Safe beside the one thread there may be (the demo's leash): it makes one system call.
        preexec_fn=_die_with_parent,  # noqa: PLW1509
        pass_fds=[held],
    )
    os.close(held)
    assert simulator.stdout is not None
    return simulator, simulator.stdout.readline()


async def _pass_on(
    simulator: subprocess.Popen[bytes], ready: dict[str, Any], port: int, inner_port: int, book: Book, *, is_tls: bool
) -> None:
    """Listens, says so, and stays until the simulator has ended."""
    loop = asyncio.get_running_loop()
    scheme = urlsplit(ready["base_url"]).scheme
    outer, inner = _tls_of(ready) if is_tls else (None, None)
    server = await loop.create_server(lambda: Entrance(book, inner_port, inner), "127.0.0.1", port, ssl=outer)
    before = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    for name in ("base_url", "ui_url", "control_url"):
        ready[name] = ready[name].replace(f"{scheme}://127.0.0.1:{inner_port}/", before)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not the loop's handlers: these outlive it, so that a second signal changes nothing.
        signal.signal(number, lambda *_: simulator.terminate())
    sys.stdout.write(orjson.dumps(ready).decode() + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(simulator.wait)
    server.close()


def main(arguments: list[str]) -> int:
    """Entry point; the simulator's exit code."""
    port, own, is_leashed = _split(arguments)
    if is_leashed:
        _die_with_parent()
    # For tests of processes that start a simulator of their own, such as the demo.
    own += os.environ.get("ROWTIDE_TEST_SIMULATOR_ARGUMENTS", "").split()
    for _ in range(_ATTEMPTS):
        inner_port = _free_port()
        simulator, line = _start(inner_port, own)
        if line or simulator.wait() == 0 or not _is_taken(inner_port):
            break
    if not line:
        return simulator.wait()
    book = Book(Path(os.environ[DIRECTORY]) / f"{os.getpid()}-{simulator.pid}.jsonl")
    asyncio.run(_pass_on(simulator, orjson.loads(line), port, inner_port, book, is_tls="--tls" in own))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return simulator.returncode
