"""HTTP/1.1 read off a copy of the bytes that pass by: whole messages out of whatever pieces come.

In: bytes of one direction of a connection. Out: `Message` values, complete ones only. Called by `proxy`.
Rules: nothing is answered or changed here; what ends before its announced length (a truncation, a reset) is no
message; ValueError for what is no HTTP.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer: first line, headers by lower-case name, body."""

    first: str
    headers: dict[str, str]
    body: bytes


class Messages:
    """One direction of a connection."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._head: tuple[str, dict[str, str]] | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete."""
        self._waiting += data
        while True:
            if self._head is None and not self._read_head():
                return
            assert self._head is not None
            body = self._read_body(*self._head)
            if body is None:
                return
            first, headers = self._head
            self._head = None
            # 100 Continue and its like come before the answer.
            if not first.startswith("HTTP/1.1 1"):
                yield Message(first, headers, body)

    def _read_head(self) -> bool:
        end = self._waiting.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self._waiting[:end].decode("latin-1").split("\r\n")
        if "HTTP/1." not in first:
            raise ValueError(f"no HTTP: {first[:80]!r}")
        del self._waiting[: end + 4]
        pairs = (line.partition(":") for line in lines)
        self._head = first, {name.strip().lower(): value.strip() for name, _, value in pairs}
        return True

    def _read_body(self, first: str, headers: dict[str, str]) -> bytes | None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunks()
        size = int(headers.get("content-length", "0"))
        if len(self._waiting) < size:
            return None
        body = bytes(self._waiting[:size])
        del self._waiting[:size]
        return body

    def _read_chunks(self) -> bytes | None:
        """All chunks, or None while some are missing (then none is taken: chunked messages are few and small)."""
        parts, at = [], 0
        while True:
            end = self._waiting.find(b"\r\n", at)
            if end < 0:
                return None
            size = int(self._waiting[at:end].split(b";")[0], 16)
            at = end + 2
            if len(self._waiting) < at + size + 2:
                return None
            parts.append(bytes(self._waiting[at : at + size]))
            at += size + 2
            if size == 0:
                del self._waiting[:at]
                return b"".join(parts)
