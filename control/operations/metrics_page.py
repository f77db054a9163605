"""docs/metrics.md: every metric of a process, family by family.

In: `connectors.metric_families`. Out: the page as text, which ``python -m control.cli.pages`` writes. Rule: nothing
stands on the page that is not served, and nothing is left out.
"""

from collections.abc import Iterable

from connectors.metric_families import COUNTED, READINGS, STANDING, Family

_INTRO = """# Metrics

Printed by `python -m control.cli.pages` from `connectors/metric_families.py`; do not edit.

Each process serves its own on `run.listen`, to whoever may reach that address; the names of syncs, graphs and sources
are the definition's, and no label holds a key or a value. Totals count since the process started. A series that is not
there means that the figure is not known, never that it is 0.
"""

_SECTIONS = (
    (
        "What was done",
        "Counted by the process that did it, as in `rowtide runs minutes` (design.md section 23). Latencies are"
        " histograms; `rows` is `live` for changes of the stream and `bulk` for rows that a reconcile found.",
        COUNTED,
    ),
    (
        "What a process reads of itself",
        "Of its own graphs and sources. `rowtide_graph_throttled_total` is Graph's refusal, `rowtide_graph_quota_wait_"
        "seconds` our own wait before it comes to that. A slot has figures while its changes are streamed.",
        READINGS,
    ),
    (
        "Where each sync stands",
        "Of the one process that has the duty to look (design.md section 24), for all syncs; the others have no such"
        " series, so take `max by (sync)`. A figure that is not known is left out where it would read 0.",
        STANDING,
    ),
)


def page() -> str:
    """The page's text."""
    parts = [_INTRO]
    for title, says, families in _SECTIONS:
        parts.append(f"## {title}\n\n{says}\n\n{_table(families)}")
    return "\n".join(parts)


def _table(families: Iterable[Family]) -> str:
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.says} |\n"
        for one in families
    ]
    return "| metric | kind | labels | what it says |\n|---|---|---|---|\n" + "".join(rows)
