"""What lookups and persons point to: items of other lists, entries of the user information list.

In: a column and the number a field holds. Out: whether the target exists, and the text it is shown as. Rule: a target
that is gone has no text; the number itself stays in the field.
"""

from graphsim.lists.columns import ColumnDefinition
from graphsim.lists.list_index import ListIndex
from graphsim.lists.list_store import SimList
from graphsim.lists.principals import Principals


class References:
    """Follows the numbers of `FLookupId` fields."""

    def __init__(self, lists: ListIndex, people: Principals) -> None:
        self._lists = lists
        self._people = people

    def exists(self, column: ColumnDefinition, number: int) -> bool:
        """Whether the item of a lookup, or the person of a person column, is there."""
        if column.facet == "personOrGroup":
            return number in self._people.by_number
        target = self._target(column)
        return target is not None and target.get(str(number)) is not None

    def label(self, column: ColumnDefinition, number: int) -> str | None:
        """The text the number stands for: a person's name, or the target item's shown column."""
        if column.facet == "personOrGroup":
            person = self._people.by_number.get(number)
            return None if person is None else person.name
        target = self._target(column)
        item = None if target is None else target.get(str(number))
        if target is None or item is None:
            return None
        value = target.values(item).get(column.settings.get("columnName") or "Title")
        return None if value is None else str(value)

    def _target(self, column: ColumnDefinition) -> SimList | None:
        return self._lists.by_id.get(str(column.settings.get("listId") or "").lower())
