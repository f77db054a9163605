"""Alerts name metrics that are served, with labels that they have, and a playbook that names them."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from connectors.metric_families import COUNTED, READINGS, STANDING
from tests.repository.test_docs import ROOT

RULES = ROOT / "k8s/alerts/rowtide.rules.yml"
TESTS = ROOT / "k8s/alerts/rowtide.test.yml"
LABELS = {family.name: set(family.labels) for family in (*COUNTED, *READINGS, *STANDING)}
MADE_BY_PROMETHEUS = {"instance"}
SERIES = re.compile(r"(rowtide_\w+)(?:\{([^}]*)\})?")


def alerts() -> list[dict[str, Any]]:
    """The rules, in their order."""
    [group] = YAML(typ="safe").load(RULES)["groups"]
    return list(group["rules"])


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_what_is_served(alert: dict[str, Any]) -> None:
    asked = SERIES.findall(alert["expr"])
    assert asked
    for name, matchers in asked:
        assert name in LABELS
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= LABELS[name], name
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"(?:by|on) \(([^)]*)\)", alert["expr"]))))
    served = set().union(*(LABELS[name] for name, _ in asked))
    assert grouped <= served | MADE_BY_PROMETHEUS
    told = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
    assert told <= grouped | ({"instance"} if "by (" not in alert["expr"] else set())


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_has_a_playbook_that_names_it(alert: dict[str, Any]) -> None:
    page = ROOT / alert["annotations"]["playbook"]
    assert f"`{alert['alert']}`" in page.read_text(encoding="utf-8")
    assert f"`{alert['alert']}`" in (page.parent / "README.md").read_text(encoding="utf-8")


def test_each_alert_is_seen_to_fire_and_to_clear() -> None:
    """What is expected of each is in the file that `promtool` plays (tests/integration/test_alert_rules.py)."""
    seen: dict[str, set[bool]] = {}
    for one in YAML(typ="safe").load(TESTS)["tests"]:
        for expected in one["alert_rule_test"]:
            seen.setdefault(expected["alertname"], set()).add(bool(expected["exp_alerts"]))
    assert seen == {alert["alert"]: {True, False} for alert in alerts()}
