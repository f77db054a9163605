"""`rowtide conflicts`: what is open is listed and decided, who and why stays on record, other policies are tried."""

import pytest
from psycopg.types.json import Jsonb

from rowtide.deciding.conflicts import Choice, OtherValue, Winner
from rowtide.deciding.records import ItemId, ListId
from state import conflicts, database
from tests.integration.control.desk import Desk

ITEM = (ListId("l"), ItemId("7"))


@pytest.fixture
def desk_with_conflicts(applied: Desk) -> Desk:
    """Two conflicts of sync parts: number 1 is closed, 2 is open, and its entry waits for a person."""
    with database.connect(applied.state_dsn) as connection:
        for version, winner in ((2, "postgres"), (3, None)):
            fields = {"Title": {"base": "a", "postgres": "pg", "sharepoint": "sp", "winner": winner}}
            connection.execute(
                "INSERT INTO rowtide.conflict"
                " (sync, key, list_id, item_id, version, kind, fields, policy, winner, state)"
                " VALUES ('parts', '4', 'l', '7', %s, 'update_differing', %s, 'manual', %s, %s)",
                [version, Jsonb(fields), winner, "closed" if winner else "open"],
            )
        connection.execute(
            "INSERT INTO rowtide.inbox (sync, list_id, item_id, key, version, state)"
            " VALUES ('parts', 'l', '7', '4', 3, 'conflict')"
        )
    return applied


def test_what_is_open_is_listed_without_values_and_shown_with_them(desk_with_conflicts: Desk) -> None:
    listed = desk_with_conflicts.type("conflicts", "list", "parts", "--json")
    assert (listed.code, [one["id"] for one in listed.json["conflicts"]]) == (3, [2])
    assert '"pg"' not in listed.out
    every = desk_with_conflicts.type("conflicts", "list", "--all", "--json").json["conflicts"]
    assert [(one["id"], one["state"]) for one in every] == [(2, "open"), (1, "closed")]
    assert desk_with_conflicts.type("conflicts", "list", "--key", "9").code == 0
    shown = desk_with_conflicts.type("conflicts", "show", "2", "--json").json
    assert shown["values"]["Title"]["sharepoint"] == "sp"
    text = desk_with_conflicts.type("conflicts", "show", "2").out
    assert "sp" in text
    assert desk_with_conflicts.type("conflicts", "show", "99").err.startswith("error unknown_conflict")


def test_a_choice_is_of_the_values_that_were_seen(desk_with_conflicts: Desk) -> None:
    desk = desk_with_conflicts
    words = ("--take", "postgres", "--why", "x", "--yes", "--json")
    before = desk.type("conflicts", "show", "2", "--json").json["seen_as"]
    assert before.startswith("2:")
    with database.connect(desk.state_dsn) as connection:
        connection.execute("UPDATE rowtide.conflict SET fields = jsonb_set(fields, '{Title,sharepoint}', '\"new\"')")
    assert desk.type("conflicts", "resolve", before, *words).json["error"]["code"] == "conflict_moved"
    now = desk.type("conflicts", "show", "2", "--json").json["seen_as"]
    assert now != before
    assert now in desk.type("conflicts", "show", "2").out
    assert desk.type("conflicts", "resolve", now, *words).json["resolved"] == [2]
    assert desk.type("conflicts", "resolve", "two", *words).json["error"]["code"] == "conflict_choice"


def test_deciding_remembers_who_why_and_what_was_seen(desk_with_conflicts: Desk) -> None:
    done = desk_with_conflicts.type(
        "conflicts", "resolve", "2", "--take", "sharepoint", "--value", 'Title="both"', "--why", "they agreed",
        "--yes", "--json",
    )  # fmt: skip
    assert done.json == {"resolved": [2], "closed_already": []}
    with database.connect(desk_with_conflicts.state_dsn) as connection:
        chosen = conflicts.choices(connection, [ITEM])[ITEM]
        assert connection.execute("SELECT state FROM rowtide.inbox").fetchone() == ("waiting",)
    assert chosen == Choice(Winner.SHAREPOINT, {"Title": OtherValue("both")}, {"Title": ("pg", "sp")})
    shown = desk_with_conflicts.type("conflicts", "show", "2", "--json").json
    assert (shown["chosen_why"], bool(shown["chosen_by"])) == ("they agreed", True)


def test_every_open_one_of_a_kind_is_decided_at_once(desk_with_conflicts: Desk) -> None:
    words = ("conflicts", "resolve", "--all", "--sync", "parts", "--take", "postgres", "--why", "x", "--yes", "--json")
    assert desk_with_conflicts.type(*words, "--kind", "moved_differing").json["resolved"] == []
    assert desk_with_conflicts.type(*words, "--kind", "update_differing").json["resolved"] == [2]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("2", "--why", "x"), "conflict_choice"),
        (("--take", "postgres", "--why", "x"), "conflict_choice"),
        (("2", "--all", "--take", "postgres", "--why", "x"), "conflict_choice"),
        (("2", "--take", "ours", "--why", "x"), "conflict_side"),
        (("2", "--field", "Titel=postgres", "--why", "x"), "conflict_field"),
        (("2", "--value", "Title={}", "--why", "x"), "conflict_choice"),
        (("99", "--take", "postgres", "--why", "x"), "unknown_conflict"),
    ],
)
def test_what_decides_nothing_is_refused(words: tuple[str, ...], code: str, desk_with_conflicts: Desk) -> None:
    done = desk_with_conflicts.type("conflicts", "resolve", *words, "--yes")
    assert done.code == 2
    assert done.err.startswith(f"error {code}: ")


def test_another_policy_is_tried(desk_with_conflicts: Desk) -> None:
    found = desk_with_conflicts.type("conflicts", "simulate", "--policy", "sharepoint_wins", "--json").json
    assert (found["conflicts"], found["wins"]["sharepoint"], found["would_differ"]) == (2, 2, [2, 1])
    said = desk_with_conflicts.type("conflicts", "simulate", "--policy", "postgres_wins", "--since", "1d").out
    assert "1 would have ended otherwise" in said
