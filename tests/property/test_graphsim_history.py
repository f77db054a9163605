"""Any history of operations of several clients on one simulated list, against a model of a few lines.

Promises: delta replayed from any token converges to the list; every eTag check linearises (of writes that name the same
version one wins); the accounts of resource units add up, window by window.
"""

import asyncio
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from graphsim.clock import Clock
from graphsim.http import batch, pipeline
from graphsim.http.request import ApiCall, ApiReply, split_target
from graphsim.identity.app_registrations import App
from graphsim.limits.costs import cost
from graphsim.lists.sites import make_site
from graphsim.switches import Switches, apply_switches
from graphsim.tenant import Tenant

BASE = "http://127.0.0.1:1/v1.0"
KEYS = ["a", "A ", "b", " B", "c", "d"]
JSON = {"Content-Type": "application/json"}


class Reader:
    """Follows delta page by page; `items` is what it believes."""

    def __init__(self, link: str, items: dict[str, Any]) -> None:
        self.link = link
        self.items = items
        self.is_between_rounds = True

    def take(self, page: dict[str, Any]) -> None:
        for entry in page["value"]:
            if "deleted" in entry:
                self.items.pop(entry["id"], None)
            else:
                self.items[entry["id"]] = (entry["eTag"], entry["fields"].get("Amount"))
        self.is_between_rounds = "@odata.deltaLink" in page
        self.link = page["@odata.deltaLink"] if self.is_between_rounds else page["@odata.nextLink"]


