"""The recovery store of Bytewax: made, checked before each start, and wiped when it does not fit.

In: the recovery directory and the names of the flow's steps and partitions. Out: a `RecoveryConfig`. Rule: the store is
an accelerator; position comes from the cursor, so a store that is lost, old, mixed or of another shape of the flow is
thrown away and that is said once (docs/design.md section 14).
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import structlog
from bytewax.recovery import RecoveryConfig, init_db_dir

PARTS = 4
"""Recovery partitions; fixed for the life of a store."""

log = structlog.get_logger()


def prepare(directory: Path, names: Sequence[str]) -> RecoveryConfig:
    """A config over a store that is whole and belongs to a flow of exactly these step and partition names."""
    directory.mkdir(parents=True, exist_ok=True)
    shape = hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()
    reason = _misfit(directory, shape)
    if reason is not None:
        wipe(directory, reason)
        init_db_dir(directory, PARTS)  # type: ignore[no-untyped-call]
        (directory / "shape").write_text(shape)
    return RecoveryConfig(str(directory))  # type: ignore[no-untyped-call]


def wipe(directory: Path, reason: str) -> None:
    """Throw the store away; everything since the cursor is replayed, nothing else is lost."""
    stale = [*directory.glob("part-*.sqlite3*"), *directory.glob("shape")]
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        log.warning("recovery store wiped", reason=reason, directory=str(directory))


def _misfit(directory: Path, shape: str) -> str | None:
    """Why the store cannot be resumed from, or None."""
    marker = directory / "shape"
    parts = sorted(directory.glob("part-*.sqlite3"))
    if not marker.exists() or marker.read_text() != shape:
        return "another shape of the flow"
    if len(parts) != PARTS:
        return "missing partitions"
    try:
        executions, horizons = zip(*(_read(part) for part in parts), strict=True)
    except sqlite3.Error:
        return "unreadable partition"
    # Executions are spread over the partitions by hash; a GC horizon above the resume epoch tells of an old copy.
    resume = max((epoch for rows in executions for epoch in rows), default=0)
    if any(horizon > resume for horizon in horizons) and resume == 0:
        return "inconsistent partitions"
    return None


def _read(part: Path) -> tuple[list[int], int]:
    connection = sqlite3.connect(f"file:{part}?mode=ro", uri=True, timeout=5)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check")
        epochs = [row[0] for row in connection.execute("SELECT resume_epoch FROM exs")]
        horizon = connection.execute("SELECT COALESCE(MAX(commit_epoch), 0) FROM commits").fetchone()[0]
        return epochs, int(horizon)
    finally:
        connection.close()
