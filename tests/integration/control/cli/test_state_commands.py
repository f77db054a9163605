"""db, slot, status, pause, resume, parked, reconcile: commands that speak to the databases alone."""

from datetime import UTC, datetime, timedelta

from rowtide.holds import HeldDeletes
from state import database, definitions, holds, processes
from tests.integration.control.desk import Desk

NOBODY = "host=127.0.0.1 port=9 dbname=x user=x"


def beat(desk: Desk, **health: object) -> None:
    """One beat of a process that does everything."""
    with database.connect(desk.state_dsn) as connection:
        processes.beat(connection, 0, ["capture", "deliver"], 1, "here", datetime.now(UTC), health)


def reason(desk: Desk) -> tuple[str, str]:
    (sync,) = desk.type("status", "--json").json["syncs"]
    return sync["reason"]["code"], sync["reason"]["sentence"]


def test_db_check_then_upgrade(desk: Desk) -> None:
    before = desk.type("db", "check", "--json")
    assert before.code == 3
    assert any("rowtide db upgrade" in finding for finding in before.json["findings"])
    assert desk.type("db", "upgrade", "--json").json == {"upgraded": True}
    assert desk.type("db", "upgrade", "--json").json == {"upgraded": False}
    after = desk.type("db", "check", "--json").json["findings"]
    assert not any("rowtide db upgrade" in finding for finding in after)


def test_a_state_database_that_does_not_answer(desk: Desk) -> None:
    done = desk.spawn("status", "--json", ROWTIDE_STATE_DSN=NOBODY)
    assert done.code == 1
    assert done.json["error"]["code"] == "state_unreachable"
    assert done.err.startswith("error state_unreachable: ")
    assert "Traceback" not in done.err


def test_status_before_anything_is_applied(desk: Desk) -> None:
    desk.type("db", "upgrade")
    done = desk.type("status")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error not_applied: ")


def test_status_names_the_first_reason(applied: Desk) -> None:
    assert reason(applied)[0] == "not_running"
    beat(applied)
    assert reason(applied) == ("first_load", "The first load has not begun; it begins by itself.")
    beat(applied, graph={"contoso": {"problem": {"code": "x", "sentence": "403 for the site."}}})
    assert reason(applied) == ("x", "Graph contoso: 403 for the site.")
    beat(applied, source={applied.slot: {"problem": {"code": "y", "sentence": "No route."}}})
    assert reason(applied) == ("y", "PostgreSQL erp: No route.")
    until = datetime.now(UTC) + timedelta(minutes=5)
    beat(applied, graph={"contoso": {"gate_until": until.isoformat(), "gate_throttled": True}})
    assert reason(applied)[0] == "throttled"
    assert applied.type("pause", "parts", "--reason", "stock taking").code == 0
    code, sentence = reason(applied)
    assert code == "paused"
    assert sentence.endswith("stock taking")
    assert applied.type("resume", "--all").code == 3  # it is not what was paused
    assert applied.type("resume", "parts").code == 0
    beat(applied)
    assert reason(applied)[0] == "first_load"


def test_rows_out_of_sync_are_not_0_before_the_first_load(applied: Desk) -> None:
    """Nobody knows how many there are."""
    for alive in (False, True):
        if alive:
            beat(applied)
        (sync,) = applied.type("status", "--json").json["syncs"]
        assert sync["out_of_sync"]["rows"] == 0
        assert sync["out_of_sync"]["unknown_since"] is not None
        assert (sync["lag_s"], sync["eta_s"]) == (None, None)
        assert (sync["wanted"], sync["activity"]) == ("run", "unknown" if alive else "stopped")
    assert "unknown" in applied.spawn("status").out


def test_status_is_one_document_or_one_table(applied: Desk) -> None:
    applied.type("slot", "create")
    (sync,) = applied.type("status", "--json").json["syncs"]
    assert sync["lag_bytes"] is not None
    assert set(sync["latency_ms"]) == {"p50", "p95", "p99"}
    named = {"wanted", "activity", "health", "reason", "position", "lag_s", "out_of_sync", "rates", "eta_s"}
    assert named | {"waiting", "in_flight", "parked", "delivered", "ru_used"} <= set(sync)
    text = applied.spawn("status").out
    assert "OUT_OF_SYNC" in text
    assert "No process with the role capture runs" in text
    assert "running" not in text.split()
    assert "LAG_BYTES" in applied.spawn("status", "--wide").out
    narrow = applied.spawn("status", COLUMNS="80").out
    assert max(len(line) for line in narrow.splitlines()) <= 80
    applied.type("slot", "drop", "--yes")


def test_status_without_the_source_still_answers(applied: Desk) -> None:
    (sync,) = applied.type("status", "--json", ROWTIDE_SOURCE_DSN=NOBODY).json["syncs"]
    assert sync["lag_bytes"] is None


def test_pause_wants_exactly_one_way_to_say_which(applied: Desk) -> None:
    for words in (["pause"], ["pause", "parts", "--all"], ["pause", "nothing"], ["pause", "--target", "nobody"]):
        done = applied.type(*words)
        assert (done.code, done.out) == (2, "")
    done = applied.type("pause", "--target", "contoso", "--json").json
    assert done == {"scope": "tenant", "object": "contoso", "placed": True, "syncs": ["parts"]}


