"""One entry to decide about: what the list showed, and what is known of its row."""

from dataclasses import replace
from typing import Any

from rowtide.deciding.apply import Row, Verdict, decide
from rowtide.deciding.conflicts import Policies, TwoWayPolicy
from rowtide.deciding.inbox import Editor, InboxEntry
from rowtide.deciding.taken import Applied, Apply, PullRules, Taken
from tests.unit.rowtide.deciding.rows import ITEM, NOW, A, B, Mapped, g, held

BASE = {"a": "1", "b": "x"}
RULES = PullRules("orders", Mapped(), 7, columns={A: {"a": "ca", "b": "cb"}, B: {"a": "da", "b": "db"}})


def ruled(policy: TwoWayPolicy = "postgres_wins", **changes: Any) -> PullRules:
    """The rules with this policy for the sync, and ``changes``."""
    return replace(RULES, policies=Policies(policy), **changes)


def entry(version: int = 4, **changes: Any) -> InboxEntry:
    """The row's own item with what was agreed, one version above the ledger's (or ``changes``)."""
    made = InboxEntry(
        A, ITEM, version, g(version), False, dict(BASE), "orders:1", False, Editor("Ada"), NOW, seen_at=NOW
    )
    return replace(made, **changes)


def edit(version: int = 4, **fields: Any) -> InboxEntry:
    """A person wrote these fields."""
    return entry(version, fields={**BASE, **fields})


def deletion(**changes: Any) -> InboxEntry:
    """The row's own item was told as deleted."""
    return entry(0, etag=None, deleted=True, fields={}, item_key=None, **changes)


def taken(of: InboxEntry, **changes: Any) -> Taken:
    """The entry with the pair of row 1, which has item 11 in list A with a=1."""
    return replace(Taken(of, "1", held()), **changes)


def judged(plan: object, row: Row, rules: PullRules, applied: Applied | None = None) -> Verdict:
    """What is done for a plan that says what is to be applied."""
    assert isinstance(plan, Apply), plan
    return decide(plan, applied if applied is not None else plan.taken.applied, row, rules)
