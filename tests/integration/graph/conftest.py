"""A simulator, the settings to reach it, and a list made by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.graph import provisioning
from connectors.graph.list_schema import WantedList
from connectors.graph.settings import ClientSecret, GraphSettings
from rowtide.mapping.columns import ListColumn
from tests.e2e.conftest import CLIENT, Simulator
from tests.e2e.stack import SECRET

SITE = "contoso.sharepoint.com:/sites/ops"
COLUMNS = (ListColumn("Title", "text"), ListColumn("Amount", "number"), ListColumn("Notes", "note"))


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Makes simulators: options of ``python -m graphsim`` in, a running one out (without quota unless ``--tier``)."""
    made: list[Simulator] = []

    def make(*options: str) -> Simulator:
        tier = () if "--tier" in options else ("--tier", "off")
        made.append(Simulator(tmp_path, *options, *tier))
        return made[-1]

    yield make
    for simulator in made:
        simulator.close()


def settings_for(simulator: Simulator, **changes: Any) -> GraphSettings:
    """Settings for a simulator: no pacing, short patience."""
    ready = simulator.ready
    given: dict[str, Any] = {
        "base_url": ready["base_url"],
        "authority": ready["authority"],
        "ca_file": ready["ca_file"],
        "quota_off": True,
        "request_timeout_s": 5.0,
        "absent_after_s": 0.5,
        "send_within_s": 0.5,
        **changes,
    }
    return GraphSettings("contoso", "tenant", CLIENT, ClientSecret(given.pop("secret", SECRET)), **given)


def make_lists(settings: GraphSettings, *titles: str) -> provisioning.Provisioned:
    """Lists with the columns of these tests."""
    return provisioning.provision(settings, SITE, [WantedList(title, COLUMNS) for title in titles])
