"""What is wrong with a definition: sentences, each with the path of its key.

In: pydantic's findings. Out: `Problem`s and the one `DefinitionError` that carries them. Rule: a sentence names keys
and what is allowed, never the key's value, nor a key that no definition has (either may be a secret in a wrong place).
"""

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rowtide.error_catalogue.definition_errors import INVALID_DEFINITION
from rowtide.errors import DefinitionError

Path = tuple[str | int, ...]


class Problem(NamedTuple):
    """What is wrong, and where: keys and indexes from the root."""

    path: Path
    sentence: str


def as_error(problems: Sequence[Problem]) -> DefinitionError:
    """One error for all of them, a line each."""
    lines = "\n".join(problem.sentence for problem in problems)
    return INVALID_DEFINITION(problems=lines).about(problems)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` when a known word is close, else nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def dotted(path: Path, refused: Collection[Path] = ()) -> str:
    """A path as an operator writes it, ``syncs.orders.source``; what could not be a name in it is left out.

    ``refused``: paths whose last part was found to be no name.
    """
    parts = [
        str(part) if path[: place + 1] not in refused and _SHOWN.fullmatch(str(part)) else "…"
        for place, part in enumerate(path)
        if part != "[key]"
    ]
    return ".".join(parts)


_SHOWN = re.compile(r"[\w .-]{1,63}")


def from_validation(error: ValidationError, root: type[BaseModel]) -> list[Problem]:
    """A problem for each finding, in the file's terms."""
    found = error.errors(include_url=False)
    refused = {details["loc"][:-1] for details in found if details["loc"][-1:] == ("[key]",)}
    return [_problem(details, root, refused) for details in found]


_SENTENCES = {
    "string_type": "must be text (put it in quotes)", "int_type": "must be a whole number",
    "float_type": "must be a number", "bool_type": "must be true or false",
    "dict_type": "must be a mapping of keys to values", "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values", "tuple_type": "must be a list",
    "too_short": "must not be empty",
}  # fmt: skip


def _problem(details: ErrorDetails, root: type[BaseModel], refused: Collection[Path]) -> Problem:
    path = tuple(details["loc"])
    shown, where = dotted(path, refused), dotted(path[:-1], refused) or "the file"
    key = str(path[-1]) if path else ""
    match details["type"]:
        case "extra_forbidden":
            return Problem(path, _unknown_key(key, where, _known_keys(root, path[:-1])))
        case "missing":
            return Problem(path[:-1], f"{where} needs the key '{key}'")
        case "literal_error":
            allowed = str(details.get("ctx", {}).get("expected", ""))
            close = did_you_mean(str(details["input"]), re.findall(r"'([^']*)'", allowed))
            return Problem(path, f"{shown} must be {allowed}{close}")
        case kind:
            return Problem(path, f"{shown or 'the file'}: {_SENTENCES.get(kind, details['msg'])}")


def _unknown_key(key: str, where: str, known: Sequence[str]) -> str:
    close = did_you_mean(key, known)
    return (
        f"unknown key '{key}' in {where}{close}" if close else f"unknown key in {where}, which has {', '.join(known)}"
    )


def _known_keys(root: type[BaseModel], path: Path) -> list[str]:
    """The keys the section at ``path`` may have."""
    section: type[BaseModel] | None = root
    parts = list(path)
    while parts and section is not None:
        field = next((f for name, f in section.model_fields.items() if parts[0] in (name, f.alias)), None)
        parts.pop(0)
        if field is None:
            return []
        section = _section_in(field.annotation)
        if "dict" in str(field.annotation) and parts:
            parts.pop(0)  # the name a person gave
    return [] if section is None else [field.alias or name for name, field in section.model_fields.items()]


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part)) is not None), None)
