"""The page about the simulator names every switch with its default, and every fault action and argument."""

from dataclasses import fields
from pathlib import Path

import pytest

from graphsim.limits.faults import ACTIONS
from graphsim.settings import _parser
from graphsim.switches import Switches

PAGE = (Path(__file__).parents[3] / "docs" / "graphsim.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", fields(Switches), ids=lambda field: field.name)
def test_every_switch_is_in_the_page(field: object) -> None:
    name, default = field.name.replace("_", "-"), field.default  # type: ignore[attr-defined]
    if isinstance(default, bool):
        default = "on" if default else "off"
    shown = f"{default:.9g}" if isinstance(default, float) else str(default)
    assert f"| `{name}` | {shown} |" in PAGE
    assert field.metadata["doc"] in PAGE  # type: ignore[attr-defined]


def test_every_argument_and_action_is_in_the_page() -> None:
    for action in _parser()._actions:
        assert action.option_strings[-1] in {"--help"} or f"`{action.option_strings[-1]}" in PAGE, action.option_strings
    for name in ACTIONS:
        assert f"`{name}`" in PAGE
