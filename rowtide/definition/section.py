"""What every section of ``rowtide.yaml`` has in common.

In: nothing. Out: `Section`, from which rowtide.definition.model and its neighbours derive theirs. Rule: unknown keys
are errors, and nothing is converted silently.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One mapping of the file: unknown keys are errors, nothing is converted silently."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)
