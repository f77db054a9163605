"""`rowtide run` that knows what recording its own figures takes: ``python -m perf.accounted run ...``.

In: the command line of `rowtide`; the file in ``ROWTIDE_PERF_ACCOUNT``. Out: twice a second that file anew, with the
CPU seconds of the process and those of recording among them: what calls the recorder, the write of the history, the
readings for Prometheus; and, apart, the duty of gauging. Rules: only time in which a thread has the processor counts; a
call inside another one that is counted is not counted twice.
"""

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ACCOUNT = "ROWTIDE_PERF_ACCOUNT"
RECORDING = ("record_stage", "record_settle", "record_pulled", "record_lost_minutes")

_spent_s: defaultdict[str, float] = defaultdict(float)
_lock = threading.Lock()
_inside = threading.local()


def counted(kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, with the processor time it takes added to ``kind``."""

    def measured(*arguments: Any, **named: Any) -> Any:
        if getattr(_inside, "counts", False):
            return call(*arguments, **named)
        _inside.counts, began = True, time.thread_time()
        try:
            return call(*arguments, **named)
        finally:
            with _lock:
                _spent_s[kind] += time.thread_time() - began
            _inside.counts = False

    return measured


def read(path: Path) -> dict[str, float]:
    """What stands in the file of a process."""
    found: dict[str, float] = json.loads(path.read_text())
    return found


def _tell(path: Path) -> None:
    while True:
        with _lock:
            told = {"process": time.process_time(), "recording": _spent_s["recording"], "gauging": _spent_s["gauging"]}
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps({**told, "at": time.time()}))
        beside.replace(path)
        time.sleep(0.5)


def parts() -> list[tuple[object, str, str]]:
    """What is counted: whose, its name, as what."""
    from connectors import recorder
    from flows import compose
    from flows.gauging import Gauger

    found: list[tuple[object, str, str]] = [(recorder, name, "recording") for name in RECORDING]
    return [*found, (compose, "_keep", "recording"), (compose, "_record", "recording"), (Gauger, "_look", "gauging")]


def main() -> None:
    """Entry point."""
    for owner, name, kind in parts():
        setattr(owner, name, counted(kind, getattr(owner, name)))
    threading.Thread(target=_tell, args=[Path(os.environ[ACCOUNT])], daemon=True).start()
    from control.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
