"""Subscriptions to a list's changes (webhooks): what is subscribed, and which lists changed since the last look.

In: subscriptions made by `webhooks`, marks by `world`. Out: subscriptions due for a notification.
Called by `world`, `webhooks` and `notify`. Rule: a mark is one dictionary write, so that writes stay cheap.
"""

from dataclasses import dataclass

from graphsim.listing import SimList


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
    def __init__(self) -> None:
        self.by_id: dict[str, Subscription] = {}
        self.marked: set[str] = set()

    def mark(self, lst: SimList) -> None:
        self.marked.add(lst.id)

    def take_marked(self, now: float) -> list[Subscription]:
        """The living subscriptions of the lists changed since the last call."""
        marked, self.marked = self.marked, set()
        return [s for s in self.by_id.values() if s.list_id in marked and s.expires > now]
