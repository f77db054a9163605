"""The app's quota in one tenant, shared by all threads of this process.

In: what `due` wants to claim and what the writer spends. Out: resource units. Rule (docs/facts.md section 4): refused
requests count against the quota, so nothing is granted while the gate is closed (`gate`).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from connectors.graph.gate import Gate
from connectors.graph.settings import GraphSettings
from rowtide import polling
from rowtide.pacing import WRITE_RU, Bucket, tier_of

PREPAID_RU: Final = WRITE_RU
"""Units that `due` takes for a row before it claims it. The writer charges further units and gives back unused ones."""

_SPARE_PART: Final = 10

_POLLS_AT_ONCE: Final = 8.0
"""Units that polls may always take at once."""
_POLLS_S: Final = 20.0
"""In a larger tenant they may take at once what comes in so many seconds."""

_WINDOW_PART: Final = 0.95
"""What one window may send of its quota: Graph counts what arrives, and a request may arrive in the next window."""


class Budget:
    """Resource units of one app in one tenant; every method may be called from any thread."""

    def __init__(self, settings: GraphSettings, clock: Callable[[], float] = time.monotonic, seed: int = 0) -> None:
        self._clock = clock
        self.gate = Gate(clock, seed)
        self._lock = threading.Lock()
        self._off = settings.quota_off
        tier, share, now = tier_of(settings.licences), settings.quota_share, clock()
        scale = settings.window_s / 60.0
        self._spare_at = 0.0
        self._window_s, self._sent, self._in_window = settings.window_s, deque[tuple[float, int]](), 0
        self._minute = Bucket.of(tier.ru_per_minute * scale, settings.window_s, share, now)
        self._minute.cap(0.0)  # whoever was killed a moment ago may have spent a burst in this window
        self._day = Bucket.of(tier.ru_per_day * scale, 1440 * settings.window_s, share, now)
        polls = polling.units_a_minute(settings.licences, share) / 60.0
        self._polls = Bucket(polls, max(_POLLS_AT_ONCE, _POLLS_S * polls), _POLLS_AT_ONCE, now)
        self.unrecorded = 0.0  # units of the day that the state database does not know of yet

    def take(self, wanted: int, least: int = PREPAID_RU) -> int:
        """Takes as many units as there are, up to ``wanted``; 0 when there are not even ``least``. Never waits."""
        with self._lock:
            now = self._clock()
            return 0 if self._wait_s(least, now) > 0 else self._take(wanted, now)

    def take_spare(self, units: int) -> float:
        """Takes ``units`` for work that may wait; 0, or the seconds after which to ask again.

        It gets what rows leave: while they use the quota up, a tenth of it, so that such work ends.
        """
        with self._lock:
            now = self._clock()
            wait_s = self._wait_s(units, now)
            if wait_s <= 0 and not self._off:
                spare_s = self._spare_at - now if self._minute.tokens < self._minute.burst / 2 else 0.0
                wait_s = max(spare_s, self._room_s(units, now))
            if wait_s > 0:
                return wait_s
            self._spare_at = now + _SPARE_PART * units / self._minute.rate
            self._take(units, now)
            if not self._off:
                self._note_sent(units, now)
            return 0.0

    def take_poll(self, units: int) -> float:
        """Takes ``units`` for a poll, a look at an item or a confirmation; 0, or the seconds after which to ask again.

        They come before rows, which would otherwise hold people's edits back for as long as rows wait, and have their
        own small part of the quota (`rowtide.polling`), which they never exceed.
        """
        with self._lock:
            now = self._clock()
            gate_s = self.gate.left_s()
            if self._off or gate_s > 0:
                return gate_s
            wait_s = max(self._polls.wait_s(units, now), self._room_s(units, now))
            if wait_s > 0:
                return wait_s
            for bucket in (self._polls, self._minute, self._day):
                bucket.charge(units, now)
            self.unrecorded += units
            self._note_sent(units, now)
            return 0.0

    def send_wait_s(self, units: int) -> float:
        """0, and ``units`` count as sent now; or the seconds until one window has room for them.

        Units are taken when rows are claimed. Rows that waited behind slow answers, and looks that nobody planned, may
        be sent long after or beyond that, all at once; Graph counts what is sent.
        """
        with self._lock:
            if self._off:
                return 0.0
            now = self._clock()
            wait_s = self._room_s(units, now)
            if wait_s <= 0:
                self._note_sent(units, now)
            return wait_s

    def _room_s(self, units: int, now: float) -> float:
        self._forget_sent(now)
        most = _WINDOW_PART * (self._minute.rate * self._window_s + self._minute.burst)
        is_full = self._sent and self._in_window + units > most
        return self._sent[0][0] + self._window_s - now if is_full else 0.0

    def _forget_sent(self, now: float) -> None:
        while self._sent and self._sent[0][0] <= now - self._window_s:
            self._in_window -= self._sent.popleft()[1]

    def _note_sent(self, units: int, now: float) -> None:
        self._forget_sent(now)
        self._sent.append((now, units))
        self._in_window += units

    def charge(self, units: float) -> None:
        """Takes units that are spent already, even if the budget did not have them."""
        if units and not self._off:
            with self._lock:
                now = self._clock()
                self._minute.charge(units, now)
                self._day.charge(units, now)
                self.unrecorded += units

    def refund(self, units: float) -> None:
        """Gives back units that were taken and not spent."""
        if units and not self._off:
            with self._lock:
                self._minute.refund(units)
                self._day.refund(units)
                self.unrecorded -= units

    def set_day(self, spent: Iterable[tuple[float, float]], recorded: float = 0.0) -> None:
        """Take the day over as all processes of the app have spent it: seconds and units of each hour, oldest first.

        ``recorded`` of the units that were unrecorded are among them by now.
        """
        with self._lock:
            self.unrecorded -= recorded
            self._day.tokens, self._day.at = self._day.replay(spent) - self.unrecorded, self._clock()

    def close_gate(self, seconds: float | None) -> float:
        """Closes the gate for ``seconds``, or longer with each refusal in a row where Graph names none. The seconds."""
        seconds = self.gate.close(seconds)
        self._note_refused()
        return seconds

    def share_gate(self, seconds: float, refusals: int) -> None:
        """Keeps the gate as another process has put it on record after so many refusals."""
        if self.gate.share(seconds, refusals):
            self._note_refused()

    def _note_refused(self) -> None:
        """Another client of the app, or another process, spent units that we counted on."""
        with self._lock:
            self._minute.fill(self._clock())
            self._minute.cap(0.0)

    def note_remaining(self, remaining: float) -> None:
        """Lowers the units to what RateLimit-Remaining said."""
        if not self._off:
            with self._lock:
                self._minute.cap(remaining)

    def available(self) -> tuple[float, float]:
        """Units that may be spent at once by the minute's quota and by the day's; below 0: so many are owed."""
        with self._lock:
            now = self._clock()
            self._minute.fill(now)
            self._day.fill(now)
            return self._minute.tokens, self._day.tokens

    def quota_wait_s(self) -> float:
        """Seconds until the next row may be claimed; 0 when one may be now."""
        with self._lock:
            return self._wait_s(PREPAID_RU, self._clock())

    def _wait_s(self, least: int, now: float) -> float:
        gate_s = self.gate.left_s()
        if self._off:
            return gate_s
        return max(gate_s, self._minute.wait_s(least, now), self._day.wait_s(least, now))

    def _take(self, wanted: int, now: float) -> int:
        if self._off:
            return wanted
        taken = self._minute.take(min(wanted, max(0.0, self._day.tokens)), now)
        self._day.charge(taken, now)
        self.unrecorded += taken
        return int(taken)
