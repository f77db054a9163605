"""What a person may ask of `rowtide demo`.

In: the command line, read by control.cli. Out: `DemoOptions`. Rule: with the defaults the demo takes about a minute on
a laptop.
"""

from dataclasses import dataclass
from pathlib import Path

TIERS = {"1000": 1_000, "5000": 5_000, "15000": 15_000, "50000": 50_000, "max": 60_000}
"""Tiers of Graph's quota by name, and a number of licences that is in it."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``seconds`` of live workload after the first load; ``rate`` business transactions a second.

    ``tier`` is the tenant's quota in the live phase (a name of `TIERS`); ``directory`` is where the demo makes its own
    private directory, by default the system's for temporary files.
    """

    seconds: float = 30.0
    keep: bool = False
    json: bool = False
    seed: int = 1
    rate: float = 10.0
    tier: str = "max"
    directory: Path | None = None
