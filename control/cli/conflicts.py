"""`rowtide conflicts`: changes of both sides that did not agree.

In: filters, numbers of conflicts, a choice. Out: the conflicts as a table, one with its values, which were decided,
what another policy would have done. Rule: what happens is control.operations.conflicts'; deciding needs a reason, and a
person's yes who is shown the values first.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

import typer

from control.cli import options, output, session
from control.operations import conflicts
from control.operations.conflicts import ConflictWithValues, Decision, NamedConflict, WantedConflicts
from rowtide.definition.kinds import parse_duration
from rowtide.error_catalogue import command_errors

app = typer.Typer(no_args_is_help=True, help="Changes of both sides that did not agree.")

Sync = Annotated[str | None, typer.Argument(metavar="[SYNC]", help="Default: every sync.")]
Key = Annotated[str | None, typer.Option("--key", help="Of this row only.")]
Kind = Annotated[str | None, typer.Option("--kind", help="Of this kind only, update_differing say.")]
Since = Annotated[str | None, typer.Option("--since", metavar="DURATION", help="Recorded within this time, 7d say.")]
PolicyName = Literal["postgres_wins", "sharepoint_wins", "latest_wins", "merge", "manual"]


@app.command("list")
def list_(
    sync: Sync = None,
    key: Key = None,
    kind: Kind = None,
    since: Since = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are closed, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """List open conflicts, the newest first (exit 3 when there are any)."""
    wanted = WantedConflicts(sync, key, kind, not every, _within(since), limit)
    found = conflicts.list_conflicts(session.start_session(config), wanted)
    rows = found["conflicts"]
    if as_json:
        output.document(found)
    elif rows:
        output.table(
            ["id", "sync", "key", "kind", "fields", "winner", "at"],
            [
                [one["id"], one["sync"], one["key"], one["kind"], ", ".join(one["fields"]), _winner(one), one["at"]]
                for one in rows
            ],
        )
    else:
        output.say("no conflicts" if every else "no conflict is open")
    if any(one["state"] == "open" for one in rows):
        raise typer.Exit(output.FINDINGS)


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="ID")],
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Show one conflict with both values and what was agreed."""
    found = conflicts.show(session.start_session(config), number)
    if as_json:
        output.document(found)
        return
    rest = {name: value for name, value in found.items() if name not in ("values", "fields")}
    output.table(["what", "value"], list(rest.items()))
    _show_values([found])


@app.command("resolve")
def resolve(
    why: Annotated[str, typer.Option("--why", help="The reason; it stays on record.")],
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="As `list` shows them, or as `show` does (seen_as): only if still so."),
    ] = None,
    take: Annotated[str | None, typer.Option("--take", metavar="SIDE", help="postgres or sharepoint.")] = None,
    fields: Annotated[list[str] | None, typer.Option("--field", metavar="NAME=SIDE", help="For one field.")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--value", metavar="NAME=JSON", help="A value in place of both.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every open conflict that the filters leave.")] = False,
    sync: Annotated[str | None, typer.Option("--sync", help="With --all: of this sync only.")] = None,
    key: Key = None,
    kind: Kind = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Decide open conflicts: by a side, by field, or with another value."""
    if bool(numbers) == every:
        raise command_errors.CONFLICT_CHOICE(problem="either numbers or --all are needed")
    names = [named(one) for one in numbers or ()]
    decision = decision_of(take, fields or (), values or (), why)
    opened = session.start_session(config)
    wanted = WantedConflicts(sync, key, kind, True, _within(since), 1_000_000)
    seen = conflicts.find_open(opened, wanted, names)
    if not yes:
        _show_values(seen)
        output.confirm(f"Decide {_counted(len(seen))}?")
    found = conflicts.resolve(opened, seen, decision, session.actor())
    if as_json:
        output.document(found)
    else:
        output.say(f"decided {_counted(len(found['resolved']))}; each is applied at once")


@app.command("simulate")
def simulate(
    policy: Annotated[PolicyName, typer.Option("--policy", help="The policy to try.")],
    sync: Sync = None,
    since: Since = None,
    config: options.Config = options.CONFIG,
    as_json: options.Json = False,
) -> None:
    """Say what another policy would have done with the recorded conflicts."""
    wanted = WantedConflicts(sync, within=_within(since), limit=1_000_000)
    found = conflicts.simulate_policy(session.start_session(config), wanted, policy)
    if as_json:
        output.document(found)
        return
    wins = ", ".join(f"{count:,} {name}" for name, count in found["wins"].items())
    output.say(f"{found['conflicts']:,} conflicts under {policy}: {wins}")
    output.say(f"{len(found['would_differ']):,} would have ended otherwise")
    if found["by_field"]:
        output.table(["field", "would differ"], list(found["by_field"].items()))


def named(word: str) -> NamedConflict:
    """The conflict that a word means: its number, or its number with what was seen of it."""
    number, colon, _ = word.partition(":")
    if not number.isdecimal():
        raise command_errors.CONFLICT_CHOICE(problem=f"{word} is no number of a conflict")
    return NamedConflict(int(number), word if colon else None)


def decision_of(take: str | None, fields: Sequence[str], values: Sequence[str], why: str) -> Decision:
    """What the options say; UserError where they say nothing, or what cannot be read."""
    if take is None and not fields and not values:
        raise command_errors.CONFLICT_CHOICE(problem="no side and no value is given")
    chosen = {name: conflicts.other_value(_json(text)) for name, text in map(_pair, values)}
    sides = {name: conflicts.side_of(word) for name, word in map(_pair, fields)}
    return Decision(None if take is None else conflicts.side_of(take), why, {**chosen, **sides})


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise command_errors.CONFLICT_CHOICE(problem="a --field or --value has no NAME=")
    return name, value


def _json(text: str) -> str | int | float | bool | list[str] | None:
    try:
        value = json.loads(text)
    except ValueError:
        value = {}
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise command_errors.CONFLICT_CHOICE(
        problem="a value is no text, number, true, false, null or list of texts in JSON"
    )


def _within(since: str | None) -> timedelta | None:
    if since is None:
        return None
    try:
        return parse_duration(since)
    except ValueError as problem:
        raise command_errors.CONFLICT_CHOICE(problem=f"{since} is no duration such as 7d") from problem


def _winner(one: conflicts.ConflictRow) -> str:
    return "open" if one["state"] == "open" else one["winner"] or "overtaken"


def _show_values(seen: Sequence[ConflictWithValues]) -> None:
    rows = [
        [one["id"], one["key"], name, values["base"], values["postgres"], values["sharepoint"]]
        for one in seen
        for name, values in sorted(one["values"].items())
    ]
    if rows:
        output.table(["id", "key", "field", "agreed before", "postgres", "sharepoint"], rows)


def _counted(count: int) -> str:
    return "1 conflict" if count == 1 else f"{count} conflicts"
