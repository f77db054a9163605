"""What one process answers when it is asked for its health (`connectors.listening`).

In: what the process waits for while it starts, the `Process` of the present run, the pulses of the loops. Out: codes
of why it should be restarted, of why it does not do its work, and a document for people. Rules (docs/design.md section
25): nothing outside the process makes it look dead; whether a source, Graph or Vault answers makes it no less ready;
nothing here asks anybody or waits; who may not be told names is told counts and codes.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from connectors import loops
from connectors.liveness import Liveness
from flows.process import Process
from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError

_PARTS: Final = ("source", "sessions", "graph", "reconcile", "pull")
"""Parts of the process's health that are kept by name, each with its ``problem``."""


class _Met(NamedTuple):
    """A problem that the process has met: in which part, at what, and its code."""

    part: str
    name: str
    code: str


class Probes:
    """Told by the thread that runs the process, asked by the one that listens."""

    def __init__(self, process_id: int, roles: Collection[str], liveness: Liveness) -> None:
        self._who = {"process_id": process_id, "roles": sorted(roles)}
        self._liveness = liveness
        self._waits = process_errors.NOT_STARTED.code
        self._process: Process | None = None

    # --- for the process ----------------------------------------------------------------------------------------------

    def starting(self, error: RowtideError | None = None) -> None:
        """The process is about to start; with an error: it waits until that is mended."""
        self._process = None
        self._waits = process_errors.NOT_STARTED.code if error is None else error.code

    def running(self, process: Process) -> None:
        """The process is at work."""
        self._process = process

    # --- for who asks (`connectors.listening.Probed`) -----------------------------------------------------------------

    def look(self) -> None:
        """Look at the loops; called once a second."""
        self._liveness.look()

    def why_dead(self) -> Sequence[str]:
        """That a loop is stuck, if one is."""
        return [process_errors.LOOP_SILENT.code] if self._liveness.stuck else []

    def why_unready(self) -> Sequence[str]:
        """Its place is not its own, its schema or definition is not to be had, or a loop is stuck."""
        process = self._process
        if process is None:
            return [self._waits, *self.why_dead()]
        return [*process.why_unready(), *_not_taken(process.health()), *self.why_dead()]

    def document(self, *, with_names: bool) -> Mapping[str, Any]:
        """Counts and codes, and names if they may be told."""
        process = self._process
        health = {} if process is None else process.health()
        unready, met, silences = self.why_unready(), list(_met(health)), self._liveness.silences
        codes = Counter([*unready, *(one.code for one in met)])
        found: dict[str, Any] = {
            "live": not self.why_dead(),
            "ready": not unready,
            "codes": dict(sorted(codes.items())),
            "loops": {
                "turning": sum(not one.is_stuck for one in silences),
                "stuck": sum(one.is_stuck for one in silences),
                "failures": sum(loops.failures().values()),
            },
            "parts": {part: len(health.get(part) or {}) for part in _PARTS},
        }
        if with_names:
            turning = {one.loop: {"silent_s": round(one.silent_s, 1), "waits_for": one.waits_for} for one in silences}
            problems = [one._asdict() for one in met]
            found["names"] = {"process": self._who, "loops": turning, "problems": problems}
        return found


def _not_taken(health: Mapping[str, Any]) -> list[str]:
    """The code of why the process does not work by the definition in force, if so."""
    problem = (health.get("definition") or {}).get("problem")
    return [str(problem["code"])] if problem else []


def _met(health: Mapping[str, Any]) -> Iterator[_Met]:
    """Every problem in a process's health (`state.processes`)."""
    for part in _PARTS:
        for name, one in (health.get(part) or {}).items():
            if one.get("problem"):
                yield _Met(part, str(name), str(one["problem"]["code"]))
            for list_id, problem in (one.get("lists") or {}).items():
                if problem:
                    yield _Met("list", str(list_id), str(problem["code"]))
    if problem := (health.get("due") or {}).get("problem"):
        yield _Met("due", "", str(problem["code"]))
