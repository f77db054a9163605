"""Dates as lists keep them: from a text to a moment, and back to the form in which values and answers have it.

In: ISO 8601 with or without a time, a fraction, an offset. Out: a moment in UTC, and `2026-01-01T00:00:00Z` of it.
Rules: a date alone is the site's local midnight (#pnpjs/1890), a time without an offset is UTC, fractions of a second
are dropped. Values of items and literals of a `$filter` are read alike, so that one finds what the other wrote.
"""

import re
from datetime import UTC, date, datetime, time, tzinfo

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FRACTION = re.compile(r"\.(\d{6})\d+")


def to_moment(text: str, zone: tzinfo) -> datetime:
    """The moment in UTC; ValueError for a text that is no date, or one outside of the calendar."""
    if _DATE.fullmatch(text):
        moment = datetime.combine(date.fromisoformat(text), time(), zone)
    else:
        moment = datetime.fromisoformat(_FRACTION.sub(r".\1", text))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError(f"'{text}' is outside of the calendar") from None


def to_kept_date(moment: datetime) -> str:
    """The text of a moment in UTC; years have four digits, so that texts are in order of time."""
    return moment.replace(tzinfo=None).isoformat() + "Z"
