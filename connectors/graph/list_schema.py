"""Compares a site's lists with what they have to look like.

In: lists and columns as Graph shows them (`FoundSite`), as the applied syncs need them (`WantedList`). Out: steps, in
the order they have to be taken, each with a sentence for `plan`; or a refusal. Rules: nothing is ever removed or
narrowed; a list with foreign items is not touched; a column that the definition newly maps has to fit, and one that
was applied and fits no more is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rowtide.error_catalogue import graph_errors
from rowtide.keys import ROWTIDE_KEY
from rowtide.lists import HeldColumns, KnownList, ListMark, marked_by
from rowtide.mapping.columns import Kind, ListColumn


@dataclass(frozen=True, slots=True)
class WantedList:
    """A list some sync writes to, with the columns it maps; ``targets``: those of the sync's rows that go there.

    ``matched``: items that others made are paired with rows, so that it may hold some.
    """

    title: str
    columns: tuple[ListColumn, ...]
    sync: str = ""
    targets: tuple[str, ...] = ()
    matched: bool = False


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column as Graph describes it; ``kind`` is None if we cannot write it."""

    id: str
    name: str
    kind: Kind | None
    format: str | None = None
    choices: tuple[str, ...] = ()
    allows_text: bool = False
    read_only: bool = False
    indexed: bool = False
    unique: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class FoundList:
    """A list as Graph describes it."""

    id: str
    title: str
    columns: dict[str, FoundColumn]

    @property
    def has_key(self) -> bool:
        """Whether the list has the RowtideKey column."""
        return ROWTIDE_KEY in self.columns


@dataclass(frozen=True, slots=True)
class FoundSite:
    """A site and its lists by title in lower case (SharePoint ignores the case of titles)."""

    id: str
    lists: dict[str, FoundList]

    @property
    def by_id(self) -> dict[str, FoundList]:
        """The lists by their ids."""
        return {one.id: one for one in self.lists.values()}

    def by_title(self, title: str) -> FoundList | None:
        """The list of that title; None when the site has none."""
        return self.lists.get(title.casefold())


@dataclass(frozen=True, slots=True)
class MakeList:
    """Make the list; it comes with the column Title."""

    title: str

    @property
    def sentence(self) -> str:
        return f"make list '{self.title}'"


@dataclass(frozen=True, slots=True)
class RenameList:
    """Give a list that is there the definition's new title."""

    title: str
    old: str

    @property
    def sentence(self) -> str:
        return f"list '{self.old}': rename it to '{self.title}'"


@dataclass(frozen=True, slots=True)
class KeepName:
    """Leave a list the name it has: a person gave it, or another list has the definition's new title."""

    title: str
    shown: str

    @property
    def sentence(self) -> str:
        return f"list '{self.title}': it stays '{self.shown}' in SharePoint, which is not the name it was given here"


@dataclass(frozen=True, slots=True)
class MakeKey:
    """Add RowtideKey: hidden, indexed, unique."""

    title: str

    @property
    def sentence(self) -> str:
        return f"list '{self.title}': add the hidden column {ROWTIDE_KEY} (indexed, unique values)"


@dataclass(frozen=True, slots=True)
class MendKey:
    """Index RowtideKey and make its values unique."""

    title: str
    column_id: str
    sync: str

    @property
    def sentence(self) -> str:
        return f"list '{self.title}': index {ROWTIDE_KEY} and enforce unique values"


@dataclass(frozen=True, slots=True)
class MarkKey:
    """Write this installation's id into the description of RowtideKey; ``other``: the one that stands there."""

    title: str
    column_id: str
    description: str
    other: str | None

    @property
    def sentence(self) -> str:
        whose = f", in place of the installation {self.other}'s" if self.other else ""
        return f"list '{self.title}': mark it as this installation's{whose}"


@dataclass(frozen=True, slots=True)
class MakeColumn:
    """Add a mapped column."""

    title: str
    column: ListColumn

    @property
    def sentence(self) -> str:
        return f"list '{self.title}': add column {self.column.name} ({self.column.kind_shown})"


@dataclass(frozen=True, slots=True)
class AddChoices:
    """Add choices that a column lacks; the others stay."""

    title: str
    column_id: str
    name: str
    choices: tuple[str, ...]  # all of them, old and new

    @property
    def sentence(self) -> str:
        return f"list '{self.title}': add the choices column {self.name} lacks"


MOST_NAMED = 5
"""Lists that `summaries` names."""


@dataclass(frozen=True, slots=True)
class HoldColumn:
    """Leave out of writes a column that was applied and that a person has made another one."""

    title: str
    name: str
    why: str

    @property
    def sentence(self) -> str:
        return f"list '{self.title}': leave out column {self.name}, which {self.why}"


Step = MakeList | RenameList | KeepName | MakeKey | MendKey | MarkKey | MakeColumn | AddChoices | HoldColumn


def steps_to(
    lists: Mapping[str, FoundList],
    wanted: Sequence[WantedList],
    mark: ListMark | None = None,
    known: Mapping[str, KnownList] | None = None,
) -> list[Step]:
    """What has to be done, list by list (``lists``: those that are there, by title as wanted).

    ``mark`` None: nothing is marked, and no mark is looked for. ``known``: what is on record of ``lists``, by the same
    title. GraphRefused for a column that cannot be used, unless it was applied as it is wanted, and for a list that
    another installation has marked.
    """
    records = known or {}
    return [step for one in wanted for step in _list_steps(lists.get(one.title), one, mark, records.get(one.title))]


