"""What the gate says of each kind of figure, against an accepted result that knows it, knows it not, or is foreign."""

from typing import Any

import pytest

from perf import judging
from perf.judging import Bound, Promise, Rate, Ratio

HERE = {"cpu": "one", "cores": 2, "architecture": "x86_64", "python": "3.11.7", "load": [0.1, 0.2]}


def result(at: str = "later", machine: object = HERE, /, **values: float) -> dict[str, Any]:
    """A document with these metrics; a double underscore stands for the dot."""
    return {
        "metrics": {
            name.replace("__", "."): {"value": value, "unit": "", "at": at, "machine": machine}
            for name, value in values.items()
        }
    }


def judge(accepted: dict[str, Any], latest: dict[str, Any]) -> tuple[bool, dict[str, str], str]:
    """Whether the gate is open, the verdict of each metric, and everything it prints."""
    lines = judging.compare(accepted, latest)
    text = judging.table(lines) + "\n" + judging.closing(lines, accepted, latest)
    return judging.is_open(lines, latest), {line.metric: line.verdict for line in lines}, text


@pytest.mark.parametrize(
    ("accepted", "now", "is_open", "verdict"),
    [
        ({"deliver__peer_ratio": 0.6}, {"deliver__peer_ratio": 0.7}, True, "better"),
        ({"deliver__peer_ratio": 0.6}, {"deliver__peer_ratio": 0.41}, True, "within"),
        ({"deliver__peer_ratio": 0.6}, {"deliver__peer_ratio": 0.39}, False, "WORSE, 1.54 times"),
        ({"deliver__cpu_ratio": 4.0}, {"deliver__cpu_ratio": 3.0}, True, "better"),
        ({"deliver__cpu_ratio": 4.0}, {"deliver__cpu_ratio": 5.5}, True, "within"),
        ({"deliver__cpu_ratio": 4.0}, {"deliver__cpu_ratio": 5.7}, False, "WORSE, 1.43 times"),
        ({"capture__vs_debezium": 2.2}, {"capture__vs_debezium": 1.9}, False, "MISSED"),
        ({"capture__vs_debezium": 9.0}, {"capture__vs_debezium": 5.0}, False, "WORSE, 1.80 times"),
        ({"pull__idle_ru_per_minute": 11.5}, {"pull__idle_ru_per_minute": 12.0}, True, "kept"),
        ({"pull__idle_ru_per_minute": 11.5}, {"pull__idle_ru_per_minute": 12.1}, False, "MISSED"),
        ({"gated__neighbour_ms": 430.0}, {"gated__neighbour_ms": 90.0}, True, "missed, as accepted"),
        ({"capture__rss_mib": 150.0}, {"capture__rss_mib": 249.0}, True, "kept"),
        ({"deliver__items_per_s": 4700.0}, {"deliver__items_per_s": 900.0}, True, "shown; misses its bound here"),
        ({"deep__items_per_cpu_s": 25000.0}, {"deep__items_per_cpu_s": 900.0}, True, "shown"),
    ],
)
def test_a_figure_is_judged_by_its_kind(
    accepted: dict[str, float], now: dict[str, float], is_open: bool, verdict: str
) -> None:
    found, verdicts, _ = judge(result("before", **accepted), result(**now))
    assert (found, list(verdicts.values())) == (is_open, [verdict])


def test_a_metric_that_is_gone_closes_the_gate() -> None:
    accepted = result("before", deliver__peer_ratio=0.6, noop__writes=0)
    is_open, verdicts, text = judge(accepted, result(deliver__peer_ratio=0.6))
    assert not is_open
    assert verdicts["noop.writes"].startswith("MISSING")
    assert "closed by noop.writes" in text


@pytest.mark.parametrize(("value", "is_open", "verdict"), [(0.001, True, "new"), (1e9, True, "new")])
def test_a_new_ratio_has_nothing_to_be_worse_than(value: float, is_open: bool, verdict: str) -> None:
    found, verdicts, _ = judge(result("before"), result(deliver__peer_ratio=value))
    assert (found, verdicts) == (is_open, {"deliver.peer_ratio": verdict})


