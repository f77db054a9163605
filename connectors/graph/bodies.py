"""What is sent to Graph to make or change a list or a column, as msgraph-sdk's objects.

In: titles, descriptions, choices, `ListColumn`s. Out: objects of the SDK. Rule: the SDK is imported where an object is
made, because a running flow reads this package and must start without it.
"""

from collections.abc import Sequence
from typing import Any, Final

from rowtide.keys import ROWTIDE_KEY
from rowtide.lists import ListMark
from rowtide.mapping.columns import ListColumn

_KEY_TEXT: Final = "Names the row this item is a copy of. Made by Rowtide; do not change it."


def of_list(title: str) -> Any:
    """A new list."""
    from msgraph.generated.models.list_ import List_
    from msgraph.generated.models.list_info import ListInfo

    return List_(display_name=title, list_=ListInfo(template="genericList"))


def of_title(title: str) -> Any:
    """A list with another title."""
    from msgraph.generated.models.list_ import List_

    return List_(display_name=title)


def of_description(description: str) -> Any:
    """A column with another description."""
    from msgraph.generated.models.column_definition import ColumnDefinition

    return ColumnDefinition(description=description)


def of_key(mark: ListMark | None) -> Any:
    """The column `RowtideKey`, marked as ours."""
    from msgraph.generated.models.column_definition import ColumnDefinition
    from msgraph.generated.models.text_column import TextColumn

    return ColumnDefinition(
        name=ROWTIDE_KEY,
        description=_KEY_TEXT if mark is None else mark.describe(_KEY_TEXT),
        hidden=True,
        indexed=True,
        enforce_unique_values=True,
        text=TextColumn(max_length=255),
    )


def of_mended_key() -> Any:
    """`RowtideKey`, indexed and unique again."""
    from msgraph.generated.models.column_definition import ColumnDefinition

    return ColumnDefinition(indexed=True, enforce_unique_values=True)


def of_choices(choices: Sequence[str]) -> Any:
    """A choice column with these choices."""
    from msgraph.generated.models.choice_column import ChoiceColumn
    from msgraph.generated.models.column_definition import ColumnDefinition

    return ColumnDefinition(choice=ChoiceColumn(choices=list(choices)))


def of_column(column: ListColumn) -> Any:
    """A mapped column."""
    from msgraph.generated.models.boolean_column import BooleanColumn
    from msgraph.generated.models.choice_column import ChoiceColumn
    from msgraph.generated.models.column_definition import ColumnDefinition
    from msgraph.generated.models.date_time_column import DateTimeColumn
    from msgraph.generated.models.number_column import NumberColumn
    from msgraph.generated.models.text_column import TextColumn

    facet: dict[str, Any] = {}
    match column.kind:
        case "text":
            facet["text"] = TextColumn(max_length=255)
        case "note":
            facet["text"] = TextColumn(allow_multiple_lines=True, text_type="plain")
        case "number":
            facet["number"] = NumberColumn(decimal_places="automatic")
        case "boolean":
            facet["boolean"] = BooleanColumn()
        case "dateTime":
            facet["date_time"] = DateTimeColumn(format=column.format or "dateTime")
        case "choice":
            facet["choice"] = ChoiceColumn(
                choices=list(column.choices), allow_text_entry=not column.choices, display_as="dropDownMenu"
            )
    return ColumnDefinition(name=column.name, **facet)
