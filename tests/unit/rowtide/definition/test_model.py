"""A definition is read whole or refused with everything that is wrong with it."""

import ast
import copy
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from rowtide.definition import model as definitions
from rowtide.definition.both_ways import MarkDefinition
from rowtide.definition.kinds import duration_text, parse_duration
from rowtide.errors import DefinitionError

ROOT = Path(__file__).parents[4]

WHOLE: dict[str, Any] = {
    "version": 1,
    "state": {"dsn": "env:STATE"},
    "postgres": {"erp": {"dsn": "env:ERP", "heartbeat": "500ms"}},
    "graph": {"contoso": {"tenant_id": "72f9", "client_id": 12, "credential": {"client_secret": "file:/run/secret"}}},
    "syncs": {
        "orders": {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com:/sites/ops"},
            "lists": {"by": "region", "map": {"EU": "Orders EU", 7: "Orders Seven"}, "default": "Orders Other"},
            "where": "status <> 'draft'",
            "fields": {"order_no": "Title", "amount": {"field": "Amount", "as": "number"}},
        }
    },
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """`WHOLE` with another value at a path."""
    data = copy.deepcopy(WHOLE)
    node = data
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = to
    return data


def test_defaults_are_those_of_the_design() -> None:
    definition = definitions.parse(WHOLE)
    graph, sync = definition.graph["contoso"], definition.syncs["orders"]
    assert (definition.slot("erp"), definition.publication("erp")) == ("rowtide_erp", "rowtide_erp")
    assert definition.tables("erp") == (("public", "orders"),)
    assert (graph.client_id, graph.licences, graph.quota_share, graph.quota) == ("12", 1000, 0.8, "on")
    assert graph.request_timeout == timedelta(seconds=30)
    assert graph.absent_after == graph.rate_window == timedelta(seconds=60)
    assert (sync.deletes.push, sync.mode, sync.breaker.share, sync.breaker.rows) == ("propagate", "deliver", 0.2, 500)
    assert (sync.fields["order_no"].kind, sync.fields["amount"].kind) == ("text", "number")
    assert sync.sharding().titles() == ("Orders EU", "Orders Seven", "Orders Other")
    assert definition.postgres["erp"].on_gap == "heal"


def test_what_is_stored_reads_back_and_says_not_how_anything_is_reached() -> None:
    stored = definitions.parse(WHOLE).to_json()
    document = definitions.parse_document(stored)
    assert (document.slot("erp"), document.syncs) == ("rowtide_erp", definitions.parse(WHOLE).syncs)
    assert document.to_json() == stored
    assert [word for word in ("env:", "file:", "dsn", "credential", "base_url") if word in json.dumps(stored)] == []
    assert definitions.CONNECTION_KEYS["graph"] >= {"credential", "base_url", "authority", "ca_file", "tenant_id"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({}, ("text", "info")),
        ({"log": "json"}, ("json", "info")),
        ({"log": {"level": "debug"}}, ("text", "debug")),
        ({"log": {"format": "json", "level": "error"}}, ("json", "error")),
    ],
)
def test_how_log_lines_look(said: dict[str, Any], meant: tuple[str, str]) -> None:
    log = definitions.parse(changed("run", to=said)).run.log
    assert (log.format, log.level) == meant


@pytest.mark.parametrize("text", ["500ms", "10s", "5m", "12h", "90d", "1500ms"])
def test_durations(text: str) -> None:
    assert duration_text(parse_duration(text)) == text


