"""The recovery store of Bytewax: one process holds it, checks it at each start, makes it anew if need be.

In: the recovery directory and the names of the flow's steps and partitions. Out: a `RecoveryConfig`. Rules: the store
is an accelerator; the position comes from the cursor, so a store that is lost, old, mixed, condemned, of another shape
of the flow or of another release is thrown away, with one line in the log (docs/design.md section 14). A store holds
pickles, and to read one is to run it: a directory that others may write is not touched.
"""

import fcntl
import json
import os
import sqlite3
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import structlog
from bytewax.recovery import RecoveryConfig, init_db_dir

from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError

PARTS = 4
"""Recovery partitions; fixed for the life of a store."""

ROOM_BYTES = 1 << 18
"""A new store and its first epochs need about this much, so a directory must be able to hold it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Part:
    """What one partition knows: epochs of executions and frontiers by execution, and the last epoch it closed."""

    resumes: dict[int, int]
    frontiers: dict[int, int]
    closed: int


class Store:
    """A recovery directory. `open` holds it until `close`; `condemn` has the next `open` make the store anew.

    ``fresh``: the last `open` has made it anew. Not for two threads at a time.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: int | None = None
        self._frontier = 0
        self.fresh = False

    def open(self, names: Sequence[str]) -> RecoveryConfig:
        """A config over a store that is whole and belongs to a flow of exactly these step and partition names.

        UserError when the directory cannot hold a store, or others may write it; Unavailable while another process has
        it.
        """
        shape = json.dumps({"release": metadata.version("rowtide"), "names": sorted(names)})
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._require_ours()
            self._take_lock()
            self._make_fit(shape)
        except OSError as error:
            self.close()
            raise self._unusable(error.strerror or type(error).__name__) from error
        self._frontier = _frontier(self._read())
        return RecoveryConfig(str(self._directory))  # type: ignore[no-untyped-call]

    def condemn(self, reason: str) -> None:
        """Have the next `open` make the store anew, here or in the next process."""
        try:
            (self._directory / "condemned").write_text(reason)
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__) from error

    def failure(self, reason: str) -> RowtideError:
        """The error to end with when the engine could not write the store."""
        return process_errors.RECOVERY_STORE_FAILED(directory=self._directory, reason=reason)

    def has_moved(self) -> bool:
        """Whether an epoch was closed since `open`; a failure after that is not the store's fault."""
        try:
            return _frontier(self._read()) > self._frontier
        except sqlite3.Error:
            return False

    def close(self) -> None:
        """Release the directory."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _require_ours(self) -> None:
        """UserError unless the directory is this user's alone: whoever else may write it could have us run code."""
        there = self._directory.lstat()
        if stat.S_ISLNK(there.st_mode):
            raise self._unusable("it is a symbolic link")
        if there.st_uid != os.geteuid():
            raise self._unusable("it belongs to another user")
        if there.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._unusable("others may write it, and what is in it is run; remove it, and it is made anew")

    def _take_lock(self) -> None:
        if self._lock is None:
            self._lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise process_errors.RECOVERY_DIR_IN_USE(directory=self._directory) from None

    def _make_fit(self, shape: str) -> None:
        """Check the store, and make it anew if it does not fit (``fresh``)."""
        self._check_room()
        reason = self._misfit_of_shape(shape) or self._misfit_of_parts()
        self.fresh = reason is not None
        if reason is not None:
            self._wipe(reason)
            self._make(shape)

    def _make(self, shape: str) -> None:
        try:
            init_db_dir(self._directory, PARTS)  # type: ignore[no-untyped-call]
        except BaseException as error:  # the engine panics, which is no Exception
            if not is_engine_fault(error):
                raise
            raise self._unusable(sqlite_reason(error) or type(error).__name__) from error
        # Last of all: a store that was not made to its end has no shape.
        (self._directory / "shape").write_text(shape)

    def _wipe(self, reason: str) -> None:
        """Throw the store away; everything since the cursor is replayed, nothing else is lost."""
        stale = [path for name in ("part-*.sqlite3*", "shape", "condemned") for path in self._directory.glob(name)]
        for path in stale:
            path.unlink(missing_ok=True)
        if stale:
            log.warning("recovery store wiped", reason=reason, directory=str(self._directory))

    def _check_room(self) -> None:
        """OSError when the disk is full, before the engine panics."""
        probe = self._directory / "room"
        try:
            with probe.open("wb") as stream:
                stream.write(bytes(ROOM_BYTES))
        finally:
            probe.unlink(missing_ok=True)

    def _misfit_of_shape(self, shape: str) -> str | None:
        condemned, marker = self._directory / "condemned", self._directory / "shape"
        if condemned.exists():
            return condemned.read_text() or "condemned"
        if not marker.exists() or marker.read_text() != shape:
            return "another shape of the flow, or another release"
        return None

    def _misfit_of_parts(self) -> str | None:
        """Why the partitions cannot be resumed from, or None."""
        try:
            parts = self._read(check=True)
        except sqlite3.Error:
            return "unreadable partition"
        if len(parts) != PARTS:
            return "missing partitions"
        # Every partition closes an epoch before any closes the next one: after a kill they are at most one apart.
        closed = [part.closed for part in parts]
        if max(closed) - min(closed) > 1 or (max(closed) and max(closed) >= _frontier(parts)):
            return "old partition"
        return None

    def _read(self, check: bool = False) -> list[_Part]:
        return [_read(path, check) for path in sorted(self._directory.glob("part-*.sqlite3"))]

    def _unusable(self, reason: str) -> RowtideError:
        return process_errors.RECOVERY_DIR_UNUSABLE(directory=self._directory, reason=reason)


def is_engine_fault(error: BaseException) -> bool:
    """Whether an exception is a fault (a panic of the engine included) and no request to end."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def sqlite_reason(error: BaseException) -> str | None:
    """SQLite's own words if SQLite made the engine fail, else None."""
    said = str(error)
    if "SqliteFailure" not in said:
        return None
    quoted = said.split('Some("')
    return quoted[1].split('"')[0] if len(quoted) > 1 else "SQLite failed"


def _frontier(parts: Sequence[_Part]) -> int:
    """The epoch at which the flow would resume; 0 for a store with which no flow ran.

    The engine computes it so: the lowest frontier of the last execution, which began at its resume epoch.
    """
    resumes = {number: epoch for part in parts for number, epoch in part.resumes.items()}
    if not resumes:
        return 0
    last = max(resumes)
    frontiers = [part.frontiers[last] for part in parts if last in part.frontiers]
    return max(resumes[last], min(frontiers, default=0))


def _read(path: Path, check: bool) -> _Part:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        if check and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check")
        resumes = dict(connection.execute("SELECT ex_num, resume_epoch FROM exs"))
        frontiers = dict(connection.execute("SELECT ex_num, min(worker_frontier) FROM fronts GROUP BY ex_num"))
        closed = connection.execute("SELECT coalesce(max(commit_epoch), 0) FROM commits").fetchone()[0]
        return _Part(resumes, frontiers, int(closed))
    finally:
        connection.close()
