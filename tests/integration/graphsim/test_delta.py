"""Delta: forms of the call, rounds, last states, deleted entries, tokens that ran out."""

from typing import Any

import pytest

from graphsim.lists.representations import deleted_json


def follow(desk: Any, url: str) -> tuple[list[dict[str, Any]], str]:
    """All entries of a round, and the link of the next."""
    entries: list[dict[str, Any]] = []
    while True:
        page = desk.get(url)
        entries += page["value"]
        assert ("@odata.nextLink" in page) != ("@odata.deltaLink" in page)
        if "@odata.deltaLink" in page:
            return entries, page["@odata.deltaLink"]
        url = page["@odata.nextLink"]


@pytest.mark.parametrize(
    "form",
    [
        "delta?token=latest",
        "delta(token='latest')",
        "delta(token=%27latest%27)",
        "microsoft.graph.delta(token='latest')",
    ],
)
def test_latest_gives_no_items_and_a_link(desk: Any, form: str) -> None:
    orders = desk.make_list()
    desk.add(orders, Title="before")
    page = desk.get(f"{orders}/items/{form}")
    assert page["value"] == []
    desk.add(orders, Title="after")
    entries, _ = follow(desk, page["@odata.deltaLink"])
    assert [e["id"] for e in entries] == ["2"]
    assert "fields" not in entries[0]


@pytest.mark.parametrize("form", ["delta", "delta()", "microsoft.graph.delta()"])
def test_a_first_round_enumerates_the_living(desk: Any, form: str) -> None:
    orders = desk.make_list()
    for n in range(5):
        desk.add(orders, Title=f"t{n}")
    desk.call("DELETE", orders + "/items/2")
    entries, link = follow(desk, f"{orders}/items/{form}?$top=2&%24expand=fields(%24select=Title)")
    assert sorted(e["fields"]["Title"] for e in entries) == ["t0", "t2", "t3", "t4"]
    assert follow(desk, link)[0] == []
    desk.add(orders, Title="t5")
    assert follow(desk, link)[0][0]["fields"]["Title"] == "t5"


def test_last_states_and_deleted_entries(desk: Any) -> None:
    orders = desk.make_list()
    link = desk.get(orders + "/items/delta?token=latest")["@odata.deltaLink"]
    for n in range(3):
        desk.add(orders, Title=f"t{n}")
    for title in ("a", "b"):
        desk.call("PATCH", orders + "/items/1/fields", {"Title": title})
    desk.call("DELETE", orders + "/items/2")
    entries, link = follow(desk, link + "&$expand=fields")
    by_id = {e["id"]: e for e in entries}
    assert len(entries) == 3
    assert by_id["1"]["fields"]["Title"] == "b"
    assert by_id["2"]["deleted"] == {"state": "deleted"}
    assert not {"fields", "eTag", "@odata.etag"} & set(by_id["2"])
    assert follow(desk, link)[0] == []


def test_a_round_ends_though_writes_go_on(desk: Any) -> None:
    orders = desk.make_list()
    for n in range(6):
        desk.add(orders, Title=f"t{n}")
    url, seen = orders + "/items/delta?$top=2", []
    for n in range(10):
        page = desk.get(url)
        seen += [e["id"] for e in page["value"]]
        desk.call("PATCH", f"{orders}/items/{n % 6 + 1}/fields", {"Title": f"again {n}"})
        if "@odata.deltaLink" in page:
            break
        url = page["@odata.nextLink"]
    assert n < 5
    rest, _ = follow(desk, page["@odata.deltaLink"])
    assert set(seen) | {e["id"] for e in rest} == {str(n) for n in range(1, 7)}


def test_repeats_give_the_newest_state_last(make_desk: Any) -> None:
    desk = make_desk(delta_repeat=1)
    orders = desk.make_list()
    for n in range(4):
        desk.add(orders, Title=f"old {n}")
        desk.call("PATCH", f"{orders}/items/{n + 1}/fields", {"Title": f"new {n}"})
    entries, _ = follow(desk, orders + "/items/delta?$expand=fields")
    assert len(entries) == 8
    assert {e["id"]: e["fields"]["Title"] for e in entries} == {str(n + 1): f"new {n}" for n in range(4)}
    assert {e["fields"]["Title"] for e in entries} >= {"old 0", "old 3"}


