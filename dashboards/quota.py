"""The second dashboard: what Graph's quota leaves, who has to wait for it, and what fails.

In: nothing. Out: its sections. Rule: our own wait and Graph's refusals are told apart, because only the second says
that somebody else spends.
"""

from typing import Final

from dashboards.panels import Panel, PanelRow
from dashboards.queries import GRAPH, PROCESS, measured, rate, standing

_WAIT: Final = "rowtide_graph_quota_wait_seconds"
_GATE: Final = "rowtide_graph_gate_seconds"


def _left(window: str) -> str:
    return f'min by (graph) (rowtide_graph_ru_available{{graph=~"$graph", window="{window}"}})'


def _in(period: str, counter: str) -> str:
    return f"sum by (graph) (increase({counter}{GRAPH}[{period}]))"


_NOW: Final = PanelRow("Now", (
    Panel("Units left of the minute", "short", [("{{graph}}", _left("minute"))],
          "Resource units that may be spent at once; below 0: so many are owed.", "stat", width=5, signed=True),
    Panel("Units left of the day", "short", [("{{graph}}", _left("day"))],
          "The same by the day's quota.", "stat", width=5, signed=True),
    Panel("Units used in 24 hours", "short", [("{{graph}}", _in("24h", "rowtide_graph_ru_total"))],
          "By all processes together.", "stat", width=5),
    Panel("Next row in", "s", [("{{graph}}", standing(_WAIT, "graph", where=GRAPH))],
          "Seconds until the quota lets the next row be claimed.", "stat", ("RowtideQuotaSpent",), 5),
    Panel("Gate closed for", "s", [("{{graph}}", standing(_GATE, "graph", where=GRAPH))],
          "Graph has refused a request, and nothing is sent until then.", "stat", width=4),
))  # fmt: skip

_UNITS: Final = PanelRow("Units and requests", (
    Panel("Units used", "suffix: RU/s", [("{{graph}}", rate("rowtide_graph_ru_total", "graph", where=GRAPH))],
          "Resource units a second, as Graph's documents count them."),
    Panel("Units left", "suffix: RU", [
        ("{{graph}}: {{window}}", f"min by (graph, window) (rowtide_graph_ru_available{GRAPH})"),
    ], "What may be spent at once by each window; below 0: so many are owed.", signed=True),
    Panel("Requests", "reqps", [("{{graph}}", rate("rowtide_graph_requests_total", "graph", where=GRAPH))],
          "To Graph, a second; one of a batch counts as one."),
    Panel("Refused and unanswered", "short", [
        ("{{graph}}: refused with 429", _in("5m", "rowtide_graph_throttled_total")),
        ("{{graph}}: not answered", _in("5m", "rowtide_graph_unanswered_total")),
    ], "Batches of the last five minutes. All their rows are tried again.", alerts=("RowtideThrottled",)),
    Panel("Who makes rows wait", "s", [
        ("{{graph}}: our quota", f"max by (graph) ({_WAIT}{GRAPH} - {_GATE}{GRAPH})"),
        ("{{graph}}: Graph's refusal", standing(_GATE, "graph", where=GRAPH)),
    ], "Our own wait before it comes to a refusal, and the wait after one. Refusals although we count what we spend"
       " mean that somebody else spends, too.", "stack", ("RowtideQuotaSpent", "RowtideThrottled")),
    Panel("Rows claimed and not settled", "short", [("{{instance}}", f"rowtide_rows_in_flight{PROCESS}")],
          "Under way, by process."),
))  # fmt: skip

_FAILS: Final = PanelRow("What fails", (
    Panel("Errors by code", "cps", [("{{code}}", rate("rowtide_errors_total", "code", where=PROCESS))],
          "Attempts of background loops that failed, a second; each is tried again after a growing wait. What a code"
          " means: docs/errors.md."),
    Panel("What fails at the moment", "short", [("{{scope}}", standing("rowtide_faults", "scope", where=PROCESS))],
          "Lists, tables and tenants that fail and are tried again. Everything else goes on.", "stack"),
))  # fmt: skip

_ACCESS: Final = PanelRow("Access", (
    Panel("The credential ends in", "s", [
        ("{{graph}}", measured("RowtideCredentialExpires", "rowtide_credential_expiry_timestamp_seconds", GRAPH)),
    ], "A certificate says so itself, of a secret the definition may (`expires`). Nothing where nobody has said so.",
          alerts=("RowtideCredentialExpires",), signed=True),
    Panel("Webhooks end in", "s", [
        ("{{graph}}", measured("RowtideWebhooksLapse", "rowtide_webhook_expiry_timestamp_seconds", GRAPH)),
    ], "When Graph stops telling of the first list; below 0: it does not tell of one now, and its edits wait for a"
       " poll. Nothing where there are no webhooks.", alerts=("RowtideWebhooksLapse",), signed=True),
    Panel("Last told by Graph", "s", [("{{instance}}", f"rowtide_webhook_age_seconds{PROCESS}")],
          "Seconds since Graph last notified this process of a change, by process. Nothing where there are no"
          " webhooks."),
))  # fmt: skip

SECTIONS: Final = (_NOW, _UNITS, _ACCESS, _FAILS)
