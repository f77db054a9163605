"""Faults as rules: which calls go wrong, and how.

In: rules as JSON objects (`POST /_sim/faults`, `--faults FILE`). Out: for a call, the first rule that
matches and wins its draw. Rules: draws come from the seeded generator; a rule with a count is spent after that many
hits.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ACTIONS = ("status", "delay", "reset", "truncate", "garbage")


@dataclass(slots=True)
class Fault:
    """One rule; see `docs/graphsim.md` for the meaning of each key."""

    id: int
    action: str
    method: str | None = None
    path: re.Pattern[str] | None = None
    list: str | None = None
    client: str | None = None
    level: str = "any"
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    after_commit: bool = False
    status: int = 503
    code: str | None = None
    message: str | None = None
    inner_code: str | None = None
    body: Any = None
    retry_after: float | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_ms: float = 0.0
    keep_bytes: int | None = None
    hits: int = 0
    seen: int = 0

    def to_json(self) -> dict[str, Any]:
        """The rule as the control side shows it, with its hits."""
        out = {name: getattr(self, name) for name in self.__slots__}
        out["path"] = None if self.path is None else self.path.pattern
        return out


@dataclass(frozen=True, slots=True)
class FaultTarget:
    """What rules are matched against; `lists` are the id and the title of the list the call is about."""

    method: str
    path: str
    lists: tuple[str, ...]
    client: str
    is_member: bool


class Faults:
    """All rules, in the order they came."""

    def __init__(self, rng: random.Random) -> None:
        self.rules: list[Fault] = []
        self._rng = rng
        self._next_id = 1

    def add(self, given: Any) -> list[Fault]:
        """Adds a rule, a list of rules or `{"rules": [...]}`; ValueError with one sentence for a bad one."""
        rules = given.get("rules", given) if isinstance(given, dict) else given
        made = [self._make(rule) for rule in (rules if isinstance(rules, list) else [rules])]
        self.rules.extend(made)
        return made

    def clear(self, rule_id: int | None = None) -> None:
        """Removes the rule of that id, or all of them."""
        self.rules = [rule for rule in self.rules if rule_id is not None and rule.id != rule_id]

    def draw(self, target: FaultTarget) -> Fault | None:
        """The first rule that matches and draws its lot; its count is used up by that."""
        for rule in self.rules:
            if rule.count is not None and rule.hits >= rule.count:
                continue
            if not _matches(rule, target):
                continue
            rule.seen += 1
            if rule.seen <= rule.skip or self._rng.random() >= rule.probability:
                continue
            rule.hits += 1
            return rule
        return None

    def _make(self, given: Any) -> Fault:
        if not isinstance(given, Mapping):
            raise ValueError("a fault rule is a JSON object")
        unknown = set(given) - set(Fault.__slots__)
        if unknown:
            raise ValueError(f"a fault rule has no key '{sorted(unknown)[0]}'")
        values = {k: v for k, v in given.items() if k not in {"id", "hits", "seen"}}
        values.setdefault("action", _guess_action(values))
        if values["action"] not in ACTIONS:
            raise ValueError(f"a fault's action is one of {', '.join(ACTIONS)}, not '{values['action']}'")
        if values.get("level", "any") not in {"any", "request", "member"}:
            raise ValueError("a fault's level is any, request or member")
        values["path"] = _to_pattern(values.get("path"))
        _check_numbers(values)
        self._next_id += 1
        return Fault(id=self._next_id - 1, **values)


def _guess_action(values: dict[str, Any]) -> str:
    return "delay" if "delay_ms" in values and "status" not in values else "status"


def _to_pattern(path: Any) -> re.Pattern[str] | None:
    if path is None:
        return None
    try:
        return re.compile(str(path))
    except re.error as error:
        raise ValueError(f"a fault's path is no regular expression: {error}") from None


def _check_numbers(values: dict[str, Any]) -> None:
    for name in ("probability", "count", "skip", "status", "delay_ms", "retry_after", "keep_bytes"):
        value = values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise ValueError(f"a fault's {name} is a number that is not negative")


def _matches(rule: Fault, target: FaultTarget) -> bool:
    if rule.level != "any" and (rule.level == "member") is not target.is_member:
        return False
    if rule.method is not None and rule.method.upper() != target.method:
        return False
    if rule.client is not None and rule.client != target.client:
        return False
    if rule.list is not None and rule.list.casefold() not in target.lists:
        return False
    return rule.path is None or rule.path.search(target.path) is not None
