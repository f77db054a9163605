"""How far a running simulator reaches: many items in one list, their memory, their cost, and what each request costs.

In: a simulator's addresses, a token, its process id. Out: `Reach`. Called by the long test and by `make perf`. Rule:
time is the simulator's own processor time, so that a busy machine does not decide.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

PREFER = {"Prefer": "HonorNonIndexedQueriesWarningMayFailRandomly"}
COLUMNS: list[dict[str, Any]] = [
    {"name": "RowtideKey", "text": {}, "indexed": True, "enforceUniqueValues": True},
    {"name": "Status", "choice": {"choices": ["a", "b", "c"]}, "indexed": True},
    *({"name": f"Text{n}", "text": {}} for n in range(4)),
    *({"name": f"Number{n}", "number": {}} for n in range(3)),
]
# Stands once in what the control side tells of an item.
_ONE = b'"lastModifiedByApp":'


@dataclass(slots=True)
class Reach:
    """`requests` has the processor seconds of the slowest answer of each kind; refusals are among them."""

    creates_per_cpu_s: float = 0.0
    changes_per_cpu_s: float = 0.0
    peak_mib: float = 0.0
    requests: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, spent_s: float) -> None:
        self.requests[name] = max(spent_s, self.requests.get(name, 0.0))


class Meter:
    """Processor time and memory of a process."""

    def __init__(self, pid: int) -> None:
        self._place = Path(f"/proc/{pid}")

    def cpu_s(self) -> float:
        parts = (self._place / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> float:
        line = next(one for one in (self._place / "status").read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


class Measurement:
    """One simulator under measurement; `items` is how many the list gets."""

    def __init__(self, ready: dict[str, Any], token: str, pid: int, items: int) -> None:
        self._ready = ready
        self._headers = {"Authorization": token, "Content-Type": "application/json", **PREFER}
        self._meter = Meter(pid)
        self._items = items
        self._reach = Reach()

    async def run(self) -> Reach:
        """AssertionError when an answer is not the expected one."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            self._session = session
            _, site = await self._ask("GET", "/sites/root")
            asked = {"displayName": "Long", "columns": COLUMNS}
            _, made = await self._ask("POST", f"/sites/{site['id']}/lists", asked)
            address = f"/sites/{site['id']}/lists/{made['id']}"
            await self._write(address + "/items")
            for name, method, path, body, status in _requests(address, self._items):
                async for spent_s in self._follow(method, path, body, status):
                    self._reach.note(name, spent_s)
            await self._beside_everything()
            await self._beside_deletion(address)
        self._reach.peak_mib = self._meter.peak_mib()
        return self._reach

    async def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url = path if path.startswith("http") else self._ready["base_url"] + path
        data = None if body is None else orjson.dumps(body)
        async with self._session.request(method, url, data=data) as answer:
            content = await answer.read()
            return answer.status, orjson.loads(content) if content else None

    async def _write(self, items: str) -> None:
        headers = {"Content-Type": "application/json"}
        create = {"method": "POST", "url": items, "headers": headers}
        change = {"method": "PATCH", "headers": headers}
        before = self._meter.cpu_s()
        await self._write_all(lambda n: {**create, "body": {"fields": _fields(n)}}, self._items)
        between = self._meter.cpu_s()
        count = self._items // 10
        await self._write_all(lambda n: {**change, "url": f"{items}/{n + 1}/fields", "body": {"Number0": n + 1}}, count)
        self._reach.creates_per_cpu_s = self._items / (between - before)
        self._reach.changes_per_cpu_s = count / (self._meter.cpu_s() - between)

    async def _write_all(self, member: Callable[[int], dict[str, Any]], count: int) -> None:
        """Batches of twenty, four at a time."""
        starts = iter(range(0, count, 20))

        async def work() -> None:
            for start in starts:
                requests = [{"id": str(n), **member(start + n)} for n in range(20)]
                status, body = await self._ask("POST", "/$batch", {"requests": requests})
                assert status == 200
                assert all(answer["status"] < 300 for answer in body["responses"])

        await asyncio.gather(*(work() for _ in range(4)))

    async def _follow(self, method: str, path: str, body: Any, expected: int) -> AsyncIterator[float]:
        """The seconds of a request, and of two pages behind it if there are."""
        url: str | None = path
        for _ in range(3):
            if url is None:
                return
            before = self._meter.cpu_s()
            status, answer = await self._ask(method, url, body)
            yield self._meter.cpu_s() - before
            assert status == expected, (path, answer)
            url = answer.get("@odata.nextLink") if isinstance(answer, dict) else None

    async def _beside_everything(self) -> None:
        """Small requests while the control side tells of all items; a reader that waits makes it wait too."""
        before, count, rest = self._meter.cpu_s(), 0, b""
        async with self._session.get(f"{self._ready['control_url']}/items?list=Longer") as answer:
            self._reach.note("the beginning of all items", self._meter.cpu_s() - before)
            async for part in answer.content.iter_chunked(1 << 20):
                text = rest + part
                count += text.count(_ONE)
                rest = text[-len(_ONE) + 1 :]
                await self._look("beside a reader of all items", 1)
        assert count == self._items - 1

    async def _beside_deletion(self, address: str) -> None:
        before = self._meter.cpu_s()
        assert (await self._ask("DELETE", address))[0] == 204
        self._reach.note("a list deleted", self._meter.cpu_s() - before)
        await self._look("beside a list that is deleted", 200)

    async def _look(self, name: str, times: int) -> None:
        for _ in range(times):
            before = self._meter.cpu_s()
            assert (await self._ask("GET", "/sites/root"))[0] == 200
            self._reach.note(name, self._meter.cpu_s() - before)


