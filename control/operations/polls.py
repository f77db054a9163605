"""What asking lists for changes comes to in each tenant: the interval that the quota leaves.

In: a definition, its compiled syncs. Out: a sentence for each tenant with syncs that go both ways; those among them
that say a wish cannot be kept. Called by `validate` and `plan`. Rule: `rowtide.polling` reckons, as the collector does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rowtide import polling
from rowtide.definition.model import Document
from rowtide.mapping.compiled_sync import CompiledSync
from rowtide.polling import PollBounds


@dataclass(frozen=True, slots=True)
class Polls:
    """``kept``: what the lists of a tenant get. ``unkept``: where this is less than the definition wishes."""

    kept: Sequence[str]
    unkept: Sequence[str]


def reckon(document: Document, syncs: Mapping[str, CompiledSync]) -> Polls:
    """The sentences of every tenant; nothing of one whose quota is off, or that nobody is asked in."""
    kept, unkept = list[str](), list[str]()
    for name, tenant in document.graph.items():
        both = [one for one in syncs.values() if one.graph == name and one.two_ways]
        lists = sum(len(one.titles) for one in both)
        if not lists or tenant.quota == "off":
            continue
        bounds = PollBounds(
            min(one.poll.least.total_seconds() for one in both), max(one.poll.most.total_seconds() for one in both)
        )
        given = (lists, tenant.licences, tenant.quota_share)
        said = polling.sentence(name, lists, bounds, tenant.licences, tenant.quota_share)
        (kept if polling.even_s(*given) <= bounds.most_s else unkept).append(said)
    return Polls(kept, unkept)