def test_a_resume_lifts_no_stop_at_capture_and_says_what_does(applied: Desk) -> None:
    applied.type("pause", "parts", "--reason", "stock taking")
    with database.connect(applied.state_dsn) as connection:
        definitions.stop_capture(connection, "parts", "relation_mismatch", "The table lacks a column.")
        assert reason(applied)[0] == "paused"
        done = applied.type("resume", "parts")
        assert done.code == 3
        assert "The table lacks a column." in done.out
        assert "by itself" in done.out
        assert reason(applied)[0] == "relation_mismatch"
        definitions.stop_capture(connection, "parts", "key_unknown", "A row came without its key.")
    assert "rowtide reconcile parts" in applied.type("resume", "parts").out
    assert applied.type("reconcile", "parts", "--json").code == 3
    assert applied.type("resume", "parts", "--json").json["remaining"] == {}


def test_an_approval_names_the_held_deletions_of_one_sync(applied: Desk) -> None:
    assert applied.type("resume", "--all", "--approve-deletes").code == 2
    assert applied.type("resume", "parts", "--approve-deletes", "--json").json["approved"] is None
    with database.connect(applied.state_dsn) as connection:
        held = HeldDeletes(12, ("1", "2"), None)
        holds.place(connection, "sync", "parts", "deletes", "mass_delete", "Too many.", "breaker", held)
    assert "--approve-deletes" in applied.type("resume", "parts").out
    done = applied.type("resume", "parts", "--approve-deletes", "--json")
    assert (done.code, done.json["approved"]) == (0, {"count": 12, "sample": ["1", "2"]})


def test_parked_rows_are_listed_shown_retried_and_discarded(applied: Desk) -> None:
    assert applied.type("parked", "list").code == 0
    applied.park(1, 2, 3)
    listed = applied.type("parked", "list", "--json")
    assert listed.code == 3
    assert [row["key"] for row in listed.json["parked"]] == ["1", "2", "3"]
    assert "secret" not in listed.out
    shown = applied.type("parked", "show", "parts", "2", "--json").json
    assert (shown["fields"], shown["reason_code"]) == ({"Title": "secret"}, "value_too_long")
    assert applied.type("parked", "show", "parts", "9").code == 2
    assert applied.type("parked", "retry", "parts", "1", "--json").json == {"retried": 1}
    assert applied.state("SELECT op, state FROM rowtide.outbox WHERE key = '1'") == [("r", "waiting")]
    assert applied.spawn("parked", "discard", "parts", "--all").code == 2
    assert applied.type("parked", "discard", "parts", "--all", "--yes", "--json").json == {"discarded": 2}
    assert applied.state("SELECT key FROM rowtide.outbox") == [("1",)]


def test_slot_life(applied: Desk) -> None:
    assert applied.type("slot", "show").code == 1
    made = applied.type("slot", "create", "--json").json
    assert (made["created"], made["slot"]) == (True, applied.slot)
    assert applied.type("slot", "create", "--json").json["created"] is False
    (ours,) = [slot for slot in applied.type("slot", "list", "--json").json["slots"] if slot["ours"]]
    assert ours["lag_bytes"] >= 0
    assert applied.spawn("slot", "drop").code == 2
    applied.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", other := f"{applied.slot}_of_others"[-63:])
    refused = applied.type("slot", "drop", other, "--yes")
    assert (refused.code, refused.err.partition(": ")[0]) == (2, "error slot_foreign")
    assert applied.type("slot", "show", other).code == 0
    dropped = applied.type("slot", "drop", other, "--yes", "--foreign", "--json").json
    assert dropped == {"slot": other, "dropped": True}
    assert applied.type("slot", "drop", "--yes", "--json").json == {"slot": applied.slot, "dropped": True}


def test_a_dry_run_counts_and_writes_nothing(applied: Desk) -> None:
    done = applied.type("reconcile", "parts", "--dry-run", "--json")
    assert done.code == 3
    assert (done.json["rows"], done.json["differences"]["creates"]) == (30, 30)
    assert applied.state("SELECT count(*) FROM rowtide.outbox") == [(0,)]
    assert applied.state("SELECT count(*) FROM rowtide.reconcile") == [(0,)]


def test_run_refuses_roles_it_does_not_know(applied: Desk) -> None:
    done = applied.spawn("run", "--roles", "capture,fly")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error unknown_role: ")


def test_forgetting_asks_first_and_says_what_went_and_what_stays(applied: Desk) -> None:
    assert "not_confirmed" in applied.type("forget", "parts", "7").err
    assert "purge_in_force" in applied.type("purge", "parts").err
    with database.connect(applied.state_dsn) as connection:
        definitions.apply(connection, {"definition": {"syncs": {}}}, "test", definitions.latest_version(connection))
        connection.execute(
            "DELETE FROM rowtide.definition WHERE version = (SELECT max(version) FROM rowtide.definition)"
        )
    applied.park(7)
    known = """
        INSERT INTO rowtide.ledger (sync, key, list_id, item_id, base, mapping_version, era, lsn, ordinal, xid, state)
        SELECT 'parts', k::text, 'l', k::text, '{"Title": "secret"}', 1, 1, 0, 0, 0, 'live' FROM generate_series(7, 8) k
    """
    applied.state(known)
    assert "not_confirmed" in applied.type("purge", "parts", "--discard").err
    said = applied.type("forget", "parts", "7", "--yes").out
    assert said.splitlines() == [
        "forgotten: its values, a change that waited",
        "kept: its key, its item's ids and a position, until no replay can speak of the row any more",
    ]
    assert applied.type("forget", "parts", "9", "--yes").out == "no value of it was kept\n"
    purged = applied.type("purge", "parts", "--yes").out.splitlines()
    assert purged == ["deleted from ledger: 2", "nothing is kept of parts; its lists and their items stay as they are"]
