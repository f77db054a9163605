"""What an entry of the catalogue is, and how an error is made from it.

In: a code, the exception class, a sentence and a remedy with ``{fields}``. Out: the exception, its fields filled in.
Rules: a sentence names keys, columns, addresses and PostgreSQL's or Graph's own words, never a row's value or a secret;
where those words answer what was said about rows, they may quote a value all the same, and logs do without them.
"""

from dataclasses import dataclass
from string import Formatter
from typing import Generic, Literal, TypeVar

from rowtide.errors import LEFT_OUT, RowtideError

E = TypeVar("E", bound=RowtideError)

Level = Literal["ok", "warning", "failure"]


def fields_of(*templates: str) -> frozenset[str]:
    """Names of the fields in these templates."""
    return frozenset(name for text in templates for _, name, _, _ in Formatter().parse(text) if name)


@dataclass(frozen=True, slots=True)
class Entry(Generic[E]):
    """One error: calling the entry with its fields makes the exception of ``kind``.

    A ``code`` with fields is a family: the codes of another system (Graph's statuses, say) that share one remedy.
    ``quotes``: fields with another system's words about rows, which stand in no log (docs/design.md section 26).
    """

    kind: type[E]
    code: str
    sentence: str
    remedy: str = ""
    quotes: tuple[str, ...] = ()

    def __call__(self, **values: object) -> E:
        """The exception; every field of the entry has to be given."""
        error = self.kind(self.code.format(**values), self.sentence.format(**values), self.remedy.format(**values))
        if self.quotes:
            error.unquoted = self.sentence.format(**{**values, **dict.fromkeys(self.quotes, LEFT_OUT)})
        return error

    @property
    def fields(self) -> frozenset[str]:
        """What a call has to give."""
        return fields_of(self.code, self.sentence, self.remedy)


@dataclass(frozen=True, slots=True)
class Said:
    """A code and a sentence for the operator, and what to do next (empty: nothing)."""

    code: str
    sentence: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class ReasonEntry:
    """A reason why a sync does or does not move: `status` shows it, and it can pause a sync without an error."""

    code: str
    sentence: str
    remedy: str = ""

    def __call__(self, **values: object) -> Said:
        """Code, sentence and remedy; every field of the entry has to be given."""
        return Said(self.code.format(**values), self.sentence.format(**values), self.remedy.format(**values))

    @property
    def fields(self) -> frozenset[str]:
        """What a call has to give."""
        return fields_of(self.code, self.sentence, self.remedy)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of `doctor`. ``remedy`` is empty when all is well."""

    name: str
    level: Level
    sentence: str
    remedy: str = ""

    @classmethod
    def of_error(cls, name: str, error: RowtideError) -> "Check":
        """The failed check for an error: the check could not be made, or the error is its result."""
        return cls(name, "failure", error.sentence, error.remedy)


@dataclass(frozen=True, slots=True)
class FindingEntry:
    """Something that `doctor` looks for, with what to do about it; calling it with its fields makes the `Check`."""

    name: str
    level: Level
    sentence: str
    remedy: str = ""

    def __call__(self, **values: object) -> Check:
        """The check; every field of the entry has to be given."""
        return Check(self.name, self.level, self.sentence.format(**values), self.remedy.format(**values))

    @property
    def fields(self) -> frozenset[str]:
        """What a call has to give."""
        return fields_of(self.sentence, self.remedy)
