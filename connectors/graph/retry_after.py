"""How long Graph asks its clients to wait, as seconds that a process can wait for.

In: the headers of an answer, names in lower case. Out: seconds, or None where nothing usable is said. Rules: a header
is the word of a stranger (a proxy may have written it): whatever it holds, a wait is finite and at most an hour; a date
is compared with the answer's own ``Date``, never with this machine's clock.
"""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

MOST_S: Final = 3600.0
"""The longest wait that is obeyed: after it Graph is asked again, which costs one request."""

_SECONDS: Final = re.compile(r"\s*[0-9]+(\.[0-9]*)?\s*")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The later of Retry-After and RateLimit-Reset, at most `MOST_S`; None when neither says anything usable."""
    after_s = _to_seconds(headers.get("retry-after"))
    if after_s is None:
        after_s = _until_date_s(headers.get("retry-after"), headers.get("date"))
    given = [seconds for seconds in (after_s, _to_seconds(headers.get("ratelimit-reset"))) if seconds is not None]
    return bounded(max(given)) if given else None


def remaining_ru(headers: Mapping[str, str]) -> float | None:
    """The value of RateLimit-Remaining; None without a usable one."""
    return _to_seconds(headers.get("ratelimit-remaining"))


def bounded(seconds: float) -> float:
    """``seconds`` as a wait that ends: from 0 to `MOST_S`; 0 for what is no number."""
    return 0.0 if math.isnan(seconds) else min(max(0.0, seconds), MOST_S)


def _to_seconds(text: str | None) -> float | None:
    """A number as RFC 9110 has it, with a fraction allowed: neither signs nor exponents nor ``inf``."""
    return float(text) if text is not None and _SECONDS.fullmatch(text) else None


def _until_date_s(until: str | None, now: str | None) -> float | None:
    if until is None or now is None:
        return None
    try:
        return (parsedate_to_datetime(until) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None  # no date, or one with a zone and one without
