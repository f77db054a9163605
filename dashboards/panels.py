"""Panels as a dashboard lists them, and how Grafana's library writes them down.

In: `Panel` and `PanelRow` values. Out: builders of `grafana_foundation_sdk`, whose JSON is what is imported. Rules: a
stat asks for this moment only, so that what is not known now is not shown as it was before; a panel that has an alert
has its number as a line, and a link to its playbook; every panel has a unit, and every query a legend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, assert_never

from grafana_foundation_sdk.builders import common as make
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

from dashboards.alert_rules import Limit, rules

SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
NO_FIGURE: Final = "no figure"

Kind = Literal["stat", "lines", "stack", "states"]
Words = tuple[str, str]
"""What 0 and 1 mean."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    ``queries`` are pairs of legend and expression; the first of ``alerts`` has the number that is too much; ``words``
    are for figures that are 0 or 1, ``signed`` for those that may be below 0.
    """

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    says: str
    kind: Kind = "lines"
    alerts: Sequence[str] = ()
    width: int = 12
    words: Words | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class PanelRow:
    """A heading of the dashboard and the panels below it."""

    title: str
    panels: Sequence[Panel]


Built: TypeAlias = Stat | TimeSeries | StateTimeline


def to_builder(panel: Panel, number: int) -> Built:
    """The panel, with this id."""
    built = _of_kind(panel.kind)
    built.id(number).title(panel.title).description(_describe(panel)).unit(panel.unit).datasource(SOURCE)
    built.no_value(NO_FIGURE).span(panel.width).thresholds(_thresholds(panel)).links(_links(panel))
    if panel.words is not None:
        built.mappings([_mapping(panel.words)])
    if not panel.signed:
        built.min(0)
    for letter, (legend, expression) in zip("ABCDEFGH", panel.queries, strict=False):
        query = Dataquery().ref_id(letter).expr(expression).legend_format(legend).datasource(SOURCE)
        built.with_target(query.instant() if panel.kind == "stat" else query.range())
    if isinstance(built, TimeSeries) and _limit(panel) is not None:
        built.thresholds_style(make.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED))
    return built


def _of_kind(kind: Kind) -> Built:
    match kind:
        case "stat":
            newest = make.ReduceDataOptions().calcs(["lastNotNull"])
            stat = Stat().height(4).reduce_options(newest).graph_mode(common.BigValueGraphMode.NONE)
            return stat.color_mode(common.BigValueColorMode.VALUE)
        case "lines":
            return _time_series().fill_opacity(0)
        case "stack":
            stacked = make.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
            return _time_series().fill_opacity(30).stacking(stacked)
        case "states":
            return StateTimeline().height(8).show_value(common.VisibilityMode.NEVER).legend(_legend())
    assert_never(kind)


def _time_series() -> TimeSeries:
    tooltip = make.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    # What is not known is a gap, and no line across it.
    return TimeSeries().height(8).span_nulls(False).tooltip(tooltip).legend(_legend())


def _legend() -> make.VizLegendOptions:
    legend = make.VizLegendOptions().show_legend(True).display_mode(common.LegendDisplayMode.LIST)
    return legend.placement(common.LegendPlacement.BOTTOM).calcs([])


def _describe(panel: Panel) -> str:
    told = [f"Alert `{name}`: {rules()[name].playbook}" for name in panel.alerts]
    return "\n\n".join([panel.says, *told])


def _limit(panel: Panel) -> Limit | None:
    return rules()[panel.alerts[0]].limit if panel.alerts else None


def _thresholds(panel: Panel) -> board.ThresholdsConfig:
    steps = [model.Threshold(value=None, color="green")]
    limit = _limit(panel)
    if panel.words is not None:
        steps = [model.Threshold(value=None, color="red"), model.Threshold(value=1.0, color="green")]
    elif limit is not None and limit.below:
        steps = [model.Threshold(value=None, color="red"), model.Threshold(value=limit.value, color="green")]
    elif limit is not None:
        # A step is reached by its own value, and an alert by more than it: more than no row is one.
        steps.append(model.Threshold(value=limit.value or 1.0, color="red"))
    return board.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _mapping(words: Words) -> model.ValueMap:
    nothing, one = words
    return model.ValueMap({
        "0": model.ValueMappingResult(text=nothing, color="red", index=0),
        "1": model.ValueMappingResult(text=one, color="green", index=1),
    })  # fmt: skip


def _links(panel: Panel) -> list[Builder[model.DashboardLink]]:
    pages = dict.fromkeys(rules()[name].playbook.rpartition("/")[2] for name in panel.alerts)
    return [link_to_playbook(f"Playbook: {page.removesuffix('.md')}", page) for page in pages]


def link_to_playbook(title: str, page: str) -> board.DashboardLink:
    """A link to a page of docs/playbooks/, wherever that is served."""
    link = board.DashboardLink(title).type(model.DashboardLinkType.LINK).url(f"${{playbooks}}/{page}")
    return link.target_blank(True)
