"""Quota in resource units: who has spent how much, and when nothing is left (spdev throttling, 2025-10).

In: app, cost, time. Out: None, or a `Denial` with the seconds to wait. Fixed windows: a minute and a day for the app,
five minutes for the tenant, all scaled by `--window-s` at equal rate. Rule: a refused call costs as much as one that is
carried out; batches give no discount.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from graphsim.switches import Switches

# licences -> RU a minute and a day for an app, RU in five minutes for the tenant
TIERS: dict[str, tuple[int, int, int] | None] = {
    "1000": (1250, 1_200_000, 18_750),
    "5000": (2500, 2_400_000, 37_500),
    "15000": (3750, 3_600_000, 56_250),
    "50000": (5000, 4_800_000, 75_000),
    "max": (6250, 6_000_000, 93_750),
    "off": None,
}


@dataclass(slots=True)
class Window:
    """A fixed window: counts what was charged since its start."""

    length_s: float
    limit: float
    index: int = -1
    used: int = 0

    def roll(self, now: float) -> None:
        """Begins a new window when the time of the last one is over."""
        index = int(now // self.length_s)
        if index != self.index:
            self.index = index
            self.used = 0

    def left_s(self, now: float) -> float:
        """Seconds until the window ends."""
        return (self.index + 1) * self.length_s - now


@dataclass(slots=True)
class Account:
    """What one app spent; `history` has the last minute windows as [start, charged, accepted, throttled calls]."""

    minute: Window
    day: Window
    charged: int = 0
    accepted: int = 0
    throttled: int = 0
    peak_charged: int = 0
    peak_accepted: int = 0
    history: deque[list[float]] = field(default_factory=lambda: deque(maxlen=1000))


@dataclass(frozen=True, slots=True)
class Denial:
    """A call refused; `by_minute` tells whether the app's minute window refused it."""

    retry_after_s: int
    by_minute: bool


class Throttle:
    """All windows of the tenant."""

    def __init__(self, tier: str, window_s: float, switches: Switches) -> None:
        self.window_s = window_s
        self._switches = switches
        self.accounts: dict[str, Account] = {}
        self.set_tier(tier)

    def set_tier(self, tier: str) -> None:
        """Another tier from now on, with windows that begin empty; what was counted stays counted."""
        limits = TIERS[tier]
        scale = self.window_s / 60.0
        self.tier = tier
        self.limits = None if limits is None else (limits[0] * scale, limits[1] * scale, limits[2] * scale)
        self.tenant_window = Window(5 * self.window_s, math.inf if self.limits is None else self.limits[2])
        for account in self.accounts.values():
            account.minute, account.day = self._windows()

    def _windows(self) -> tuple[Window, Window]:
        minute, day = (math.inf, math.inf) if self.limits is None else self.limits[:2]
        return Window(self.window_s, minute), Window(1440 * self.window_s, day)

    def _minute_limit(self) -> float:
        """The multiplier counts for the minute; whether it does for the day is not documented, so the day stays."""
        return math.inf if self.limits is None else self.limits[0] * self._switches.quota_multiplier

    def account(self, client_id: str) -> Account:
        """The account of an app, opened by its first call."""
        found = self.accounts.get(client_id)
        if found is None:
            found = Account(*self._windows())
            self.accounts[client_id] = found
        return found

    def charge(self, client_id: str, cost: int, now: float) -> Denial | None:
        """Charges a call to the app and the tenant; the `Denial` when one of their windows is used up."""
        account = self.account(client_id)
        entry = self._roll(account, now)
        over = self._exceeded(account, cost, now)
        if over and not self._switches.charge_throttled:
            cost = 0
        for window in (account.minute, account.day):
            window.used += cost
        if not self._is_prioritized():
            self.tenant_window.used += cost
        account.charged += cost
        account.peak_charged = max(account.peak_charged, account.minute.used)
        entry[1] += cost
        if not over:
            account.accepted += cost
            entry[2] += cost
            account.peak_accepted = max(account.peak_accepted, int(entry[2]))
            return None
        account.throttled += 1
        entry[3] += 1
        wait_s = max(window.left_s(now) for window in over)
        return Denial(max(1, math.ceil(wait_s)), account.minute in over)

    def _is_prioritized(self) -> bool:
        """Prioritized apps spend a quota of their own, outside of the tenant's (Service Prioritization)."""
        return self._switches.quota_multiplier > 1

    def _foreign(self, now: float) -> float:
        """What other apps have spent of the tenant's window by now."""
        share = self._switches.foreign_load
        window = self.tenant_window
        return share * window.limit * (1 - window.left_s(now) / window.length_s) if share else 0.0

    def is_abuse(self, client_id: str) -> bool:
        """True when the app went on calling too often while throttled (`block-after`)."""
        after = self._switches.block_after
        history = self.account(client_id).history
        return bool(after and history and history[-1][3] >= after)

    def _roll(self, account: Account, now: float) -> list[float]:
        before = account.minute.index
        account.minute.roll(now)
        account.minute.limit = self._minute_limit()
        account.day.roll(now)
        self.tenant_window.roll(now)
        if account.minute.index != before or not account.history:
            account.history.append([account.minute.index * self.window_s, 0, 0, 0])
        return account.history[-1]

    def _exceeded(self, account: Account, cost: int, now: float) -> list[Window]:
        kept = [account.minute]
        if self._switches.day_window:
            kept.append(account.day)
        over = [window for window in kept if window.used + cost > window.limit]
        if self._switches.tenant_window and not self._is_prioritized() and self.limits is not None:
            tenant = self.tenant_window
            if tenant.used + self._foreign(now) + cost > tenant.limit:
                over.append(tenant)
        return over

    def headers(self, client_id: str, now: float) -> dict[str, str]:
        """RateLimit headers: only for the app's minute window, only from 80 % of it (spdev throttling)."""
        account = self.accounts.get(client_id)
        if account is None or account.minute.used < 0.8 * account.minute.limit:
            return {}
        minute = account.minute
        return {
            "RateLimit-Limit": str(int(minute.limit)),
            "RateLimit-Remaining": str(max(0, int(minute.limit - minute.used))),
            "RateLimit-Reset": str(max(1, math.ceil(minute.left_s(now)))),
        }

    def report(self) -> dict[str, Any]:
        """All windows and accounts as the control side shows them."""
        limit = None if self.limits is None else self.limits[0]
        return {
            "tier": self.tier,
            "window_s": self.window_s,
            "limit_per_window": limit,
            "limit_per_day": None if self.limits is None else self.limits[1],
            "limit_tenant": None if self.limits is None else self.limits[2],
            "used": sum(a.charged for a in self.accounts.values()),
            "accepted": sum(a.accepted for a in self.accounts.values()),
            "max_in_window": max((a.peak_charged for a in self.accounts.values()), default=0),
            "max_accepted_in_window": max((a.peak_accepted for a in self.accounts.values()), default=0),
            "clients": {name: _to_report(account) for name, account in self.accounts.items()},
        }


def _to_report(account: Account) -> dict[str, Any]:
    return {
        "used": account.charged,
        "accepted": account.accepted,
        "throttled": account.throttled,
        "max_in_window": account.peak_charged,
        "max_accepted_in_window": account.peak_accepted,
        "day_used": account.day.used,
        "windows": [
            {"start": w[0], "used": int(w[1]), "accepted": int(w[2]), "throttled": int(w[3])} for w in account.history
        ],
    }
