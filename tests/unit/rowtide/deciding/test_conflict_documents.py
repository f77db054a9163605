"""Conflicts and choices are the same values after they were written and read back."""

import orjson
import pytest

from rowtide.deciding import conflict_documents as documents
from rowtide.deciding.conflicts import Choice, Conflict, ConflictRecord, OtherValue, Values, Winner
from rowtide.deciding.records import ItemId, ListId


@pytest.mark.parametrize("winner", list(Winner))
@pytest.mark.parametrize("kind", list(Conflict))
def test_a_conflict(kind: Conflict, winner: Winner) -> None:
    values = {"Title": Values("a", None, ["x", "y"], winner), "N": Values(1, 2.5, True, Winner.POSTGRES)}
    record = ConflictRecord(kind, ListId("l"), ItemId("7"), 4, "manual", winner, values)
    assert documents.from_document(orjson.loads(orjson.dumps(documents.to_document(record)))) == record


@pytest.mark.parametrize(
    "choice",
    [
        Choice(),
        Choice(Winner.SHAREPOINT, {}, {"Title": ("a", None)}),
        Choice(None, {"Title": Winner.POSTGRES, "N": OtherValue(7)}, {"Title": ("a", "b"), "N": (1, 2)}),
    ],
)
def test_a_choice(choice: Choice) -> None:
    assert documents.from_choice(orjson.loads(orjson.dumps(documents.to_choice(choice)))) == choice
