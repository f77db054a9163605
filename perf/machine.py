"""What the machine is on which figures are measured, and how fast it is at that moment.

In: /proc, git, the clock. Out: `facts` for the results file, `yardstick_s` for ratios. Rules: the yardstick is the same
work on every machine and in every release; it is of the kind that the product's own process does (rows to JSON, hashes,
strings), and it is measured in CPU time beside what is held against it.
"""

import hashlib
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

_ROUNDS = 5_000


def facts() -> dict[str, Any]:
    """The machine's, with its load of one and five minutes and the seconds that the yardstick takes now."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()[:2]],
        "yardstick_s": round(yardstick_s(), 4),
    }


def is_same(one: object, other: object) -> bool:
    """Whether two facts are of one kind of machine, whatever its load; older results have a sentence for them."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    return all(one.get(name) == other.get(name) for name in ("cpu", "cores", "architecture", "python"))


def yardstick_s() -> float:
    """CPU seconds of the fixed work, the median of three."""
    return median(_work_s() for _ in range(3))


def _work_s() -> float:
    began = time.process_time()
    seen = b""
    for number in range(_ROUNDS):
        row = {"id": str(number), "name": f"name {number}", "price": number / 7, "active": number % 2 == 0}
        text = json.dumps({name: row[name] for name in sorted(row)})
        seen = hashlib.sha256(seen + text.encode()).digest()
        assert json.loads(text)["id"] == row["id"]
    return time.process_time() - began


def spent_s(pid: int) -> float:
    """CPU time of a process so far."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def commit() -> str:
    """HEAD, with a ``+`` when the working tree differs from it (results themselves aside)."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("+" if _git("status", "--porcelain", "--", ".", ":!perf/results") else "")


def _git(*words: str) -> str:
    root = Path(__file__).parents[1]
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