def summaries(steps: Sequence[Step]) -> list[str]:
    """Fewer sentences: one for all lists to be made, one for the columns to be made in a list that is there."""
    new = [step.title for step in steps if isinstance(step, MakeList)]
    columns: dict[str, list[str]] = {}
    for step in steps:
        if isinstance(step, MakeColumn):
            columns.setdefault(step.title, []).append(step.column.name)
    lines = []
    if new:
        named = ", ".join(f"'{title}'" for title in new[:MOST_NAMED])
        more = f" and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else ""
        lines.append(f"{len(new)} list{'s' if len(new) != 1 else ''} with their columns: {named}{more}")
    for title, names in columns.items():
        if title not in new:
            lines.append(f"list '{title}': the column{'s' if len(names) != 1 else ''} {', '.join(names)}")
    others = (step for step in steps if step.title not in new and not isinstance(step, MakeColumn))
    return [*lines, *(step.sentence for step in others)]


def _list_steps(
    found: FoundList | None, wanted: WantedList, mark: ListMark | None, known: KnownList | None
) -> list[Step]:
    title = wanted.title
    steps: list[Step] = []
    columns = {} if found is None else found.columns
    if found is None:
        steps.append(MakeList(title))
    key = columns.get(ROWTIDE_KEY)
    if key is None:
        steps.append(MakeKey(title))
    elif not (key.indexed and key.unique):
        steps.append(MendKey(title, key.id, wanted.sync))
    if key is not None and mark is not None:
        steps.extend(_mark_steps(title, key, mark))
    for column in wanted.columns:
        there = columns.get(column.name)
        if there is not None:
            applied = known is not None and known.kinds.get(column.name) == column.kind_shown
            steps.extend(_column_steps(title, column, there, applied))
        elif not column.builtin:
            steps.append(MakeColumn(title, column))
    return steps


def _mark_steps(title: str, key: FoundColumn, mark: ListMark) -> list[Step]:
    """The mark, if the list has none or another's; GraphRefused for another's that nobody takes over."""
    other = mark.other_in(key.description)
    if other is not None and not mark.take_over:
        raise graph_errors.LIST_OF_OTHER_INSTANCE(title=title, instance=other)
    if other is None and marked_by(key.description) is not None:
        return []
    return [MarkKey(title, key.id, mark.describe(key.description), other)]


def _column_steps(title: str, column: ListColumn, found: FoundColumn, applied: bool) -> list[Step]:
    """Steps for an existing column: none if it fits, choices if it lacks some.

    One that cannot be used is left out where it was ``applied`` as it is wanted: a person has changed it since, and one
    column must not keep everything else from being applied. Else GraphRefused: the definition has to name another.
    """
    why = _why_unusable(column, found)
    if why is not None and not applied:
        raise graph_errors.COLUMN_MISFIT(column=column.name, title=title, why=f"it {why}")
    if why is not None:
        return [HoldColumn(title, column.name, why)]
    lacking = [choice for choice in column.choices if choice not in found.choices]
    if column.kind != "choice" or found.allows_text or not lacking:
        return []
    return [AddChoices(title, found.id, column.name, (*found.choices, *lacking))]


def _why_unusable(column: ListColumn, found: FoundColumn) -> str | None:
    """Why a column cannot hold what the definition says; None when it can."""
    if found.read_only:
        return "cannot be written: SharePoint does not let it"
    if found.kind != column.kind and not (column.kind == "text" and found.kind == "note"):
        kind = "of a kind Rowtide does not write" if found.kind is None else f"a {found.kind} column"
        return f"is {kind}, and the definition says {column.kind}"
    if column.kind == "dateTime" and (found.format or "dateTime") != (column.format or "dateTime"):
        return f"shows {found.format}, and the definition says {column.format or 'dateTime'}"
    if column.kind == "choice" and not (column.choices or found.allows_text):
        return "takes only its own choices, and the source column has no fixed values"
    return None


def held_by(steps: Sequence[Step], title: str) -> HeldColumns:
    """What of a list cannot be written once these steps are taken."""
    return HeldColumns({step.name: step.why for step in steps if isinstance(step, HoldColumn) and step.title == title})


def held_columns(
    found: Mapping[str, FoundColumn], wanted: Sequence[ListColumn], known: Mapping[str, str]
) -> HeldColumns:
    """What of a list that is ours cannot be written; ``known``: the ids of its columns when it was applied."""
    fields: dict[str, str] = {}
    for column in wanted:
        there = found.get(column.name)
        why = _why_held(column, there, known.get(column.name))
        if why is not None:
            fields[column.name] = why
    key = found.get(ROWTIDE_KEY)
    if key is None or key.read_only:
        fields[ROWTIDE_KEY] = "is gone" if key is None else "cannot be written: SharePoint does not let it"
        return HeldColumns(fields, fields[ROWTIDE_KEY])
    return HeldColumns(fields, None if key.indexed and key.unique else "is not indexed with unique values")


def other_instance(found: Mapping[str, FoundColumn], instance: str) -> str | None:
    """The id of another installation that has marked the list; None for ours and for a list without a mark."""
    key = found.get(ROWTIDE_KEY)
    return None if key is None else ListMark(instance).other_in(key.description)


def _why_held(column: ListColumn, there: FoundColumn | None, known: str | None) -> str | None:
    if there is None:
        return "is gone"
    # One of another kind is said to be that; `apply` takes one of the right kind for the new column that it is.
    another = "is another one than was applied" if known is not None and known != there.id else None
    return _why_unusable(column, there) or another
