"""What a sync says of the way back: who wins when both sides changed, what a deletion does, how often lists are asked.

In: scalars and sections of the parsed YAML. Out: `ConflictsDefinition`, `DeletesDefinition`, `Poll`, as
rowtide.definition.model declares them. Rule: each is written back as a person would write it, the shortest way.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, WrapSerializer
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from rowtide.definition.kinds import duration_text, parse_duration
from rowtide.definition.section import Section

OnRefused = Literal["keep", "revert"]
"""What becomes of an item whose edit the table refuses: it keeps what the person wrote, or shows the row again."""

ColumnPolicy = Literal["postgres_wins", "sharepoint_wins", "latest_wins", "manual"]
"""Who wins one column."""


class ConflictsDefinition(Section):
    """Who wins when both sides changed: of a whole sync, and of single columns of it."""

    policy: Literal["postgres_wins", "sharepoint_wins", "latest_wins", "merge", "manual"] = "postgres_wins"
    columns: dict[str, ColumnPolicy] = {}


class MarkDefinition(Section):
    """What is gone on one side stays on the other and is marked there: one name and its value, as text."""

    mark: dict[str, str] = Field(min_length=1, max_length=1)

    @property
    def named(self) -> tuple[str, str]:
        """The column (or field) and the value that it gets."""
        [(name, value)] = self.mark.items()
        return name, value


DeletePolicy = Literal["propagate", "ignore"] | MarkDefinition
_POLICIES = frozenset({"propagate", "ignore"})


def _policy(value: object) -> object:
    if isinstance(value, MarkDefinition) or (isinstance(value, str) and value in _POLICIES):
        return value
    match value:
        case {"mark": dict() as mark, **others} if not others and len(mark) == 1:
            [(name, marked)] = mark.items()
            if isinstance(name, str) and isinstance(marked, str | int | float):
                return MarkDefinition(mark={name: _as_postgres_reads(marked)})
    raise PydanticCustomError("deletes", "deletes must be propagate, ignore or mark: {name: value}")


def _as_postgres_reads(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class DeletesDefinition(Section):
    """What a deletion does on the other side: of a row (``push``), and of an item (``pull``)."""

    push: Annotated[DeletePolicy, BeforeValidator(_policy)] = "propagate"
    pull: Annotated[DeletePolicy, BeforeValidator(_policy)] = "propagate"


def _each_way(value: object) -> object:
    if isinstance(value, dict) and "mark" in value:
        raise PydanticCustomError("deletes", "mark belongs to one way: say push: {mark: ...} or pull: {mark: ...}")
    return {"push": value, "pull": value} if isinstance(value, str) else value


def _deletes_text(deletes: DeletesDefinition, dump: SerializerFunctionWrapHandler) -> object:
    both = deletes.push if deletes.push == deletes.pull else None
    return both if isinstance(both, str) else dump(deletes)


Deletes = Annotated[DeletesDefinition, BeforeValidator(_each_way), WrapSerializer(_deletes_text)]
"""One policy for both ways, or one for each."""


class Poll(NamedTuple):
    """How often a list is asked for changes: ``least`` while it changes, ``most`` while it does not."""

    least: timedelta
    most: timedelta


EVERY: Final = Poll(timedelta(seconds=5), timedelta(seconds=60))
"""How often a list is asked unless the definition says otherwise."""


def _poll(value: object) -> Poll:
    if isinstance(value, Poll):
        return value
    least, between, most = value.partition("..") if isinstance(value, str) else ("", "", "")
    if not between:
        raise PydanticCustomError("poll", "must be two durations, such as 5s..60s")
    found = Poll(parse_duration(least), parse_duration(most))
    if not timedelta(seconds=1) <= found.least <= found.most:
        raise PydanticCustomError("poll", "must begin with 1s at least, and end with no less than it begins with")
    return found


def _poll_text(poll: Poll) -> str:
    return f"{duration_text(poll.least)}..{duration_text(poll.most)}"


PollText = Annotated[Poll, BeforeValidator(_poll), PlainSerializer(_poll_text, return_type=str)]
"""``5s..60s``."""