class History(RuleBasedStateMachine):
    readers = Bundle("readers")

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.time = 1_800_000_000.0
        switches = Switches()
        apply_switches(switches, {"delta-repeat": 0.3, "delta-empty": 0.2, "version-limit": 3})
        self.tenant = Tenant(clock=Clock(lambda: self.time), seed=seed, switches=switches, tier="1000", window_s=2.0)
        self.apps = [self.tenant.add_app(f"app-{n}") for n in range(2)]
        site = make_site("contoso.sharepoint.com:/sites/ops", int(self.time))
        self.tenant.sites.add(site)
        self.spent = {app.client_id: 0 for app in self.apps}
        columns = [{"name": "Key", "text": {}, "indexed": True, "enforceUniqueValues": True}]
        columns.append({"name": "Amount", "number": {}})
        made = self.call(self.apps[0], "POST", f"/sites/{site.id}/lists", {"displayName": "L", "columns": columns})
        self.address = f"/sites/{site.id}/lists/{made.body['id']}"
        self.model: dict[str, Any] = {}
        self.keys: dict[str, str] = {}
        self.bin: dict[str, Any] = {}
        self.stale: list[tuple[str, str]] = []

    def call(self, app: App, method: str, url: str, body: Any = None, **headers: str) -> ApiReply:
        path, segments, query = split_target(url.removeprefix(BASE))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        made = ApiCall(method, path, segments, query, named, body, BASE, app)
        self.spent[app.client_id] += cost(made)
        reply = pipeline.serve(self.tenant, made)
        self.tenant.schema_busy.clear()
        # As a client reads it: pages hold their items as JSON.
        reply.body = orjson.loads(orjson.dumps(reply.body))
        return reply

    def run_batch(self, client: int, members: list[dict[str, Any]], spent: int) -> list[dict[str, Any]]:
        app = self.apps[client]
        self.spent[app.client_id] += spent
        outer = ApiCall("POST", "/$batch", ["$batch"], {}, {}, {"requests": members}, BASE, app)
        answers: list[dict[str, Any]] = asyncio.run(batch.run(self.tenant, outer)).reply.body["responses"]
        assert len(answers) == len(members)
        return answers

    def holder(self, key: str) -> str | None:
        return self.keys.get(key.strip().casefold())

    @rule(client=st.integers(0, 1), key=st.sampled_from(KEYS), amount=st.integers(0, 9))
    def create(self, client: int, key: str, amount: int) -> None:
        reply = self.call(
            self.apps[client], "POST", self.address + "/items", {"fields": {"Key": key, "Amount": amount}}
        )
        if reply.status == 429:
            return
        assert reply.status == (201 if self.holder(key) is None else 400)
        if reply.status == 201:
            assert reply.body["id"] not in self.model | self.bin
            self.model[reply.body["id"]] = (reply.body["eTag"], amount)
            self.keys[key.strip().casefold()] = reply.body["id"]

    @rule(client=st.integers(0, 1), count=st.integers(2, 8))
    def create_many(self, client: int, count: int) -> None:
        """A batch of items without a key, so that delta has several pages."""
        members = [
            {"id": str(n), "method": "POST", "url": self.address + "/items", "headers": JSON, "body": {"fields": {}}}
            for n in range(count)
        ]
        for answer in self.run_batch(client, members, 2 * count):
            if answer["status"] == 201:
                self.model[answer["body"]["id"]] = (answer["body"]["eTag"], None)

    @rule(client=st.integers(0, 1), data=st.data(), amount=st.integers(0, 9))
    def patch(self, client: int, data: st.DataObject, amount: int) -> None:
        item_id, etag, is_current = self.pick(data)
        url = f"{self.address}/items/{item_id}/fields"
        headers = {} if etag is None else {"if_match": etag}
        reply = self.call(self.apps[client], "PATCH", url, {"Amount": amount}, **headers)
        if reply.status == 429:
            return
        if item_id not in self.model:
            assert reply.status == 404
        elif is_current:
            assert reply.status == 200
            self.moved(item_id, (reply.body["@odata.etag"], amount))
        else:
            assert reply.status == 412

    @rule(client=st.integers(0, 1), data=st.data())
    def delete(self, client: int, data: st.DataObject) -> None:
        item_id, etag, is_current = self.pick(data)
        headers = {} if etag is None else {"if_match": etag}
        reply = self.call(self.apps[client], "DELETE", f"{self.address}/items/{item_id}", **headers)
        if reply.status == 429:
            return
        if item_id not in self.model:
            assert reply.status == 404
        elif is_current:
            assert reply.status == 204
            self.bin[item_id] = self.model.pop(item_id)[1]
            self.keys = {key: held for key, held in self.keys.items() if held != item_id}
        else:
            assert reply.status == 412

    def pick(self, data: st.DataObject) -> tuple[str, str | None, bool]:
        """An item, the eTag to name (current, older, none) and whether the write may pass."""
        known = sorted(self.model) + sorted(self.bin) + ["99"]
        item_id = data.draw(st.sampled_from(known))
        older = [etag for held, etag in self.stale if held == item_id]
        choice = data.draw(st.sampled_from(["current", "none", "older"]))
        if choice == "none":
            return item_id, None, True
        if choice == "older" and older:
            return item_id, data.draw(st.sampled_from(older)), False
        return item_id, self.model[item_id][0] if item_id in self.model else '"x,1"', True

    def moved(self, item_id: str, state: tuple[str, int]) -> None:
        before = self.model[item_id][0]
        assert int(state[0].strip('"').split(",")[1]) == int(before.strip('"').split(",")[1]) + 1
        self.stale.append((item_id, before))
        self.model[item_id] = state

    @rule(client=st.integers(0, 1), data=st.data(), rivals=st.integers(2, 6))
    def rivals_in_a_batch(self, client: int, data: st.DataObject, rivals: int) -> None:
        """Several members name the same version: whatever their order, one wins at most."""
        if not self.model:
            return
        item_id = data.draw(st.sampled_from(sorted(self.model)))
        headers = {**JSON, "If-Match": self.model[item_id][0]}
        url = f"{self.address}/items/{item_id}/fields"
        members = [
            {"id": str(n), "method": "PATCH", "url": url, "headers": headers, "body": {"Amount": n}}
            for n in range(rivals)
        ]
        answers = self.run_batch(client, members, 2 * rivals)
        won = [a for a in answers if a["status"] == 200]
        tried = [a for a in answers if a["status"] != 429]
        assert len(won) == min(1, len(tried))
        assert all(a["status"] in {200, 412, 429} for a in answers)
        if won:
            self.moved(item_id, (won[0]["body"]["@odata.etag"], won[0]["body"]["Amount"]))
            assert won[0]["body"]["Amount"] == int(won[0]["id"])

    @rule(data=st.data())
    def restore_by_hand(self, data: st.DataObject) -> None:
        if not self.bin:
            return
        item_id = data.draw(st.sampled_from(sorted(self.bin)))
        lst = next(iter(self.tenant.lists.by_id.values()))
        item = lst.row(item_id)
        assert item is not None
        key = lst.values(item).get("Key")
        if key is not None and self.holder(key) is not None:
            return
        lst.restore(item, self.tenant.person("Ann"), self.tenant.now())
        self.model[item_id] = (lst.etag(item), self.bin.pop(item_id))
        if key is not None:
            self.keys[key.strip().casefold()] = item_id

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.time += seconds

    @rule(target=readers, top=st.integers(1, 5))
    def read_from_nothing(self, top: int) -> Reader:
        return Reader(f"{self.address}/items/delta?$expand=fields&$top={top}", {})

    @rule(target=readers)
    def read_from_now(self) -> Reader:
        """The token of this moment, with what is true at this moment."""
        self.time += 3
        url = f"{self.address}/items/delta(token='latest')?$expand=fields"
        page = self.call(self.apps[0], "GET", url).body
        return Reader(page["@odata.deltaLink"], dict(self.model))

    @rule(reader=readers)
    def read_a_page(self, reader: Reader) -> None:
        reply = self.call(self.apps[1], "GET", reader.link)
        if reply.status != 429:
            reader.take(reply.body)

    @rule(reader=consumes(readers))
    def reader_converges(self, reader: Reader) -> None:
        """To the end of the round under way, then one whole round more."""
        for _ in range(2):
            self.follow(reader)
        assert reader.items == self.model

    def follow(self, reader: Reader) -> None:
        for _ in range(500):
            self.time += 2
            reply = self.call(self.apps[1], "GET", reader.link)
            assert reply.status == 200
            reader.take(reply.body)
            if reader.is_between_rounds:
                return
        raise AssertionError("a round of delta did not end")

    @invariant()
    def accounts_add_up(self) -> None:
        for client_id, spent in self.spent.items():
            account = self.tenant.throttle.account(client_id)
            assert account.charged == spent == sum(window[1] for window in account.history)
            assert account.accepted == sum(window[2] for window in account.history) <= spent
            assert all(window[2] <= account.minute.limit for window in account.history)

    @invariant()
    def the_list_is_the_model(self) -> None:
        lst = next(iter(self.tenant.lists.by_id.values()))
        held = {str(i.id): (lst.etag(i), lst.values(i).get("Amount")) for i in lst.live_items()}
        assert held == self.model
        assert lst.live == len(held)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
