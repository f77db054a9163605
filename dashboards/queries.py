"""How an expression asks for a figure: of the chosen syncs, sources, graphs, processes, and from whichever process.

In: a metric's name. Out: PromQL. Rules: where a sync stands is said by one process at a time, and by two for a moment
while they take turns, so it is a maximum (docs/design.md section 24); what was done is counted by each process, so it
is a sum; a counter that is made with its first count is 0 wherever its neighbour counts.
"""

from typing import Final

from dashboards.alert_rules import rules

SYNC: Final = '{sync=~"$sync"}'
SOURCE: Final = '{source=~"$source"}'
GRAPH: Final = '{graph=~"$graph"}'
PROCESS: Final = '{instance=~"$process"}'
STEP: Final = "[$__rate_interval]"
IS_ROWTIDE: Final = f"and on (instance) rowtide_rows_in_flight{PROCESS}"
"""Of what every process exports that is made with prometheus-client."""


def standing(metric: str, *labels: str, where: str = SYNC) -> str:
    """Where each sync, source or graph stands; ``labels`` are kept."""
    return f"max by ({', '.join(labels)}) ({metric}{where})"


def measured(alert: str, metric: str, where: str) -> str:
    """What the alert compares, of what is chosen."""
    return rules()[alert].measured.replace(metric, metric + where)


def rate(counter: str, *labels: str, where: str = SYNC) -> str:
    """How much of it a second, added up over processes."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} (rate({counter}{where}{STEP}))"


def rare(counter: str, beside: str) -> str:
    """The rate of what may never have happened; ``beside`` is counted by the same processes all the time."""
    return f"{rate(counter)} or 0 * {rate(beside)}"


def quantile(share: float, histogram: str, *labels: str, rows: str = "") -> str:
    """A latency that so many rows kept below."""
    where = f'{{sync=~"$sync", rows="{rows}"}}' if rows else SYNC
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', *labels, 'le', where=where)})"


def quantiles(histogram: str, rows: str = "") -> list[tuple[str, str]]:
    """The usual ones, of all chosen syncs together."""
    return [
        (name, quantile(share, histogram, rows=rows)) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    ]
