"""What a sync says of the way back: who wins when both sides changed, what a deletion does, how often lists are asked.

In: scalars and sections of the parsed YAML. Out: `ConflictsDefinition`, `DeletesDefinition`, `Poll`, as
rowtide.definition.model declares them. Rule: each is written back as a person would write it, the shortest way.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WrapSerializer
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from rowtide.definition.kinds import duration_text, not_yet, parse_duration
from rowtide.definition.section import Section

ColumnPolicy = Literal["postgres_wins", "sharepoint_wins", "latest_wins", "manual"]
"""Who wins one column."""


class ConflictsDefinition(Section):
    """Who wins when both sides changed: of a whole sync, and of single columns of it."""

    policy: Literal["postgres_wins", "sharepoint_wins", "latest_wins", "merge", "manual"] = "postgres_wins"
    columns: dict[str, ColumnPolicy] = {}


DeletePolicy = Literal["propagate", "ignore", "mark"]


class DeletesDefinition(Section):
    """What a deletion does on the other side: of a row (``push``), and of an item (``pull``)."""

    push: DeletePolicy = "propagate"
    pull: DeletePolicy = "propagate"


def _each_way(value: object) -> object:
    return {"push": value, "pull": value} if isinstance(value, str) else value


def _without_mark(deletes: DeletesDefinition) -> DeletesDefinition:
    if "mark" in {deletes.push, deletes.pull}:
        raise not_yet("deletes: mark; say propagate or ignore")
    return deletes


def _deletes_text(deletes: DeletesDefinition, dump: SerializerFunctionWrapHandler) -> object:
    return deletes.push if deletes.push == deletes.pull else dump(deletes)


Deletes = Annotated[
    DeletesDefinition, BeforeValidator(_each_way), AfterValidator(_without_mark), WrapSerializer(_deletes_text)
]
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
