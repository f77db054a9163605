"""docs/errors.md: the whole catalogue, code by code.

In: `rowtide.error_catalogue`. Out: the page as text, which ``python -m control.cli.pages`` writes. Rule: nothing
stands on the page that is not in the catalogue, and nothing is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from rowtide.error_catalogue import (
    command_errors,
    definition_errors,
    doctor_findings,
    graph_errors,
    process_errors,
    row_errors,
    row_verdicts,
    source_errors,
    state_errors,
    status_reasons,
    sync_errors,
)
from rowtide.error_catalogue.entries import Entry, FindingEntry, ReasonEntry
from rowtide.errors import UNEXPECTED, Park, Pause, Retry, RowtideError, Stop, reaction_to

SECTIONS: tuple[tuple[str, ModuleType], ...] = (
    ("Definition and secrets", definition_errors),
    ("Command line, environment, demo", command_errors),
    ("Source PostgreSQL", source_errors),
    ("State database", state_errors),
    ("Microsoft Graph and Entra", graph_errors),
    ("Parked rows", row_errors),
    ("Paused syncs and broken continuity", sync_errors),
    ("Faults of Rowtide itself", process_errors),
)

_INTRO = """# Error codes

Printed by `python -m control.cli.pages` from `rowtide/error_catalogue/`; do not edit.

Every error is one line on stderr, `error CODE: sentence`, and below it what to do. A command ends with exit code 2 for
a UserError or DefinitionError and 1 for any other; the column "while running" says what a running process does.
`{name}` stands for what is known only then. A code with such a name is a family: `graph_{status}` is `graph_423` when
Graph answered 423.
"""

Made = Entry[Any] | ReasonEntry | FindingEntry


def entries(module: ModuleType) -> Iterator[Made]:
    """What a module of the catalogue holds, in its order."""
    return (value for value in vars(module).values() if isinstance(value, Entry | ReasonEntry | FindingEntry))


def page() -> str:
    """The page's text."""
    parts = [_INTRO]
    for title, module in SECTIONS:
        rows = [_error_row(entry) for entry in entries(module) if isinstance(entry, Entry)]
        parts.append(f"## {title}\n\n{_table(('code', 'kind', 'while running', 'sentence', 'what to do'), rows)}")
        reasons = [_reason_row(entry) for entry in entries(module) if isinstance(entry, ReasonEntry)]
        if reasons:
            parts.append(f"Without an error of their own:\n\n{_table(('code', 'sentence', 'what to do'), reasons)}")
        parts += _families(module)
    reasons = [_reason_row(entry) for entry in entries(status_reasons) if isinstance(entry, ReasonEntry)]
    parts.append(
        "## What `status` says\n\nThe first that holds; a paused sync shows the code it was paused with.\n\n"
        + _table(("code", "sentence", "what to do"), reasons)
    )
    reasons = [_reason_row(entry) for entry in entries(row_verdicts) if isinstance(entry, ReasonEntry)]
    parts.append(
        "## What `explain` says of a row\n\nThe first that holds.\n\n"
        + _table(("code", "sentence", "what to do"), reasons)
    )
    findings = [
        (f"`{one.name}`", one.level, one.sentence, one.remedy)
        for one in entries(doctor_findings)
        if isinstance(one, FindingEntry) and one.level != "ok"
    ]
    parts.append(f"## What `doctor` finds\n\n{_table(('check', 'level', 'finding', 'what to do'), findings)}")
    return "\n".join(parts)


def _error_row(entry: Entry[Any]) -> Sequence[str]:
    return f"`{entry.code}`", entry.kind.__name__, _while_running(entry.kind), entry.sentence, entry.remedy


def _reason_row(entry: ReasonEntry) -> Sequence[str]:
    return f"`{entry.code}`", entry.sentence, entry.remedy


def _while_running(kind: type[RowtideError]) -> str:
    if kind is RowtideError:
        return f"the thread that met it goes on, at most {UNEXPECTED.most_s:g} s later"
    match reaction_to(kind("", "")):
        case Retry(_, most_s):
            return f"tried again, at most {most_s:g} s apart"
        case Park():
            return "the row is parked"
        case Pause():
            return "the sync is paused"
        case Stop(code):
            return f"ends with exit code {code}"


def _families(module: ModuleType) -> Iterator[str]:
    """The codes of other systems that a module's entries stand for."""
    if module is source_errors:
        rows = [
            (", ".join(f"`{one}`" for one in beginnings if one) or "every other", f"`{entry.code}`", why)
            for why, families in (
                ("ends a stream", source_errors.STREAM_SQLSTATES),
                ("fails a statement", source_errors.SQLSTATES),
            )
            for beginnings, entry in families
        ]
        yield f"By SQLSTATE, which begins with:\n\n{_table(('SQLSTATE', 'code', 'where it'), rows)}"
    if module is graph_errors:
        remedies = [
            (f"AADSTS{number}" if number else "every other", remedy)
            for number, remedy in graph_errors.ENTRA_REMEDIES.items()
        ]
        yield f"`identity_refused` by Entra's own number:\n\n{_table(('number', 'what to do'), remedies)}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(one) for one in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