@pytest.mark.parametrize(("value", "is_open"), [(5.9, True), (6.0, False)])
def test_a_new_promise_has_to_be_kept(value: float, is_open: bool) -> None:
    assert judge(result("before"), result(peer_death__s=value))[0] is is_open


def test_on_another_machine_ratios_and_promises_alone_count() -> None:
    accepted = result("before", {**HERE, "cpu": "another"}, deliver__items_per_s=4700, deliver__peer_ratio=0.6)
    is_open, _, text = judge(accepted, result(deliver__items_per_s=400, deliver__peer_ratio=0.6))
    assert is_open
    assert "another machine" in text
    assert not judge(accepted, result(deliver__items_per_s=4700, deliver__peer_ratio=0.2))[0]


def test_an_older_result_says_its_machine_in_a_sentence_and_is_another() -> None:
    accepted = result("before", "2 cores, x86_64, Python 3.11.7, load 1.1", deliver__peer_ratio=0.6)
    assert "another machine" in judge(accepted, result(deliver__peer_ratio=0.6))[2]
    assert "another machine" not in judge(result("before", deliver__peer_ratio=0.6), result(deliver__peer_ratio=0.6))[2]


def test_what_was_not_measured_since_says_nothing() -> None:
    same = result("before", deliver__peer_ratio=0.6)
    is_open, verdicts, text = judge(same, same)
    assert not is_open
    assert verdicts == {"deliver.peer_ratio": "not measured since"}
    assert "Nothing was measured" in text


def test_one_family_is_judged_beside_others_that_were_not_measured() -> None:
    accepted = result("before", deliver__peer_ratio=0.6, noop__writes=0)
    latest = result(deliver__peer_ratio=0.6)
    latest["metrics"]["noop.writes"] = accepted["metrics"]["noop.writes"]
    is_open, _, text = judge(accepted, latest)
    assert is_open
    assert "not measured since: noop.writes" in text


def test_a_family_that_failed_closes_the_gate() -> None:
    accepted, latest = result("before", deliver__peer_ratio=0.6), result(deliver__peer_ratio=0.6)
    is_open, _, text = judge(accepted, {**latest, "failed": ["deep"]})
    assert not is_open
    assert "failed: deep" in text


def test_the_table_names_both_values_and_the_threshold_with_what_closes_the_gate_first() -> None:
    accepted = result("before", capture__rss_mib=150, deliver__peer_ratio=0.6)
    _, _, text = judge(accepted, result(capture__rss_mib=150, deliver__peer_ratio=0.2))
    head, first, second = text.splitlines()[:3]
    assert head.split() == ["metric", "accepted", "now", "threshold", "verdict"]
    assert first.split() == ["deliver.peer_ratio", "0.6", "0.2", ">=", "0.400", "WORSE,", "3.00", "times"]
    assert second.startswith("capture.rss_mib")


@pytest.mark.parametrize(
    ("relation", "value", "met"),
    [("<", 2.0, False), ("<=", 2.0, True), (">=", 2.0, True), (">=", 1.9, False), ("<", 1.9, True), ("<=", 2.1, False)],
)
def test_a_bound_means_what_it_says(relation: judging.Relation, value: float, met: bool) -> None:
    assert Bound(relation, 2.0).is_met(value) is met


def test_nothing_is_judged_against_the_accepted_value_but_a_ratio_of_one_run() -> None:
    ratios = {name for name, rule in judging.RULES.items() if isinstance(rule, Ratio)}
    assert all(name.endswith("ratio") or name == "capture.vs_debezium" for name in ratios)
    rates = {name for name, rule in judging.RULES.items() if name.endswith("_per_s") or name.endswith("_per_cpu_s")}
    assert all(isinstance(judging.RULES[name], Rate) for name in rates)
    assert isinstance(judging.RULES["pull.idle_ru_per_minute"], Promise)