def _fields(n: int) -> dict[str, Any]:
    texts = {"Title": f"Order {n}", "Text0": f"customer {n % 1000}", "Text1": "some text", "Text2": f"x{n}"}
    numbers = {"Number0": n, "Number1": n * 1.5, "Number2": 3}
    return {"RowtideKey": f"sync/orders/{n:08d}", "Status": "abc"[n % 3], **texts, **numbers}


def _requests(address: str, count: int) -> list[tuple[str, str, str, Any, int]]:
    """Name, method, path, body and status of each request; pages are followed twice."""
    items = address + "/items"
    reads = [
        ("a page", "?$expand=fields", 200),
        ("a page of 5,000", "?$expand=fields&$top=5000", 200),
        ("one key", f"?$expand=fields&$filter=fields/RowtideKey eq 'sync/orders/{count - 1:08d}'", 200),
        ("no key", "?$top=1&$filter=fields/RowtideKey eq null", 200),
        ("keys by beginning", "?$filter=startswith(fields/RowtideKey,'sync/orders/000012')", 200),
        ("keys of a range", f"?$filter=fields/RowtideKey gt 'sync/orders/{count - 3000:08d}'", 200),
        ("too many keys by beginning", "?$filter=startswith(fields/RowtideKey,'sync')", 422),
        ("too many of a choice", "?$filter=fields/Status eq 'a'", 422),
        ("no index", "?$filter=fields/Text1 eq 'x'", 422),
        ("ids of a range", f"?$filter=id gt {count - 4000}", 200),
        ("ordered by key", "?$orderby=fields/RowtideKey desc", 200),
        ("ordered by choice", "?$orderby=fields/Status&$top=5000", 200),
        ("ordered without index", "?$orderby=fields/Title", 422),
        ("latest delta", "/delta?token=latest", 200),
        ("first delta", "/delta?$expand=fields&$top=5000", 200),
    ]
    writes = [
        ("a change", "PATCH", items + "/5/fields", {"Text1": "changed"}, 200),
        ("a deletion", "DELETE", items + "/6", None, 204),
        ("a column more", "POST", address + "/columns", {"name": "New", "text": {}}, 201),
        ("a column less", "DELETE", address + "/columns/Text2", None, 204),
        ("an index too late", "PATCH", address + "/columns/Text1", {"indexed": True}, 422),
        ("no uniqueness", "PATCH", address + "/columns/RowtideKey", {"enforceUniqueValues": False}, 200),
        ("uniqueness", "PATCH", address + "/columns/RowtideKey", {"enforceUniqueValues": True}, 200),
        ("another title", "PATCH", address, {"displayName": "Longer"}, 200),
        ("a page after that", "GET", items + "?$expand=fields", None, 200),
    ]
    return [(name, "GET", items + query, None, status) for name, query, status in reads] + writes
