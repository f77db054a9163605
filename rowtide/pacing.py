"""What Graph's quota allows, and a bucket that spends it evenly.

In: a tenant's licences, a share of the app's limit, seconds of some clock. Out: resource units that may be spent now.
Rule: whatever the server's window is (fixed or sliding), what a bucket lets through in one window stays within the
limit: its rate is the share, and its burst is only what the share leaves free. Figures: docs/facts.md section 4.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from rowtide.deciding.commands import Command, LookAtItem, LookForKey
from rowtide.deciding.item_versions import ReadVersions

WRITE_RU: Final = 2
ITEM_RU: Final = 1
QUERY_RU: Final = 2
PAGE_ITEMS: Final = 200
"""Items that Graph gives with one query of a list."""


class Tier(NamedTuple):
    """What one app may spend in a tenant of up to ``licences``."""

    licences: int
    ru_per_minute: int
    ru_per_day: int


TIERS: Final = (
    Tier(1_000, 1_250, 1_200_000),
    Tier(5_000, 2_500, 2_400_000),
    Tier(15_000, 3_750, 3_600_000),
    Tier(50_000, 5_000, 4_800_000),
)
_LARGEST: Final = Tier(0, 6_250, 6_000_000)


def tier_of(licences: int) -> Tier:
    """The limits of a tenant with so many Microsoft 365 licences."""
    return next((tier for tier in TIERS if licences <= tier.licences), _LARGEST)


def enumeration_ru(items: int) -> int:
    """What reading so many items of a list costs, page by page; an empty list is one page."""
    return max(1, -(-items // PAGE_ITEMS)) * QUERY_RU


def cost_of(command: Command | ReadVersions) -> int:
    """Resource units of one request; a move is its POST, the DELETE is charged when it comes."""
    match command:
        case LookAtItem():
            return ITEM_RU
        case LookForKey() | ReadVersions():
            return QUERY_RU
        case _:
            return WRITE_RU


@dataclass(slots=True)
class Bucket:
    """A token bucket of resource units; every method takes the clock's ``now`` in seconds.

    ``tokens`` may fall below zero by `charge` (a look nobody planned for): later takers wait for it.
    """

    rate: float
    burst: float
    tokens: float
    at: float

    @classmethod
    def of(cls, limit: float, window_s: float, share: float, now: float) -> "Bucket":
        """A bucket that spends ``share`` of ``limit`` in a window, and at once at most what the share leaves free."""
        burst = max(min((1.0 - share) * limit, 0.1 * limit), min(40.0, 0.02 * limit), float(WRITE_RU))
        return cls(share * limit / window_s, burst, burst, now)

    def fill(self, now: float) -> None:
        """Adds the tokens that have grown until ``now``."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = max(self.at, now)

    def wait_s(self, least: float, now: float) -> float:
        """Seconds until ``least`` units are there; 0 when they are."""
        self.fill(now)
        return max(0.0, (min(least, self.burst) - self.tokens) / self.rate)

    def take(self, wanted: float, now: float) -> float:
        """Takes as many of the ``wanted`` units as there are (whole units, 0 or more) and returns the number."""
        self.fill(now)
        taken = float(int(max(0.0, min(wanted, self.tokens))))
        self.tokens -= taken
        return taken

    def charge(self, units: float, now: float) -> None:
        """Takes units that were spent already."""
        self.fill(now)
        self.tokens -= units

    def refund(self, units: float) -> None:
        """Gives back what was taken and not spent."""
        self.tokens = min(self.burst, self.tokens + units)

    def replay(self, spent: Iterable[tuple[float, float]]) -> float:
        """The tokens of a full bucket after periods of so many seconds, in each of which so many units were spent."""
        tokens = self.burst
        for seconds, units in spent:
            tokens = min(self.burst, tokens + seconds * self.rate) - units
        return tokens

    def cap(self, remaining: float) -> None:
        """Lowers the tokens to what the server says remains."""
        self.tokens = min(self.tokens, remaining)