def test_pages_are_shuffled_unless_told_otherwise(make_desk: Any) -> None:
    orders = {}
    for order in ("shuffled", "change"):
        desk = make_desk(delta_order=order)
        address = desk.make_list()
        for n in range(20):
            desk.add(address, Title=str(n))
        orders[order] = [int(e["id"]) for e in desk.get(address + "/items/delta")["value"]]
    assert orders["change"] == list(range(1, 21))
    assert sorted(orders["shuffled"]) == orders["change"]
    assert orders["shuffled"] != orders["change"]


def test_empty_pages_carry_a_next_link(make_desk: Any) -> None:
    desk = make_desk(delta_empty=0.6)
    orders = desk.make_list()
    for n in range(6):
        desk.add(orders, Title=str(n))
    entries, _ = follow(desk, orders + "/items/delta?$top=1")
    assert sorted(e["id"] for e in entries) == list("123456")


def test_a_change_is_seen_only_after_the_lag(make_desk: Any) -> None:
    desk = make_desk(delta_lag_s=10)
    orders = desk.make_list()
    link = desk.get(orders + "/items/delta?token=latest")["@odata.deltaLink"]
    desk.add(orders, Title="a")
    desk.time += 6
    desk.add(orders, Title="b")
    assert follow(desk, link)[0] == []
    desk.time += 5
    seen, link = follow(desk, link)
    assert [e["id"] for e in seen] == ["1"]
    desk.time += 6
    assert [e["id"] for e in follow(desk, link)[0]] == ["2"]


@pytest.mark.parametrize(
    ("switches", "inner"),
    [
        ({}, "resyncChangesApplyDifferences"),
        ({"delta-resync": "upload"}, "resyncChangesUploadDifferences"),
        ({"delta-resync-spelling": "short"}, "resyncApplyDifferences"),
    ],
)
def test_an_old_token_answers_410_with_a_fresh_start(make_desk: Any, switches: dict[str, Any], inner: str) -> None:
    desk = make_desk(**{"delta-token-life-s": 3600, **switches})
    orders = desk.make_list()
    desk.add(orders, Title="a")
    link = desk.get(orders + "/items/delta?token=latest&$expand=fields")["@odata.deltaLink"]
    desk.time += 3601
    reply = desk.call("GET", link)
    assert (reply.status, reply.body["error"]["code"]) == (410, "resyncRequired")
    assert reply.body["error"]["innerError"]["code"] == inner
    entries, _ = follow(desk, reply.headers["Location"])
    assert entries[0]["fields"]["Title"] == "a"


@pytest.mark.parametrize(("switch", "status"), [("400", 400), ("410", 410)])
def test_a_token_of_another_list_or_of_nobody(make_desk: Any, switch: str, status: int) -> None:
    desk = make_desk(delta_bad_token=switch)
    orders, other = desk.make_list(), desk.make_list("Other")
    link = desk.get(other + "/items/delta?token=latest")["@odata.deltaLink"]
    token = link.rpartition("token=")[2]
    assert desk.error("GET", f"{orders}/items/delta?token={token}")[0] == status
    assert desk.error("GET", f"{orders}/items/delta?token=nonsense")[0] == status


def test_many_overtaken_changes_are_swept_out(desk: Any) -> None:
    orders = desk.make_list()
    lst = desk.tenant.lists.by_id[desk.lists["Orders"]]
    desk.add(orders, Title="a")
    link = desk.get(orders + "/items/delta")["@odata.deltaLink"]
    item = lst.rows[0]
    for n in range(10_000):
        lst.update(item, {"Amount": n}, desk.app.principal, desk.time, 2)
    assert sum(len(block) for block in lst.log._blocks) < 5_000
    assert [e["id"] for e in follow(desk, link)[0]] == ["1"]
    assert [e["id"] for e in follow(desk, orders + "/items/delta")[0]] == ["1"]


def test_ids_of_deleted_entries_may_be_numbers(desk: Any) -> None:
    """Against the schema, which knows strings only: hence a switch that is off."""
    orders = desk.make_list()
    desk.add(orders, Title="a")
    lst = desk.tenant.lists.by_id[desk.lists["Orders"]]
    assert deleted_json(lst, lst.rows[0], as_int=True)["id"] == 1
