"""Every kind of error Rowtide can raise, and what a running process does about each.

In: nothing. Out: one exception tree (the type says whose fault it is); each error has a stable code, one sentence for
the operator and one that says what to do, all from `rowtide.error_catalogue`. Rule (docs/design.md section 15): no
retry decision is taken anywhere but in `reaction_to`; `rowtide.backoff` computes the waits between its bounds.

    RowtideError
     +- UserError              the definition, the command line or the environment has to be mended
     |   +- DefinitionError    with file and line
     +- Unavailable            something outside does not answer: retried with backoff
     |   +- SourceUnavailable, StateUnavailable, GraphUnavailable, IdentityUnavailable
     |       +- ReconcileLost    (StateUnavailable) another process goes on with the reconcile
     +- Refused                something outside answered no: a person has to act
     |   +- SourceRefused, StateRefused, GraphRefused, IdentityRefused
     |       +- Malformed        (SourceRefused) the sender broke the replication protocol
     +- RowError               one row cannot be carried: it is parked
     +- SyncError              one sync cannot go on: it is paused
     +- GapError               continuity of a slot is lost: a new era, or stop
     +- ChildFailed            a process of the demo ended when it should not
"""

from collections.abc import Sequence
from dataclasses import dataclass

LEFT_OUT = "…"
"""What stands in a log for another system's words."""


class RowtideError(Exception):
    """Base of the tree; ``str()`` is the one sentence an operator reads.

    ``unquoted`` is what logs say: the sentence without another system's words, which may quote a value.
    """

    def __init__(self, code: str, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.remedy = remedy
        self.unquoted = sentence


class UserError(RowtideError):
    """A mistake in the definition, the command line or the environment (exit code 2)."""


class DefinitionError(UserError):
    """All mistakes in rowtide.yaml; the sentence has a line for each, with ``file:line:`` where known.

    ``problems`` pairs the path in the file (keys and indexes) with what is wrong there.
    """

    def __init__(
        self, code: str, sentence: str, remedy: str = "", problems: Sequence[tuple[tuple[str | int, ...], str]] = ()
    ) -> None:
        super().__init__(code, sentence, remedy)
        self.problems = tuple(problems)

    def about(self, problems: Sequence[tuple[tuple[str | int, ...], str]], sentence: str = "") -> "DefinitionError":
        """The same error with these ``problems``, and with another sentence if ``sentence`` is not empty."""
        return DefinitionError(self.code, sentence or self.sentence, self.remedy, problems)


class Unavailable(RowtideError):
    """No answer for now. The request may have been carried out, unless the caller says otherwise."""


class SourceUnavailable(Unavailable):
    """The source PostgreSQL cannot be reached or broke the connection."""


class StateUnavailable(Unavailable):
    """The state database cannot be reached or broke the connection."""


class ReconcileLost(StateUnavailable):
    """Another process has taken the reconcile up by now."""


class GraphUnavailable(Unavailable):
    """Microsoft Graph cannot be reached, timed out, or answered 5xx."""


class IdentityUnavailable(Unavailable):
    """The token endpoint cannot be reached."""


class Refused(RowtideError):
    """A clear refusal, which a retry does not change."""


class SourceRefused(Refused):
    """PostgreSQL refused: privileges, settings, missing objects."""


class Malformed(SourceRefused):
    """The sender broke the replication protocol: what arrived is not one of its messages.

    The fault is at the other end of the connection (another kind of server, or something in between). The stream is
    read again from the last confirmed position.
    """


class StateRefused(Refused):
    """The state database refused: privileges, wrong schema version."""


class GraphRefused(Refused):
    """Graph refused: permissions, missing site or list, bad request."""


class IdentityRefused(Refused):
    """The token endpoint refused the credential."""


class RowError(RowtideError):
    """One row cannot be carried; it is parked under ``code`` and its neighbours go on."""


class SyncError(RowtideError):
    """One sync cannot go on; it is paused with this sentence."""


class GapError(RowtideError):
    """The slot no longer holds what the cursor needs."""


class ChildFailed(RowtideError):
    """A process of the demo ended when it should not."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again with exponential backoff between these two waits, in seconds."""

    first_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """Set the row aside until a newer value or a person comes."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop the sync and say why; others go on."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process with this exit code."""

    exit_code: int


Reaction = Retry | Park | Pause | Stop

# First match wins, so a class stands before its base.
_REACTIONS: tuple[tuple[type[RowtideError], Reaction], ...] = (
    (UserError, Stop(2)),
    # Nothing moves without the state database, and asking it costs others nothing.
    (StateUnavailable, Retry(0.1, 5.0)),
    (StateRefused, Retry(0.5, 10.0)),
    (Unavailable, Retry(0.2, 15.0)),
    (IdentityRefused, Retry(2.0, 60.0)),  # secrets are rotated and propagate with a delay: keep asking, slowly
    (Refused, Retry(2.0, 60.0)),  # a grant or a setting may come while we run; the reason stands in `status`
    (GapError, Retry(1.0, 30.0)),
    (RowError, Park()),
    (SyncError, Pause()),
)


UNEXPECTED = Retry(1.0, 60.0)
"""For a loop that must go on after any error, a fault of our own included."""

STALE = Retry(1.0, 60.0)
"""For an item that SharePoint shows in an older version than was written; each row counts its own attempts."""

THROTTLED = Retry(1.0, 60.0)
"""For a 429 of Graph that does not say how long to wait."""


def reaction_to(error: RowtideError) -> Reaction:
    """What the runtime does about ``error``."""
    for kind, reaction in _REACTIONS:
        if isinstance(error, kind):
            return reaction
    return Stop(1)


def bounds_of(error: RowtideError) -> Retry:
    """The bounds of the wait after ``error``, for a loop that goes on in any case."""
    reaction = reaction_to(error)
    return reaction if isinstance(reaction, Retry) else UNEXPECTED
