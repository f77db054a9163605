"""The table of `rowtide status`, as lines of text.

In: a `StatusDocument`, the width of the terminal. Out: lines: a row for each sync, and below it what is to be said of
it. Rules: a row fits into 80 columns, and all figures are there with ``--wide``; parked rows are never hidden; what is
not known reads "unknown", never 0.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from control.cli import output
from control.operations.status import SaidDocument, StatusDocument, SyncDocument
from rowtide.error_catalogue import status_reasons

_HEADS: Final = ("sync", "wanted", "activity", "out_of_sync", "parked", "rate", "lag", "eta")
_MORE_HEADS: Final = (
    "waiting",
    "in_flight",
    "changes",
    "delivered",
    "writes",
    "lag_bytes",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "ru",
    "held",
    "pulling",
    "pull_lag",
    "good_24h",
)
_SILENT: Final = (status_reasons.OK.code, status_reasons.IDLE.code)
"""What the row itself says already."""
_LEAST_NAME: Final = 8


def table_lines(found: StatusDocument, width: int | None, wide: bool) -> list[str]:
    """The whole picture; ``width`` None: lines are as long as they are."""
    heads = [*_HEADS, *(_MORE_HEADS if wide else ())]
    rows = [[*_row(sync), *(_more(sync) if wide else ())] for sync in found["syncs"]]
    lines = output.aligned(heads, _fitting(heads, rows, None if wide else width))
    shown = [_head(found), lines[0]]
    for sync, line in zip(found["syncs"], lines[1:], strict=True):
        shown.append(line)
        for text in _sentences(sync):
            shown.extend(_wrapped(text, width))
    return shown


def _head(found: StatusDocument) -> str:
    alive = sum(process["alive"] for process in found["processes"])
    living = "1 process lives" if alive == 1 else f"{alive} processes live"
    return f"definition {found['definition']['version']}, {living}, {found['at']:%Y-%m-%d %H:%M:%S} UTC"


def _row(sync: SyncDocument) -> list[object]:
    return [
        sync["sync"],
        sync["wanted"],
        sync["activity"],
        _out_of_sync(sync),
        sync["parked"],
        f"{sync['rates']['delivered_per_s']:,.1f}/s",
        _lag(sync),
        _duration(sync["eta_s"]),
    ]


def _more(sync: SyncDocument) -> list[object]:
    latency = sync["latency_ms"]
    return [
        sync["waiting"],
        sync["in_flight"],
        sync["changes"],
        sync["delivered"],
        sync["writes"],
        sync["lag_bytes"],
        latency["p50"],
        latency["p95"],
        latency["p99"],
        sync["ru_used"],
        *_of_look(sync),
    ]


def _of_look(sync: SyncDocument) -> list[object]:
    """What the last look says beside the row; a sync of one way has no lag of the other."""
    look, minutes = sync["gauge"], sync["minutes"]
    if look is None:
        return ["unknown"] * 4
    one_way = look["pull_lag_s"] is None and look["pull_unknown_since"] is None
    share = None if minutes is None else minutes["good_share"]
    return [
        look["held"],
        look["pulling"],
        "-" if one_way else _duration(look["pull_lag_s"]),
        "unknown" if share is None else f"{share:.2%}",
    ]


def _lag(sync: SyncDocument) -> str:
    is_least = sync["lag_s"] is not None and sync["out_of_sync"]["unknown_since"] is not None
    return f"{_duration(sync['lag_s'])}{'+' if is_least else ''}"


def _out_of_sync(sync: SyncDocument) -> str:
    rows = sync["out_of_sync"]["rows"]
    if sync["out_of_sync"]["unknown_since"] is None:
        return f"{rows:,}"
    return f"{rows:,}+" if rows else "unknown"


def _sentences(sync: SyncDocument) -> Iterator[str]:
    """What is said below the row of a sync: the reason, what is wrong beside it, since when something is not known."""
    reason, health = sync["reason"], sync["health"]
    if reason["code"] not in _SILENT:
        yield from _said(reason)
    if health["code"] not in _SILENT and health != reason:
        yield from _said(health)
    since = sync["out_of_sync"]["unknown_since"]
    if since is not None and reason["code"] != status_reasons.UNKNOWN.code:
        yield f"  what is out of sync is not known since {since:%Y-%m-%d %H:%M:%S} UTC"


def _said(said: SaidDocument) -> Iterator[str]:
    yield f"  {said['code']}: {said['sentence']}"
    if said["next"]:
        yield f"  next: {said['next']}"


def _wrapped(text: str, width: int | None) -> list[str]:
    return [text] if width is None else textwrap.wrap(text, width, subsequent_indent="    ", break_on_hyphens=False)


def _fitting(heads: Sequence[str], rows: Sequence[list[object]], width: int | None) -> Sequence[Sequence[object]]:
    """The rows with names cut short where the line would be longer than the terminal is wide."""
    if width is None or not rows:
        return rows
    others = max(len(line) for line in output.aligned(heads[1:], [row[1:] for row in rows]))
    room = max(_LEAST_NAME, width - others - 2)
    return [[_cut(str(row[0]), room), *row[1:]] for row in rows]


def _cut(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"


def _duration(seconds: float | None) -> str:
    """Seconds, minutes, hours or days, in at most seven characters."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 100 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400:,}d"
