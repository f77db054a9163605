"""A client that does nothing but write items: what deliver is held against in the same run.

In: the addresses of a simulator, how many items. Out: the seconds until the last answer. Rule: it sends what deliver
sends (`$batch` with twenty items of as many fields, four batches at a time) and keeps no record of anything.
"""

import asyncio
import time
from itertools import count
from typing import Any

import aiohttp
import orjson

from tests.interop.conftest import fetch_token

_COLUMNS: list[dict[str, Any]] = [
    {"name": "RowtideKey", "text": {}, "indexed": True, "enforceUniqueValues": True},
    {"name": "Note", "text": {}},
    {"name": "Price", "number": {}},
    {"name": "Quantity", "number": {}},
    {"name": "Active", "boolean": {}},
    {"name": "MadeAt", "dateTime": {}},
]
_BATCH, _AT_ONCE = 20, 4
_lists = count(1)


def seconds(ready: dict[str, str], items: int) -> float:
    """How long it takes to create so many items in a list of its own."""
    return asyncio.run(_write(ready["base_url"], fetch_token(ready), items))


async def _write(base: str, token: str, items: int) -> float:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{base}/sites/root") as answer:
            site = orjson.loads(await answer.read())["id"]
        asked = orjson.dumps({"displayName": f"Peer {next(_lists)}", "columns": _COLUMNS})
        async with session.post(f"{base}/sites/{site}/lists", data=asked) as answer:
            url = f"/sites/{site}/lists/{orjson.loads(await answer.read())['id']}/items"
        starts = iter(range(0, items, _BATCH))

        async def work() -> None:
            for start in starts:
                requests = [_request(url, number) for number in range(start, min(items, start + _BATCH))]
                async with session.post(f"{base}/$batch", data=orjson.dumps({"requests": requests})) as answer:
                    responses = orjson.loads(await answer.read())["responses"]
                assert all(one["status"] == 201 for one in responses), responses[0]

        began = time.monotonic()
        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        return time.monotonic() - began


def _request(url: str, number: int) -> dict[str, Any]:
    fields = {
        "Title": f"name {number}",
        "RowtideKey": f"peer:{number}",
        "Note": f"a note of some length {number}",
        "Price": number % 10000 / 8,
        "Quantity": number % 500,
        "Active": number % 2 == 0,
        "MadeAt": "2026-01-01T00:00:00Z",
    }
    headers = {"Content-Type": "application/json"}
    return {"id": str(number), "method": "POST", "url": url, "headers": headers, "body": {"fields": fields}}
