"""Which list a row belongs to.

In: the ``list`` or ``lists`` of a sync's definition, a row's column texts. Out: the title of a list, or None when the
definition names none for this row (it is then parked). Rule: every possible title is known beforehand, because `apply`
makes the lists and a running flow never does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rowtide.error_catalogue import definition_errors
from rowtide.expressions import predicates, syntax
from rowtide.expressions.syntax import Call, Column, Expression
from rowtide.mapping.columns import SourceColumn

Shard = Callable[[Sequence[str | None]], str | None]
"""From a row's texts to the title of its list."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """One list (``by`` None, its title in ``default``), or a list for each value of an expression."""

    by: Expression | None
    map: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    @property
    def only_title(self) -> str | None:
        """The title of the only list; None when there can be several."""
        return self.default if self.by is None else None

    def titles(self) -> tuple[str, ...]:
        """Every list a row of the sync may belong to, once each, in the definition's order."""
        every = [*self.map.values(), *([self.default] if self.default is not None else [])]
        return tuple(dict.fromkeys(every))

    def targets(self) -> dict[str, tuple[str, ...]]:
        """Title -> the targets whose rows go there: keys of the map, and the default."""
        targets: dict[str, tuple[str, ...]] = {}
        for value, title in self.map.items():
            targets[title] = (*targets.get(title, ()), f"map:{value}")
        if self.default is not None:
            targets[self.default] = (*targets.get(self.default, ()), "default")
        return targets

    def only_value(self, title: str) -> tuple[str, str] | None:
        """The column and its text that every row of a list has; None where rows with several values may be in it."""
        values = [value for value, of in self.map.items() if of == title]
        if not isinstance(self.by, Column) or len(values) != 1 or title == self.default:
            return None
        return self.by.name, values[0]

    def columns(self) -> tuple[str, ...]:
        """The columns that decide."""
        return () if self.by is None else syntax.columns_of(self.by)

    def check(self, columns: Mapping[str, SourceColumn]) -> None:
        """DefinitionError when the table's columns do not carry it."""
        if self.by is not None:
            predicates.check(self.by, columns, condition=False)

    def compile(self, columns: Mapping[str, SourceColumn], index: Mapping[str, int]) -> Shard:
        """A function from a row's texts (each column at its ``index``) to a title."""
        default = self.default
        if self.by is None:
            return lambda _row: default
        text_of, titles = predicates.compile_text(self.by, columns, index), dict(self.map)

        def shard(row: Sequence[str | None]) -> str | None:
            value = text_of(row)
            return default if value is None else titles.get(value, default)

        return shard


def single(title: str) -> Sharding:
    """Every row to one list."""
    return Sharding(None, {}, title)


def by_expression(by: str, map: Mapping[str, str] | None, default: str | None, name: str | None) -> Sharding:
    """The sharding that a ``lists`` section describes; DefinitionError when its lists cannot be known beforehand."""
    expression = syntax.parse(by)
    if name is None:
        titles = dict(map or {})
    else:
        if name.count("{}") != 1:
            raise definition_errors.INVALID_LISTS(problem="name must hold {} once, where the value goes")
        titles = {value: name.replace("{}", value) for value in _values(expression)}
    sharding = Sharding(expression, titles, default)
    lowered = [title.lower() for title in sharding.titles()]
    if len(set(lowered)) != len(lowered):
        raise definition_errors.INVALID_LISTS(problem="two titles differ only in case, which SharePoint takes for one")
    return sharding


def _values(expression: Expression) -> list[str]:
    """The values an expression can have, as text."""
    if isinstance(expression, Call) and expression.function == "hash":
        return [str(number) for number in range(expression.modulus)]
    if isinstance(expression, Call) and expression.function == "month":
        return [str(number) for number in range(1, 13)]
    if isinstance(expression, Call):
        raise definition_errors.INVALID_LISTS(
            problem="not available yet: year() in list names (lists are made beforehand); use map with default"
        )
    raise definition_errors.INVALID_LISTS(
        problem="the values of by cannot be told beforehand; use map, or hash(column, n)"
    )
