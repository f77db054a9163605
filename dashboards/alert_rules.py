"""The alert rules, as far as dashboards show them: the number that is too much, and the playbook.

In: k8s/alerts/rowtide.rules.yml. Out: `Rule` by the alert's name. Rule: a number that alerts is written down there and
nowhere else, so that a line in a panel and the alert never differ.
"""

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

RULES: Final = Path(__file__).parents[1] / "k8s/alerts/rowtide.rules.yml"

_COMPARISON: Final = re.compile(r" ([<>]) (\d+(?: \* \d+)*)")


@dataclass(frozen=True, slots=True)
class Limit:
    """From where on it is too much; ``below``: too little."""

    value: float
    below: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert. ``measured``: what it compares; ``limit``: None where nothing is too much, as of what is 0 or 1."""

    name: str
    measured: str
    limit: Limit | None
    playbook: str


@cache
def rules() -> dict[str, Rule]:
    """By the alert's name."""
    [group] = YAML(typ="safe").load(RULES)["groups"]
    return {one["alert"]: _to_rule(one["alert"], one["expr"], one["annotations"]["playbook"]) for one in group["rules"]}


def _to_rule(name: str, expression: str, playbook: str) -> Rule:
    found = _COMPARISON.search(expression)
    if found is None:
        return Rule(name, expression, None, playbook)
    limit = Limit(math.prod(map(float, found[2].split(" * "))), below=found[1] == "<")
    return Rule(name, expression[: found.start()].strip(), limit, playbook)
