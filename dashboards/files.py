"""The dashboards as files: what Grafana imports, by name.

In: the sections of each dashboard. Out: JSON text. Rules: names, uids and numbers of panels stay the same from one
writing to the next, so that an import replaces what was imported before; where the data come from is chosen in the
dashboard; nothing names a host.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from dashboards import processes, quota, syncs
from dashboards.panels import SOURCE, PanelRow, link_to_playbook, to_builder

FOLDER: Final = Path(__file__).parents[1] / "k8s/dashboards"
PLAYBOOKS: Final = "/docs/playbooks"
"""Where links lead until somebody types another address."""

_CHOICES: Final = {
    "sync": ("Sync", "label_values(rowtide_gauge_timestamp_seconds, sync)"),
    "source": ("Source", "label_values(rowtide_source_connected, source)"),
    "graph": ("Tenant", "label_values(rowtide_graph_requests_total, graph)"),
    "process": ("Process", "label_values(rowtide_rows_in_flight, instance)"),
}
"""Label and query of each variable."""


class Board(NamedTuple):
    """One dashboard: its file and uid, its title, what it asks the reader to choose, its sections."""

    name: str
    title: str
    says: str
    choices: Sequence[str]
    sections: Sequence[PanelRow]


PAGES: Final = (
    Board("rowtide-syncs", "Rowtide: syncs", "Is each sync in step, how fast, and what waits for a person.",
         ("sync",), syncs.SECTIONS),
    Board("rowtide-quota", "Rowtide: Graph and its quota", "What the quota leaves, who waits for it, and what fails.",
         ("graph", "process"), quota.SECTIONS),
    Board("rowtide-processes", "Rowtide: capture and processes", "Slots, the outbox, and the processes themselves.",
         ("source", "sync", "process"), processes.SECTIONS),
)  # fmt: skip


def files() -> dict[str, str]:
    """The text of each file by its name."""
    encoder = JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False)
    return {f"{page.name}.json": encoder.encode(_to_dashboard(page).build()) + "\n" for page in PAGES}


def _to_dashboard(page: Board) -> board.Dashboard:
    made = board.Dashboard(page.title).uid(page.name).description(page.says).tags(["rowtide"]).editable()
    made.time("now-6h", "now").refresh("30s").timezone("browser").tooltip(model.DashboardCursorSync.CROSSHAIR)
    for variable in _variables(page):
        made.with_variable(variable)
    others = board.DashboardLink("Rowtide").type(model.DashboardLinkType.DASHBOARDS).tags(["rowtide"])
    made.links(
        [others.as_dropdown(False).include_vars(True).keep_time(True), link_to_playbook("Playbooks", "README.md")]
    )
    numbers = iter(range(1, 1000))
    for section in page.sections:
        made.with_row(board.Row(section.title).id(next(numbers)))
        for panel in section.panels:
            made.with_panel(to_builder(panel, next(numbers)))
    return made


def _variables(page: Board) -> Iterator[board.DatasourceVariable | board.QueryVariable | board.TextBoxVariable]:
    yield board.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    for name in page.choices:
        label, query = _CHOICES[name]
        chosen = board.QueryVariable(name).label(label).query(query).datasource(SOURCE).multi(True).include_all(True)
        chosen.all_value(".+").current(everything).refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        yield chosen.sort(model.VariableSort.ALPHABETICAL_ASC)
    where = model.VariableOption(selected=True, text=PLAYBOOKS, value=PLAYBOOKS)
    told = board.TextBoxVariable("playbooks").label("Playbooks at").default_value(PLAYBOOKS)
    yield told.current(where).options([where])
