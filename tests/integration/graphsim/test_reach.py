"""How far the simulator reaches: a million items in one list, their memory, their cost, and every request in its time.

Time is the simulator's own processor time, so that a busy machine does not decide.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.recording import DIRECTORY

ITEMS = 1_000_000
MEMORY_MIB = 1024
WRITES_PER_CPU_S = 5_000
REQUEST_CPU_S = 0.2
PREFER = {"Prefer": "HonorNonIndexedQueriesWarningMayFailRandomly"}
COLUMNS: list[dict[str, Any]] = [
    {"name": "RowtideKey", "text": {}, "indexed": True, "enforceUniqueValues": True},
    {"name": "Status", "choice": {"choices": ["a", "b", "c"]}, "indexed": True},
    *({"name": f"Text{n}", "text": {}} for n in range(4)),
    *({"name": f"Number{n}", "number": {}} for n in range(3)),
]


def _fields(n: int) -> dict[str, Any]:
    texts = {"Title": f"Order {n}", "Text0": f"customer {n % 1000}", "Text1": "some text", "Text2": f"x{n}"}
    numbers = {"Number0": n, "Number1": n * 1.5, "Number2": 3}
    return {"RowtideKey": f"sync/orders/{n:08d}", "Status": "abc"[n % 3], **texts, **numbers}


class _Meter:
    """Processor time and memory of a process."""

    def __init__(self, pid: int) -> None:
        self._place = Path(f"/proc/{pid}")

    def cpu_s(self) -> float:
        parts = (self._place / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> float:
        line = next(one for one in (self._place / "status").read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


async def _write_all(ask: Callable[..., Awaitable[Any]], member: Callable[[int], dict[str, Any]], count: int) -> None:
    """Batches of twenty, four at a time."""
    starts = iter(range(0, count, 20))

    async def work() -> None:
        for start in starts:
            requests = [{"id": str(n), **member(start + n)} for n in range(20)]
            status, body = await ask("POST", "/$batch", {"requests": requests})
            assert status == 200
            assert all(answer["status"] < 300 for answer in body["responses"])

    await asyncio.gather(*(work() for _ in range(4)))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_items(simulators: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the recorder, which would read every answer too.
    monkeypatch.delenv(DIRECTORY, raising=False)
    simulator = simulators("--tier", "off").sign_in()
    site = simulator.client.get("/sites/root").json()["id"]
    made = simulator.client.post(f"/sites/{site}/lists", json={"displayName": "Long", "columns": COLUMNS}).json()
    meter, address = _Meter(simulator.process.pid), f"/sites/{site}/lists/{made['id']}"
    token = simulator.client.headers["Authorization"]
    figures: list[str] = []
    slow: list[str] = []

    async def measure() -> None:
        headers = {"Authorization": token, "Content-Type": "application/json", **PREFER}
        async with aiohttp.ClientSession(headers=headers) as session:

            async def ask(method: str, path: str, body: Any = None) -> tuple[int, Any]:
                url = path if path.startswith("http") else simulator.ready["base_url"] + path
                data = None if body is None else orjson.dumps(body)
                async with session.request(method, url, data=data) as answer:
                    content = await answer.read()
                    return answer.status, orjson.loads(content) if content else None

            write = {"method": "POST", "url": address + "/items", "headers": {"Content-Type": "application/json"}}
            before = meter.cpu_s()
            await _write_all(ask, lambda n: {**write, "body": {"fields": _fields(n)}}, ITEMS)
            rate = ITEMS / (meter.cpu_s() - before)
            figures.append(f"{rate:.0f} creates a CPU second, {meter.peak_mib():.0f} MiB at the peak")
            assert rate >= WRITES_PER_CPU_S
            for name, method, path, body, expected in _requests(address):
                url: str | None = path
                for _ in range(3):
                    if url is None:
                        break
                    before = meter.cpu_s()
                    status, answer = await ask(method, url, body)
                    spent = meter.cpu_s() - before
                    assert status == expected, (name, answer)
                    figures.append(f"{name}: {spent * 1000:.0f} ms")
                    if spent > REQUEST_CPU_S:
                        slow.append(f"{name}: {spent * 1000:.0f} ms")
                    url = answer.get("@odata.nextLink") if isinstance(answer, dict) else None

    asyncio.run(measure())
    print("\n".join(figures))
    assert meter.peak_mib() <= MEMORY_MIB
    assert slow == []


def _requests(address: str) -> list[tuple[str, str, str, Any, int]]:
    """Name, method, path, body and status of each request; pages are followed twice."""
    items = address + "/items"
    reads = [
        ("a page", "?$expand=fields", 200),
        ("a page of 5,000", "?$expand=fields&$top=5000", 200),
        ("one key", f"?$expand=fields&$filter=fields/RowtideKey eq 'sync/orders/{ITEMS - 1:08d}'", 200),
        ("no key", "?$top=1&$filter=fields/RowtideKey eq null", 200),
        ("keys by beginning", "?$filter=startswith(fields/RowtideKey,'sync/orders/000012')", 200),
        ("keys of a range", f"?$filter=fields/RowtideKey gt 'sync/orders/{ITEMS - 3000:08d}'", 200),
        ("too many keys by beginning", "?$filter=startswith(fields/RowtideKey,'sync')", 422),
        ("too many of a choice", "?$filter=fields/Status eq 'a'", 422),
        ("no index", "?$filter=fields/Text1 eq 'x'", 422),
        ("ids of a range", f"?$filter=id gt {ITEMS - 4000}", 200),
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
        ("another title", "PATCH", address, {"displayName": "Longer"}, 200),
        ("a page after that", "GET", items + "?$expand=fields", None, 200),
    ]
    return [(name, "GET", items + query, None, status) for name, query, status in reads] + writes
