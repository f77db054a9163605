"""Counters that let a test explain every call: `GET /_sim/stats`.

In: each answer of the pipeline, each write of an item. Out: plain counters. Rules: everything that reached the
simulator is counted, faulted and throttled calls included; no counter decides anything.
"""

from collections import Counter
from typing import Any


class Stats:
    """`posts` and `made` count item-creating POSTs, tried and successful, per value of the key field."""

    def __init__(self, key_field: str) -> None:
        self.key_field = key_field
        self.reset()

    def reset(self) -> None:
        """Begins every counter anew."""
        self.answers: Counter[tuple[str, int]] = Counter()
        self.http: Counter[tuple[str, int]] = Counter()
        self.batches = 0
        self.tokens: Counter[int] = Counter()
        self.creates: Counter[str] = Counter()
        self.updates: Counter[str] = Counter()
        self.deletes: Counter[str] = Counter()
        self.delta_pages = 0
        self.faults = 0
        self.posts: dict[str, int] = {}
        self.made: dict[str, int] = {}
        self.notifications: Counter[str] = Counter()

    def count_post(self, body: Any) -> str | None:
        """Notes a try to create an item; the key value it carried, if any."""
        fields = body.get("fields") if isinstance(body, dict) else None
        key = fields.get(self.key_field) if isinstance(fields, dict) else None
        if not isinstance(key, str):
            return None
        self.posts[key] = self.posts.get(key, 0) + 1
        return key

    def count_made(self, key: str) -> None:
        """Notes that a POST with this key created an item."""
        self.made[key] = self.made.get(key, 0) + 1

    def posts_of(self, key: str) -> dict[str, int]:
        """How many POSTs carried this key, and how many of them created an item."""
        return {"attempts": self.posts.get(key, 0), "created": self.made.get(key, 0)}

    def report(self) -> dict[str, Any]:
        """All counters but those of the single keys."""
        return {
            "requests": _nested(self.answers),
            "http_requests": _nested(self.http),
            "throttled": sum(n for (_, status), n in self.answers.items() if status == 429),
            "batches": self.batches,
            "tokens": {str(status): n for status, n in self.tokens.items()},
            "creates": _totals(self.creates),
            "updates": _totals(self.updates),
            "deletes": _totals(self.deletes),
            "delta_pages": self.delta_pages,
            "faults": self.faults,
            "notifications": dict(self.notifications),
            "key_field": self.key_field,
        }


def _nested(counter: Counter[tuple[str, int]]) -> dict[str, dict[str, int]]:
    out: dict[str, dict[str, int]] = {}
    for (method, status), count in sorted(counter.items()):
        if not count:
            continue
        out.setdefault(method, {})[str(status)] = count
    return out


def _totals(counter: Counter[str]) -> dict[str, Any]:
    return {"total": sum(counter.values()), "by_list": dict(counter)}
