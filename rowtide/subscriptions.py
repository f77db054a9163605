"""Which notifications Graph is asked for, and what proves that one comes from it.

In: the lists to be told of, the subscriptions that there are. Out: what to make, renew and end; the client state of a
list. Rules (docs/design.md section 22): nothing is stored: a subscription is known by the address that it notifies,
which names the list; its client state is an HMAC of the list's id; a notification is a hint and never the truth.
"""

import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

LIFE: Final = timedelta(days=28)
"""How long a subscription is asked for; Graph grants a list's 42,300 minutes at most."""

RENEW: Final = timedelta(days=7)
"""It is renewed when less than this is left, so that a week without a process that runs ends none."""


@dataclass(frozen=True, slots=True)
class ListSubscription:
    """A subscription of our app, as Graph lists it."""

    id: str
    url: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class SubscriptionSteps:
    """What there is to do: lists to subscribe to, subscriptions to renew, subscriptions that nobody needs."""

    make: Sequence[str]
    renew: Sequence[ListSubscription]
    end: Sequence[ListSubscription]


def url_of(base_url: str, list_id: str) -> str:
    """The address at which Graph notifies of a list."""
    return f"{base_url.rstrip('/')}/{list_id}"


def client_state(key: bytes, list_id: str) -> str:
    """What Graph has to say in each notification of the list: 64 characters, of 128 that it takes."""
    return hmac.new(key, list_id.encode(), hashlib.sha256).hexdigest()


def is_client_state(key: bytes, list_id: str, said: object) -> bool:
    """Whether a notification says what was agreed, in constant time."""
    wanted = client_state(key, list_id).encode()
    return isinstance(said, str) and hmac.compare_digest(wanted, said.encode("utf-8", "replace"))


def to_steps(
    base_url: str, lists: Collection[str], found: Sequence[ListSubscription], now: datetime, renew_all: bool = False
) -> SubscriptionSteps:
    """What is to be done so that each of these lists has one subscription that lives on.

    Subscriptions that notify another address are another's. ``renew_all``: Graph has asked for it.
    """
    by_url = {url_of(base_url, list_id): list_id for list_id in lists}
    ours = [one for one in found if one.url.startswith(f"{base_url.rstrip('/')}/")]
    kept: dict[str, ListSubscription] = {}
    for one in sorted(ours, key=lambda one: one.expires):
        if one.url in by_url:
            kept[one.url] = one
    keeps = set(kept.values())
    return SubscriptionSteps(
        make=sorted(list_id for url, list_id in by_url.items() if url not in kept),
        renew=[one for one in kept.values() if renew_all or one.expires - now < RENEW],
        end=[one for one in ours if one not in keeps],
    )
