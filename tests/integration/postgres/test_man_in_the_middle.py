"""A server that is not the one meant: it asks for the password in clear, as anybody on the path to the server can.

In: a fake server on 127.0.0.1 that calls itself db.example. Out: what it was told. Rule: it has no certificate that
anybody signed; PostgreSQL's own protocol is spoken on both sides.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.postgres.connections import open_unproven
from connectors.postgres.preflight import transport
from connectors.postgres.replication.connection import ReplicationConnection
from demo.postgres import Cluster
from rowtide.errors import RowtideError
from state import database, schema
from tests.certificates import Authority

PASSWORD = "a-password-of-nobody"
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
CLEARTEXT = b"R" + struct.pack(">ii", 8, 3)


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    """Each connection until the socket is closed."""
    while True:
        try:
            peer, _ = listening.accept()
        except OSError:
            return
        yield peer


class FakeServer:
    """Answers each connection; ``tls`` None: it says that it has no TLS. ``told`` is what it was sent as passwords."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        self.told: list[bytes] = []
        self.met = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for peer in _accepted(self._socket):
            self.met += 1
            with peer:
                peer.settimeout(10)
                try:
                    self._talk(peer)
                except OSError:
                    continue

    def _talk(self, peer: socket.socket) -> None:
        code = self._asked(peer)
        while code in (SSL_REQUEST, GSS_REQUEST):
            if code == SSL_REQUEST and self.tls is not None:
                peer.sendall(b"S")
                with self.tls.wrap_socket(peer, server_side=True) as encrypted:
                    self._asked(encrypted)
                    return self._ask_password(encrypted)
            peer.sendall(b"N")
            code = self._asked(peer)
        return self._ask_password(peer)

    def _asked(self, peer: socket.socket) -> int:
        (length,) = struct.unpack(">i", _exactly(peer, 4))
        return int(struct.unpack(">i", _exactly(peer, length - 4)[:4])[0])

    def _ask_password(self, peer: socket.socket) -> None:
        peer.sendall(CLEARTEXT)
        kind, length = struct.unpack(">ci", _exactly(peer, 5))
        if kind == b"p":
            self.told.append(_exactly(peer, length - 4))

    def close(self) -> None:
        self._socket.close()


def _exactly(peer: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = peer.recv(size - len(found))
        if not piece:
            raise ConnectionResetError
        found += piece
    return found


class TlsGate:
    """A real server behind TLS: the PostgreSQL of the tests is built without it."""

    def __init__(self, tls: ssl.SSLContext, port: int) -> None:
        self._tls, self._target = tls, port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for peer in _accepted(self._socket):
            threading.Thread(target=self._pass_on, args=(peer,), daemon=True).start()

    def _pass_on(self, peer: socket.socket) -> None:
        with peer, socket.create_connection(("127.0.0.1", self._target)) as server, contextlib.suppress(OSError):
            start = _exactly(peer, 8)
            if struct.unpack(">ii", start)[1] != SSL_REQUEST:
                server.sendall(start)
                return _relay(peer, server)
            peer.sendall(b"S")
            with self._tls.wrap_socket(peer, server_side=True) as encrypted:
                _relay(encrypted, server)

    def close(self) -> None:
        self._socket.close()


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either says until one of them ends."""
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


@pytest.fixture(params=["without TLS", "with a certificate of its own"])
def fake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeServer]:
    tls = None
    if "certificate" in request.param:
        tls = Authority(tmp_path).context()
    server = FakeServer(tls)
    yield server
    server.close()


def dsn_of(port: int, more: str = "") -> str:
    return f"host=db.example hostaddr=127.0.0.1 port={port} dbname=shop user=u password={PASSWORD} {more}"


OPENERS: list[Callable[[str], object]] = [
    open_unproven,
    database.connect,
    schema.upgrade,
    lambda dsn: ReplicationConnection.connect(dsn, "test"),
]


@pytest.mark.parametrize("more", ["", "sslmode=require", "sslmode=prefer"])
@pytest.mark.parametrize("connect", OPENERS, ids=["source", "state", "migrations", "walsender"])
def test_a_server_elsewhere_is_told_no_password(fake: FakeServer, connect: Callable[[str], object], more: str) -> None:
    with pytest.raises(RowtideError) as refused:
        connect(dsn_of(fake.port, more))
    assert fake.met > 0
    assert fake.told == []
    assert refused.value.code in ("tls", "authentication_method", "state_tls")
    assert "sslmode" in refused.value.remedy or "require_auth" in refused.value.remedy


def test_whoever_asks_for_it_is_told_the_password(fake: FakeServer) -> None:
    with pytest.raises(RowtideError):
        open_unproven(dsn_of(fake.port, "sslmode=prefer require_auth=password"))
    assert fake.told == [PASSWORD.encode() + b"\0"]


@pytest.fixture
def proven(pg: Cluster, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server that proves itself as db.example, and the certificate to trust it by; it takes those without TLS too."""
    authority = Authority(tmp_path)
    gate = TlsGate(authority.context(), pg.port)
    dsn = pg.dsn("postgres").replace("host=127.0.0.1", "host=db.example hostaddr=127.0.0.1")
    yield dsn.replace(f"port={pg.port}", f"port={gate.port}"), authority.certificate
    gate.close()


def test_a_server_that_proves_itself_is_met_and_doctor_tells_where_one_does_not(
    pg: Cluster, proven: tuple[str, Path]
) -> None:
    at, certificate = proven
    found = []
    for more in (f"sslrootcert={certificate}", "sslmode=require", "sslmode=disable"):
        with open_unproven(f"{at} {more}") as connection:
            found += transport(connection, f"{at} {more}")
    database.connect(f"{at} sslrootcert={certificate}").close()
    assert [check.level for check in found] == ["ok", "warning", "warning"]
    said = ("has proven who it is", "nothing proves who reads it", "is not encrypted")
    assert all(words in check.sentence for words, check in zip(said, found, strict=True))
    with pytest.raises(RowtideError) as refused:
        open_unproven(f"{at.replace('db.example', 'db.other')} sslrootcert={certificate}")
    assert refused.value.code == "tls"
    with open_unproven(pg.dsn("postgres")) as connection:
        assert transport(connection, pg.dsn("postgres")) == []
