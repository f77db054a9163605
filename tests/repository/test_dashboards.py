"""Dashboards are those that the code makes, ask for what is served, and show alerts by their own numbers."""

import json
import math
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import pytest

from connectors.metric_families import COUNTED, READINGS, STANDING
from rowtide.gauge import GOAL_S
from tests.repository.test_alerts import LABELS, SERIES, alerts
from tests.repository.test_docs import ROOT

FOLDER = ROOT / "k8s/dashboards"
MADE_BY_PROMETHEUS = {"instance"}
HISTOGRAMS = {family.name for family in COUNTED if family.kind == "histogram"}
EXPORTED_BY_CLIENT = re.compile(r"\bprocess_\w+")
NOT_SHOWN: dict[str, str] = {}
"""Metrics that are on no dashboard, each with the reason."""


class Query(NamedTuple):
    """One query of a panel."""

    panel: dict[str, Any]
    legend: str
    expression: str


def dashboards() -> dict[str, dict[str, Any]]:
    """The committed ones, by the file's name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels() -> Iterator[dict[str, Any]]:
    """Of all dashboards, without the rows that part them."""
    for board in dashboards().values():
        yield from (one for one in board["panels"] if one["type"] != "row")


def queries() -> list[Query]:
    """Of all panels."""
    return [Query(panel, one["legendFormat"], one["expr"]) for panel in panels() for one in panel["targets"]]


def asked(expression: str) -> list[tuple[str, str, set[str]]]:
    """The families of an expression, their matchers, and the labels of what is asked for."""
    found = []
    for name, matchers in SERIES.findall(expression):
        family, _, suffix = name.rpartition("_")
        if suffix in ("bucket", "count", "sum") and family in HISTOGRAMS:
            found.append((family, matchers, LABELS[family] | ({"le"} if suffix == "bucket" else set())))
        else:
            found.append((name, matchers, LABELS.get(name, set())))
    return found


HINT = "put it into a section of dashboards/, or here into NOT_SHOWN with a reason; then: python -m dashboards"


def test_the_files_are_what_the_code_makes() -> None:
    library = "grafana_foundation_sdk"
    pytest.importorskip(library, reason="it is not in this environment: make deps, then make check")
    from dashboards.files import files

    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == files(), "run: python -m dashboards"


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.panel['title']}: {query.legend}")
def test_a_query_asks_for_what_is_served(query: Query) -> None:
    found, served = asked(query.expression), set(MADE_BY_PROMETHEUS)
    assert found or EXPORTED_BY_CLIENT.search(query.expression)
    for name, matchers, labels in found:
        assert name in LABELS
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= labels | MADE_BY_PROMETHEUS, name
        served |= labels
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"(?:by|on) \(([^)]*)\)", query.expression))))
    assert grouped <= served
    told = set(re.findall(r"{{(\w+)}}", query.legend))
    assert told <= (grouped if re.search(r"\bby \(", query.expression) else MADE_BY_PROMETHEUS), query.legend


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.panel['title']}: {query.legend}")
def test_where_a_sync_stands_is_a_maximum_and_what_was_done_a_rate(query: Query) -> None:
    """design.md section 24: for a moment two processes may say where a sync stands."""
    kinds = {family.name: family.kind for family in (*COUNTED, *READINGS)}
    for family in STANDING:
        for before in re.findall(rf"(.*)\b{family.name}\b", query.expression):
            assert re.search(r"max(?: by \([^)]*\))? \($|max\($", before), query.expression
    for name, _, _ in asked(query.expression):
        if kinds.get(name) in ("counter", "histogram") and name != "rowtide_history_minutes_lost_total":
            assert re.search(rf"(?:rate|increase)\({name}", query.expression), query.expression


def test_nothing_is_0_because_nobody_says_what_it_is() -> None:
    assert [one for one in queries() if "vector(" in one.expression or "absent(" in one.expression] == []


def test_every_metric_is_on_a_dashboard_or_is_left_out_for_a_reason() -> None:
    shown = {name for query in queries() for name, _, _ in asked(query.expression)}
    assert shown | NOT_SHOWN.keys() == LABELS.keys(), HINT
    assert shown & NOT_SHOWN.keys() == set()


def test_every_alert_is_on_a_dashboard_with_its_number_and_its_playbook() -> None:
    shown: dict[str, list[dict[str, Any]]] = {}
    for panel in panels():
        for name in re.findall(r"Alert `(\w+)`", panel["description"]):
            shown.setdefault(name, []).append(panel)
    assert set(shown) == {one["alert"] for one in alerts()}, (
        "name it in `alerts` of a panel, then: python -m dashboards"
    )
    for alert in alerts():
        page = alert["annotations"]["playbook"]
        for panel in shown[alert["alert"]]:
            assert f"`{alert['alert']}`: {page}" in panel["description"]
            assert f"${{playbooks}}/{page.rpartition('/')[2]}" in {link["url"] for link in panel["links"]}


def test_a_line_in_a_panel_is_where_its_alert_begins() -> None:
    seen = set()
    for panel in panels():
        told = re.findall(r"Alert `(\w+)`", panel["description"])
        numbers = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]]
        if told and not panel["fieldConfig"]["defaults"].get("mappings"):
            [rule] = [one["expr"] for one in alerts() if one["alert"] == told[0]]
            factors = [found.split(" * ") for found in re.findall(r" [<>] (\d+(?: \* \d+)*)", rule)]
            limits = [math.prod(map(float, one)) for one in factors]
            expected = [] if not limits else [limits[0]] if limits[0] or " < 0" in rule else [1.0]
            assert numbers == expected, panel["title"]
            seen.add(told[0])
        elif not told:
            assert numbers == [], f"{panel['title']}: a number that no alert has"
    assert {"RowtidePushLate", "RowtidePullLate", "RowtideQuotaSpent", "RowtideWalRunsOut"} <= seen


def test_the_promise_is_one_number() -> None:
    late = {one["alert"]: one["expr"] for one in alerts()}
    assert f"> {GOAL_S:.0f}" in late["RowtidePushLate"]
    assert f"> {GOAL_S:.0f}" in late["RowtidePullLate"]
    assert any(f'le="{GOAL_S}"' in query.expression for query in queries())


def test_panels_have_units_and_their_data_from_where_the_reader_says() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"]
        assert {json.dumps(one["datasource"]) for one in (panel, *panel["targets"])} == {json.dumps(chosen)}
        assert len({one["refId"] for one in panel["targets"]}) == len(panel["targets"]) > 0
        assert all(one["legendFormat"] for one in panel["targets"])


@pytest.mark.parametrize("board", dashboards().values(), ids=lambda board: board["uid"])
def test_variables_are_those_that_are_used_and_ask_for_what_is_served(board: dict[str, Any]) -> None:
    text = json.dumps(board["panels"])
    for variable in board["templating"]["list"]:
        assert re.search(rf"\$\{{?{variable['name']}\b", text), f"nobody uses {variable['name']}"
        if variable["type"] == "query":
            metric, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"])[0]
            assert label in LABELS[metric] | MADE_BY_PROMETHEUS
    used = set(re.findall(r"\$\{?([a-z]\w*)", text)) - {"__rate_interval"}
    assert used == {variable["name"] for variable in board["templating"]["list"]}


@pytest.mark.parametrize("board", dashboards().items(), ids=lambda board: board[0])
def test_a_file_its_uid_and_its_panels_can_be_told_apart(board: tuple[str, dict[str, Any]]) -> None:
    name, one = board
    assert f"{one['uid']}.json" == name
    assert one.get("id") is None, "Grafana gives it"
    numbers = [panel["id"] for panel in one["panels"]]
    assert len(set(numbers)) == len(numbers)
    for first, second in combinations(one["panels"], 2):
        a, b = first["gridPos"], second["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (first["title"], second["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in one["panels"])


def test_no_file_names_a_host() -> None:
    for path in FOLDER.iterdir():
        assert "://" not in path.read_text(encoding="utf-8"), path.name
