"""`rowtide doctor`: what would keep Rowtide from working.

In: the definition. Out: findings on versions, state database, sources, tenants, with a remedy each (exit 3 when there
are any). Rule: nothing is changed; every part is looked at, whatever the others say.
"""

import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata

import typer

from connectors import settings
from connectors.postgres import preflight
from connectors.settings import Loaded
from control.cli import options, output
from control.operations import list_plan, status_snapshot
from control.operations.session import load, on_state, read_applied, state_dsn
from rowtide.definition.model import Definition
from rowtide.error_catalogue.entries import Check
from rowtide.errors import RowtideError
from state import database, processes

_MARKS = {"ok": "ok", "warning": "warning", "failure": "FAILURE"}
Part = tuple[str, Check]


def doctor(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Find what would keep it from working.

    Looks at versions, state database, sources and tenants; exit code 3 when there is something to mend.
    """
    loaded = load(config)
    found = [*_versions(), *_state(loaded), *_sources(loaded.definition), *_graphs(loaded.definition)]
    if as_json:
        output.document({"checks": [{"part": part, **asdict(check)} for part, check in found]})
    else:
        output.table(
            ["part", "check", "level", "finding", "remedy"],
            [[part, one.name, _MARKS[one.level], one.sentence, one.remedy or ""] for part, one in found],
        )
    if any(check.level != "ok" for _, check in found):
        raise typer.Exit(output.FINDINGS)


def _versions() -> Iterator[Part]:
    version = metadata.version
    yield "rowtide", Check("version", "ok", f"Rowtide {version('rowtide')} on Python {platform.python_version()}.")
    wanted, found = "0.21.1", version("bytewax")
    if found == wanted:
        yield "rowtide", Check("bytewax", "ok", f"Bytewax {found}.")
    else:
        remedy = "Install the locked requirements."
        yield "rowtide", Check("bytewax", "failure", f"Bytewax {found}: this release is made for {wanted}.", remedy)


def _state(loaded: Loaded) -> Iterator[Part]:
    try:
        findings, misfits = database.check(state_dsn(loaded)), database.check_version(state_dsn(loaded))
        for finding in findings:
            yield "state", Check("schema", "failure" if finding in misfits else "warning", f"{_upper(finding)}.")
        if not findings:
            yield "state", Check("schema", "ok", "The state database answers and fits this release.")
        if not misfits:
            yield from _records(loaded)
    except RowtideError as error:
        yield "state", Check("connection", "failure", error.sentence, error.remedy)


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _records(loaded: Loaded) -> Iterator[Part]:
    applied = on_state(loaded, read_applied)
    if applied is None:
        yield "state", Check("definition", "warning", "No definition is applied yet.", "Run `rowtide apply`.")
        return
    if applied[0].source_text != loaded.source_text:
        said = f"{loaded.path} differs from the applied version {applied[0].version}, which a running flow obeys."
        yield "state", Check("definition", "warning", said, "Look at `rowtide plan`, then run `rowtide apply`.")
    else:
        yield "state", Check("definition", "ok", f"Version {applied[0].version} is applied.")
    alive = [one for one in on_state(loaded, processes.read) if one.age_s <= status_snapshot.STALE_S]
    roles = sorted({role for process in alive for role in process.roles})
    if alive:
        yield "state", Check("process", "ok", f"Running: {', '.join(roles)}.")
    else:
        yield "state", Check("process", "warning", "No process runs.", "Start one with `rowtide run`.")


def _sources(definition: Definition) -> Iterator[Part]:
    for name, section in definition.postgres.items():
        part = f"source {name}"
        try:
            wanted = preflight.Wanted(
                settings.resolve_secret(section.dsn),
                definition.slot(name),
                definition.publication(name),
                definition.tables(name),
                section.failover,
            )
        except RowtideError as error:
            yield part, Check("secret", "failure", error.sentence, error.remedy)
            continue
        yield from ((part, check) for check in preflight.checks(wanted))


def _graphs(definition: Definition) -> Iterator[Part]:
    for name in definition.graph:
        yield from ((f"graph {name}", check) for check in list_plan.checks(definition, name))
