"""Subscriptions to the changes of lists (webhooks), and the lists changed since the receivers were last told.

In: subscriptions from `subscriptions_api`, marks from `tenant`. Out: the subscriptions that are due. Rule: a mark is
one dictionary write, so that writes of items stay cheap.
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
        """Makes a subscription known, or replaces the one of its id."""
        self.by_id[subscription.id] = subscription

    def remove(self, subscription: Subscription) -> None:
        """Forgets a subscription; its list may still be marked."""
        self.by_id.pop(subscription.id, None)

    def mark(self, lst: SimList, now: float) -> None:
        """Notes that a list has changed, unless it is marked already."""
        if lst.id not in self.marked:
            self.marked[lst.id] = now

    def take_due(self, now: float, delay_s: float) -> list[Subscription]:
        """The living subscriptions of the lists whose first change is `delay_s` old; several changes are told once."""
        due = {list_id for list_id, since in self.marked.items() if since + delay_s <= now}
        for list_id in due:
            del self.marked[list_id]
        return [s for s in self.by_id.values() if s.list_id in due and s.expires > now]
