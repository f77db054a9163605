"""Every switch of the simulator: points that the sources leave open, and behaviour that a test can change.

In: `--switch name=value` of the command line or `POST /_sim/switches`. Out: `Switches`, read by all modules.
Rule: each has a default and a sentence saying what it does; an [open] one stands for a point only a live tenant can
settle (docs/facts.md section 8). `docs/graphsim.md` is held against this list by a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo


def _one(default: str, choices: str, doc: str) -> Any:
    return field(default=default, metadata={"choices": choices.split("|"), "doc": doc})


# Thirty years of seconds, or more items than a list can have.
_MOST = 1_000_000_000.0


def _num(default: float, doc: str, least: float = 0.0, most: float = _MOST) -> Any:
    return field(default=default, metadata={"doc": doc, "least": least, "most": most})


def _flag(default: bool, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(slots=True)
class Switches:
    """The values in force; names on the command line have dashes for underscores."""

    unique_error: str = _one("400", "400|409", "[open] a unique violation: 400 invalidRequest or 409 nameAlreadyExists")
    unique_wording: str = _one(
        "recorded", "recorded|named", "the words of a unique violation: as recorded, or naming field and value"
    )
    unknown_field: str = _one("400", "400|ignore", "[open] an unknown field: 400 invalidRequest or silently dropped")
    unknown_select: str = _one(
        "reject", "reject|ignore", "[open] a field in $select that the list lacks: 400 or left out in silence"
    )
    etag_code: str = _one(
        "resourceModified", "resourceModified|preconditionFailed|notAllowed", "[open] the code of a failed If-Match"
    )
    etag_status: str = _one("412", "412|409", "the status of a failed If-Match (412 is documented)")
    page_size: int = _num(200, "[open] items a page without $top", least=1)
    page_cap: int = _num(5000, "[open] most items a page whatever $top says", least=1)
    batch_order: str = _one("shuffled", "shuffled|given", "[open] the order members are carried out and answered in")
    batch_status: str = _one("200", "200|424", "[open] the outer status of a batch with throttled members")
    filter_lag_s: float = _num(0.0, "[open] seconds until a written item is found by $filter")
    list_filter: str = _one(
        "displayName", "displayName|any", "[open] $filter on lists takes displayName only, or any property"
    )
    orderby_paging: str = _one(
        "whole", "whole|page", "[open] $orderby orders the whole result, or each page of it by itself"
    )
    etag_form: str = _one(
        "lower", "lower|upper|braces|weak", '[open] the form of eTags: "guid,1", "GUID,1", "{GUID},1", W/"guid,1"'
    )
    app_identity: str = _one(
        "shown", "shown|absent", "[open] createdBy and lastModifiedBy name the application, or its display name only"
    )
    patch_etag: bool = _flag(True, "[open] the answer of PATCH fields carries @odata.etag")
    lookup_int: str = _one("reject", "reject|accept", "[open] a single lookup or person id written as a JSON number")
    lookup_missing: str = _one("drop", "drop|reject", "[open] a lookup or person id that does not exist")
    hyperlink_write: str = _one("reject", "reject|accept", "[open] writing a hyperlink column")
    delta_order: str = _one("shuffled", "shuffled|change", "[open] the order of items within a delta page")
    delta_lag_s: float = _num(0.0, "[open] seconds until a change is seen by delta")
    delta_token_life_s: float = _num(2592000.0, "[open] life of a delta token; older ones answer 410")
    delta_bad_token: str = _one("400", "400|410", "[open] the status for a token this list never gave")
    delta_resync: str = _one("apply", "apply|upload", "which inner code a 410 carries")
    delta_resync_spelling: str = _one("long", "long|short", "resyncChangesApply... or resyncApply...")
    delta_repeat: float = _num(0.0, "probability that an item is given twice in a page, an older state first", most=1.0)
    delta_empty: float = _num(0.0, "probability of an empty page with a nextLink", most=1.0)
    deleted_id: str = _one("string", "string|int", "[open] the JSON type of ids in deleted entries")
    secret_delay_s: float = _num(5.0, "[open] seconds until a new credential is accepted, and a removed one is not")
    secret_flap: bool = _flag(False, "while a credential spreads, each try is accepted or refused at random")
    token_life_s: float = _num(3600.0, "life of an access token")
    retry_after_missing: float = _num(0.0, "probability that a 429 lacks Retry-After", most=1.0)
    charge_throttled: bool = _flag(True, "throttled calls count towards the quota, as Microsoft says")
    tenant_window: bool = _flag(True, "the tenant's five-minute window is kept")
    foreign_load: float = _num(
        0.0, "share of the tenant's five-minute window that other apps use up, evenly over the window", 0.0, 1.0
    )
    quota_multiplier: float = _num(
        1.0,
        "SharePoint Service Prioritization: apps have this many minute quotas of their own, outside the tenant's",
        1,
        10,
    )
    day_window: bool = _flag(True, "the app's day window is kept")
    block_after: int = _num(0, "throttled calls in a minute window after which the app is blocked with 503 (0: never)")
    version_limit: int = _num(50, "versions kept of an item")
    threshold: int = _num(5000, "the list view threshold")
    index_limit: int = _num(20, "[open] indexed columns of a list")
    lookup_limit: int = _num(12, "lookup and person fields one query may select")
    line_breaks: str = _one(
        "reject", "reject|keep", "[open] a line break in single-line text: 400, or stored as it came"
    )
    trim_text: bool = _flag(False, "[open] single-line text is stored without surrounding blanks")
    empty_text: str = _one("absent", "absent|kept", '[open] an empty text: as if cleared, or kept as ""')
    choice_check: bool = _flag(True, "[open] a choice must be one of the column's choices")
    rich_text: str = _one("wrap", "wrap|keep", "[open] rich text is stored in a <div>, or as it came")
    site_time_zone: str = _one("UTC", "", "the zone whose midnight a date-only value is")
    post_date_echo: str = _one("right", "right|wrong", "POST's own answer shows date-only values a day early")
    schema_ms: float = _num(20.0, "how long a schema change takes; another one meanwhile: Save Conflict")
    error_spelling: str = _one("innerError", "innerError|innererror", "SharePoint spells it without the capital")
    notify_delay_ms: float = _num(1000.0, "[open] from a change to its notification")
    notify_loss: float = _num(0.0, "probability that a notification is lost", most=1.0)
    notify_duplicate: float = _num(0.0, "probability that a notification is sent twice", most=1.0)
    latency_jitter: float = _num(0.0, "latency varies by this share up and down", most=1.0)


def apply_switches(switches: Switches, given: Mapping[str, Any]) -> None:
    """Sets what is given; ValueError with one sentence for a name or value that does not exist."""
    known = {f.name: f for f in fields(Switches)}
    for name, value in given.items():
        spec = known.get(name.replace("-", "_"))
        if spec is None:
            raise ValueError(f"there is no switch '{name}'")
        setattr(switches, spec.name, _to_value(name, spec, value))


def _to_value(name: str, spec: Any, value: Any) -> Any:
    choices = spec.metadata.get("choices")
    if spec.name == "site_time_zone":
        return _to_zone(str(value))
    if choices:
        if str(value) not in choices:
            raise ValueError(f"switch '{name}' takes one of {', '.join(choices)}, not '{value}'")
        return str(value)
    if isinstance(spec.default, bool):
        if str(value).lower() not in {"on", "off", "true", "false", "1", "0"}:
            raise ValueError(f"switch '{name}' takes on or off, not '{value}'")
        return str(value).lower() in {"on", "true", "1"}
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"switch '{name}' takes a number, not '{value}'") from None
    least, most = spec.metadata["least"], spec.metadata["most"]
    if not least <= number <= most:
        raise ValueError(f"switch '{name}' takes a number from {least:g} to {most:g}, not '{value}'")
    if not isinstance(spec.default, int):
        return number
    if not number.is_integer():
        raise ValueError(f"switch '{name}' takes a whole number, not '{value}'")
    return int(number)


def to_zone(name: str) -> tzinfo:
    """UTC needs no time zone data, which small systems lack."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _to_zone(name: str) -> str:
    try:
        to_zone(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"there is no time zone '{name}' on this machine") from None
    return name
