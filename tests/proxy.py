"""A TCP proxy that really drops connections: the seam at which tests take a server away and give it back."""

import contextlib
import selectors
import socket
import threading


class TcpProxy:
    """Forwards 127.0.0.1:`port` to a port of the same host; `cut` refuses and resets, `restore` forwards again.

    ``alter`` maps bytes that the server sends to what arrives instead; they must come in one piece.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = True
        self.alter: dict[bytes, bytes] = {}
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._pairs.add((client, server))
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        peers = {client: server, server: client}
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            for peer in peers:
                selector.register(peer, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data:
                        raise OSError
                    if source is server:
                        for sent, arriving in self.alter.items():
                            data = data.replace(sent, arriving)
                    peers[source].sendall(data)
        with self._lock:
            self._pairs.discard((client, server))
        for peer in peers:
            peer.close()

    def cut(self) -> None:
        """Refuse new connections and reset those there are."""
        self._open = False
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for peer in pair:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Forward again."""
        self._open = True

    def close(self) -> None:
        """End for good."""
        self.cut()
        self._listener.close()


def _reset(peer: socket.socket) -> None:
    # SO_LINGER 0 turns the close into a RST.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
