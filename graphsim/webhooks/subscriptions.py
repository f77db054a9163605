"""Subscriptions to a list's changes (webhooks): what is subscribed, and which lists changed since the last look.

In: subscriptions made by `webhooks`, marks by `world`. Out: lists that changed, and who wants to know. Rule: a mark is
one dictionary write, so that writes stay cheap.
"""

from dataclasses import dataclass

from graphsim.lists.list_store import SimList


@dataclass(slots=True)
class Subscription:
    """`resource` as the client wrote it; `list_id` is what it means."""

    id: str
    list_id: str
    resource: str
    notification_url: str
    lifecycle_url: str | None
    client_state: str | None
    expires: float
    client_id: str


class Subscriptions:
    """`marked`: list id to the time of its first change not yet told."""

    def __init__(self) -> None:
        self.by_id: dict[str, Subscription] = {}
        self.marked: dict[str, float] = {}

    def add(self, subscription: Subscription) -> None:
        self.by_id[subscription.id] = subscription

    def remove(self, subscription: Subscription) -> None:
        self.by_id.pop(subscription.id, None)

    def mark(self, lst: SimList, now: float) -> None:
        if lst.id not in self.marked:
            self.marked[lst.id] = now

    def take_due(self, now: float, delay_s: float) -> list[Subscription]:
        """The living subscriptions of the lists whose first change is `delay_s` old; several changes are told once."""
        due = {list_id for list_id, since in self.marked.items() if since + delay_s <= now}
        for list_id in due:
            del self.marked[list_id]
        return [s for s in self.by_id.values() if s.list_id in due and s.expires > now]
