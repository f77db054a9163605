"""A standby of a test's own server, made by pg_basebackup."""

import os
import shutil
import subprocess
from pathlib import Path

from demo.postgres import Cluster


def standby_of(primary: Cluster, directory: Path) -> Cluster:
    """A standby that follows the primary from when it is started; until then it is what the primary was."""
    command = [
        str(primary.binaries / "pg_basebackup"),
        "-D",
        str(directory / "data"),
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
    ]
    connect = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "--no-sync"]
    environment = {**os.environ, "PGPASSWORD": primary.password}
    subprocess.run([*command, *connect], env=environment, check=True, capture_output=True)
    shutil.copy(primary.directory / "password", directory / "password")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "nobody", str(directory)], check=True)
    return Cluster(directory, {"fsync": "off", "shared_buffers": "32MB"})