SYNC = ("syncs", "orders")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("sync",), {}, "unknown key 'sync' in the file; did you mean 'syncs'?"),
        (("run",), {"log": "jsn"}, "run.log.format must be 'text' or 'json'; did you mean 'json'?"),
        (("run",), {"log": {"level": "trace"}}, "run.log.level must be 'debug', 'info', 'warning' or 'error'"),
        (("run",), {"log": {"levl": "info"}}, "unknown key 'levl' in run.log; did you mean 'level'?"),
        (("run",), {"log": 7}, "run.log: must be a mapping of keys to values"),
        ((*SYNC, "source", "tabel"), "x", "unknown key 'tabel' in syncs.orders.source; did you mean 'table'?"),
        ((*SYNC, "breaker"), {"shares": 1}, "unknown key 'shares' in syncs.orders.breaker; did you mean 'share'?"),
        ((*SYNC, "fields", "amount"), {"feld": "x"}, "unknown key 'feld' in syncs.orders.fields.amount"),
        ((*SYNC, "source"), {"postgres": "erp"}, "syncs.orders.source needs the key 'table'"),
        ((*SYNC, "source", "postgres"), "erb", "there is no 'erb' in postgres; did you mean 'erp'?"),
        ((*SYNC, "mode"), "observed", "syncs.orders.mode must be 'deliver' or 'observe'; did you mean 'observe'?"),
        ((*SYNC, "fields", "amount"), {"field": "A", "as": "numbr"}, "did you mean 'number'?"),
        ((*SYNC, "fields", "amount"), {"field": "A", "as": "lookup"}, "not available yet: kind lookup"),
        ((*SYNC, "fields", "amount"), "Modified", "SharePoint or Rowtide keeps the column Modified itself"),
        ((*SYNC, "fields", "amount"), "rowtidekey", "SharePoint or Rowtide keeps"),
        ((*SYNC, "fields", "amount"), "Net Amount", "a field is the API name of a column"),
        ((*SYNC, "fields", "amount"), {"field": "A", "overflow": "park", "as": "number"}, "overflow goes with kind"),
        ((*SYNC, "fields", "amount"), {"field": "A", "format": "dateOnly"}, "format goes with kind dateTime only"),
        ((*SYNC, "fields", "order_no"), {"field": "Title", "as": "number"}, "Title is a text column"),
        ((*SYNC, "fields", "amount"), "title", "two columns are mapped to"),
        ((*SYNC, "direction"), "pull", "not available yet: direction pull"),
        ((*SYNC, "match"), ["order"], "match: column 'order' is not mapped; did you mean 'order_no'?"),
        ((*SYNC, "match"), [], "must not be empty"),
        ((*SYNC, "deletes"), "mark", "deletes must be propagate, ignore or mark"),
        ((*SYNC, "deletes"), {"push": {"mark": {"Title": "gone", "Amount": 0}}}, "deletes must be propagate, ignore"),
        ((*SYNC, "deletes"), {"push": {"mark": {"State": "gone"}}}, "mark names a field that a column is mapped to"),
        ((*SYNC, "deletes"), {"mark": {"Title": "gone"}}, "mark belongs to one way"),
        ((*SYNC, "deletes"), {"pull": "ignore"}, "deletes.pull goes with direction: both only"),
        ((*SYNC, "on_refused"), "revert", "on_refused goes with direction: both only"),
        ((*SYNC, "status_field"), "SyncStatus", "status_field goes with direction: both only"),
        ((*SYNC, "conflicts"), {"policy": "merge"}, "conflicts goes with direction: both only"),
        ((*SYNC, "conflicts"), {"policy": "mege"}, "did you mean 'merge'?"),
        ((*SYNC, "conflicts"), {"columns": {"amount": "merge"}}, "must be 'postgres_wins', "),
        ((*SYNC, "list"), "Orders", "needs exactly one of list and lists"),
        ((*SYNC, "lists"), {"by": "year(at)", "name": "Orders {}"}, "not available yet: year()"),
        ((*SYNC, "lists"), {"by": "region", "name": "Orders {}"}, "cannot be told beforehand"),
        ((*SYNC, "lists"), {"by": "hash(id, 8)", "name": "Orders"}, "name must hold {} once"),
        ((*SYNC, "where"), "status = ", "the expression cannot be read"),
        ((*SYNC, "where"), "lower(status) = 'x'", "is not among what an expression may use"),
        ((*SYNC, "schedule"), {"reconcile": "0 3 * * *"}, "schedule: not available yet: let cron run"),
        ((*SYNC, "poll"), "5s..60s", "poll goes with direction: both only"),
        ((*SYNC, "poll"), "5s", "must be two durations, such as 5s..60s"),
        ((*SYNC, "poll"), "5s..", "must be a duration"),
        ((*SYNC, "poll"), "60s..5s", "end with no less than it begins with"),
        ((*SYNC, "poll"), "500ms..5s", "must begin with 1s at least"),
        (("retention",), {"conflicts": 90}, "must be a duration"),
        (("retention",), {"tombstones": "1h"}, "retention.tombstones: has to be 1d at least"),
        (("retention",), {"runs": 90}, "must be a duration"),
        (("postgres", "erp", "apply_dsn"), "env:APPLY", "apply_dsn: no sync of this source has direction: both"),
        (("postgres", "erp", "apply_search_path"), ["app"], "apply_search_path: no sync of this source has"),
        ((*SYNC, "fields", "amount"), {"field": "A", "to": "Parts"}, "to: not available yet"),
        (("postgres", "erp", "heartbeat"), 10, "must be a duration"),
        (("postgres", "erp", "heartbeat"), "0s", "must be a duration"),
        (("postgres", "erp", "slot"), "Slot-1", "lower-case letters"),
        (("state", "dsn"), "vault:kv/a#b", "not available yet"),
        (("redis",), {"url": "env:R"}, "redis: not available yet"),
        (("graph", "contoso", "credential"), {}, "exactly one of client_secret and certificate"),
        (("graph", "contoso", "credential"), {"managed_identity": {}}, "not available yet"),
        (("graph", "contoso", "licences"), "many", "must be a whole number"),
        (("graph", "contoso", "quota_share"), 1.5, "less than or equal to 1"),
        (("graph", "contoso", "base_url"), "graph.example", "beginning with https"),
        (("graph", "contoso", "base_url"), "http://graph.microsoft.com/v1.0", "base_url must begin with https://"),
        (("graph", "contoso", "base_url"), "https://graph.example/v1.0", "base_url is in none of Microsoft's clouds"),
        (("graph", "contoso", "authority"), "https://login.example", "authority is in none of Microsoft's clouds"),
        (("version",), 2, "version must be 1"),
        (("syncs",), {}, "must not be empty"),
        (("syncs",), [], "must be a mapping"),
        ((*SYNC, "where"), 5, "must be text"),
    ],
)
def test_each_mistake_has_its_sentence(path: tuple[Any, ...], value: Any, sentence: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        definitions.parse(changed(*path, to=value))
    assert sentence in refused.value.sentence


def test_a_secret_is_never_shown() -> None:
    with pytest.raises(DefinitionError) as refused:
        definitions.parse(changed("state", "dsn", to="host=db password=hunter2"))
    assert "hunter2" not in str(refused.value) + repr(refused.value.problems)
    assert "never the secret itself" in refused.value.sentence


def test_all_mistakes_come_together() -> None:
    data = changed(*SYNC, "source", "postgres", to="nowhere")
    data["state"] = {"dsn": "secret"}
    data["syncs"]["second"] = {**copy.deepcopy(WHOLE["syncs"]["orders"]), "mode": "x"}
    with pytest.raises(DefinitionError) as refused:
        definitions.parse(data)
    paths = {path for path, _ in refused.value.problems}
    assert {("state", "dsn"), ("syncs", "orders", "source", "postgres"), ("syncs", "second", "mode")} <= paths
    assert len(refused.value.sentence.splitlines()) == len(refused.value.problems)


def test_a_list_belongs_to_one_sync() -> None:
    data: dict[str, Any] = copy.deepcopy(WHOLE)
    data["syncs"]["second"] = {**copy.deepcopy(WHOLE["syncs"]["orders"]), "list": "orders eu"}
    del data["syncs"]["second"]["lists"]
    with pytest.raises(DefinitionError, match="belongs to the sync orders"):
        definitions.parse(data)


def test_a_sync_of_two_ways_is_written_back_as_it_was() -> None:
    both = {
        "direction": "both",
        "conflicts": {"policy": "merge", "columns": {"amount": "latest_wins"}},
        "deletes": {"push": {"mark": {"Title": "gone"}}, "pull": {"mark": {"removed": "true"}}},
        "on_refused": "revert",
        "status_field": "SyncStatus",
        "poll": "10s..5m",
    }
    data = changed(*SYNC, to=WHOLE["syncs"]["orders"] | both)
    data["postgres"]["erp"] |= {"apply_dsn": "env:WRITER", "apply_search_path": ["app", "public"]}
    definition = definitions.parse(data)
    stored = definition.to_json()
    assert definitions.parse_document(stored).to_json() == stored
    assert "WRITER" not in json.dumps(stored)
    sync: Any = stored["syncs"]
    assert {name: sync["orders"][name] for name in both} == both


def test_a_mark_is_a_text_as_postgresql_reads_it() -> None:
    back = {"pull": {"mark": {"removed": True}}}
    definition = definitions.parse(changed(*SYNC, to=WHOLE["syncs"]["orders"] | {"direction": "both", "deletes": back}))
    [sync] = definition.syncs.values()
    assert sync.deletes.pull == MarkDefinition(mark={"removed": "true"})


@pytest.mark.parametrize("name", ["amount", "Title", "Modified", "Sync Status"])
def test_a_status_field_is_a_column_of_its_own(name: str) -> None:
    both = {"direction": "both", "status_field": name}
    with pytest.raises(DefinitionError, match="status_field|Modified|API name"):
        definitions.parse(changed(*SYNC, to=WHOLE["syncs"]["orders"] | both))


def test_a_sync_keeps_its_id_under_another_name() -> None:
    data: dict[str, Any] = copy.deepcopy(WHOLE)
    data["syncs"] = {"sales": {**WHOLE["syncs"]["orders"], "id": "orders"}}
    definition = definitions.parse(data)
    assert definition.id_of("sales") == "orders"
    assert (definition.find_sync("sales"), definition.find_sync("orders")) == ("orders", "orders")
    assert definition.find_sync("others") is None
    assert definition.sync_of_id("orders") is definition.syncs["sales"]


@pytest.mark.parametrize("taken", ["orders", "old"])
def test_an_id_belongs_to_one_sync(taken: str) -> None:
    """Neither the name nor the id of another sync: commands take both."""
    data: dict[str, Any] = copy.deepcopy(WHOLE)
    data["syncs"]["orders"]["id"] = "old"
    data["syncs"]["second"] = {**copy.deepcopy(WHOLE["syncs"]["orders"]), "id": taken, "list": "Second"}
    del data["syncs"]["second"]["lists"]
    with pytest.raises(DefinitionError, match=f"'{taken}' is the name or the id of the sync orders too"):
        definitions.parse(data)


def test_nothing_but_a_mapping_is_a_definition() -> None:
    nothings: tuple[object, ...] = (None, [], "x", 5)
    for nothing in nothings:
        with pytest.raises(DefinitionError, match="must be a mapping"):
            definitions.parse(nothing)


READ_BY_THE_DEFINITION = {
    "version",
    "list",
    "by",
    "map",
    "default",
    "name",
    "key",
    "direction",
    "conflicts",
    "retention",
}
"""Keys that methods of the definition read, or of which only the default is accepted (the table above has both)."""


def sections(found: type[definitions.Section] = definitions.Definition) -> set[type[definitions.Section]]:
    """Every section a file may have."""
    nested = {found}
    for field in found.model_fields.values():
        for part in find_sections(field.annotation):
            nested |= sections(part)
    return nested


def find_sections(annotation: Any) -> set[type[definitions.Section]]:
    if isinstance(annotation, type) and issubclass(annotation, definitions.Section):
        return {annotation}
    return {section for part in get_args(annotation) for section in find_sections(part)}


def test_a_key_that_is_accepted_does_something() -> None:
    """It is read somewhere outside the definition's own code, or it is refused as not available yet."""
    paths = [path for room in ("rowtide", "connectors", "flows", "control") for path in (ROOT / room).rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in paths if path.parent.name != "definition"]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    ignored = {
        f"{section.__name__}.{name}"
        for section in sections()
        for name, field in section.model_fields.items()
        if field.annotation is not type(None) and name not in read | READ_BY_THE_DEFINITION
    }
    assert len(sections()) > 8
    assert ignored == set()


def test_a_key_that_is_to_come_takes_nothing() -> None:
    to_come = {
        field.alias or name
        for section in sections()
        for name, field in section.model_fields.items()
        if field.annotation is type(None)
    }
    assert to_come == {
        "managed_identity", "redis", "schedule", "to", "workload_identity"
    }  # fmt: skip
