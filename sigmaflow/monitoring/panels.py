"""What the dashboards are made of: queries of the two sources, and panels in one style."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
QUESTDB = DataSourceRef(type_val="postgres", uid="questdb")
WIDTH, THIRD, HALF, QUARTER = 24, 8, 12, 6
STAT_HEIGHT, HEIGHT = 4, 8
LEAST_INTERVAL = "1s"
"""QuestDB's SAMPLE BY needs a whole unit, and Prometheus scrapes every 5 s."""

Target = cog.Builder[variants.Dataquery]
Panel = cog.Builder[Any]


@dataclass
class SqlQuery(variants.Dataquery):
    """A query over the PostgreSQL wire: the SDK has no class for Grafana's PostgreSQL source."""

    sql: str
    format_val: str
    ref_id: str = ""

    def to_json(self) -> dict[str, object]:
        """What Grafana stores."""
        return {"refId": self.ref_id, "rawSql": self.sql, "format": self.format_val, "rawQuery": True,
                "editorMode": "code", "datasource": QUESTDB}


@dataclass
class Sql(cog.Builder[variants.Dataquery]):
    """Rows of QuestDB: a time series where `format_val` says so, a table otherwise."""

    sql: str
    format_val: str = "time_series"

    def build(self) -> SqlQuery:
        """The query."""
        return SqlQuery(" ".join(self.sql.split()), self.format_val)


def prom(expression: str, legend: str = "", instant: bool = False) -> Target:
    """Series of Prometheus; `legend` may name labels, {{symbol}}."""
    query = prometheus.Dataquery().expr(" ".join(expression.split())).legend_format(legend).datasource(PROMETHEUS)
    return query.format(PromQueryFormat.TABLE).instant() if instant else query.range()


def flow(how: str, counter: str, *by: str, legend: str = "") -> Target:
    """A counter over Grafana's interval of rates, summed by labels, which are its legend: `how` is rate or increase."""
    return prom(f"sum by ({', '.join(by)}) ({how}({counter}[$__rate_interval]))",
                legend or " ".join(f"{{{{{label}}}}}" for label in by))


def quantiles(buckets: str, by: str = "") -> list[Target]:
    """p50, p95 and p99 of a histogram's buckets, one series for each and for each value of the label `by`."""
    labels, legend = (f"le, {by}", f"{{{{{by}}}}} ") if by else ("le", "")
    return [prom(f"histogram_quantile(0.{q}, sum by ({labels}) (rate({buckets}[$__rate_interval])))",
                 f"{legend}p{q}") for q in (50, 95, 99)]


def series(title: str, unit: str, text: str, *targets: Target, span: int = QUARTER, stacked: bool = False,
           warn: float | None = None) -> Panel:
    """Curves over time. `warn` draws a line that the curve should stay below."""
    panel = timeseries.Panel().title(title).description(text).unit(unit).span(span).height(HEIGHT)
    panel = panel.interval(LEAST_INTERVAL).line_width(1).fill_opacity(30 if stacked else 8).span_nulls(True)
    panel = panel.show_points(common.VisibilityMode.NEVER).datasource(_source(targets))
    panel = panel.legend(common_builder.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
                         .placement(common.LegendPlacement.BOTTOM).show_legend(True))
    panel = panel.tooltip(common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    if stacked:
        panel = panel.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL))
    if warn is not None:
        panel = panel.thresholds(_steps(("green", None), ("red", warn))).thresholds_style(
            common_builder.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return _with(panel, targets)


def number(title: str, unit: str, text: str, target: Target, *steps: tuple[str, float | None], span: int = 3) -> Panel:
    """One number; its colour is that of the last of `steps` (colour, from which value) that it reaches."""
    panel = stat.Panel().title(title).description(text).unit(unit).span(span).height(STAT_HEIGHT)
    panel = panel.datasource(_source([target])).graph_mode(common.BigValueGraphMode.AREA)
    panel = panel.thresholds(_steps(*(steps or (("blue", None),))))
    return _with(panel, [target])


def rows(title: str, text: str, *targets: Target, span: int = HALF) -> Panel:
    """A table."""
    panel = table.Panel().title(title).description(text).span(span).height(HEIGHT).datasource(_source(targets))
    return _with(panel, targets)


def states(title: str, text: str, *targets: Target, span: int = HALF) -> Panel:
    """Which state held when."""
    panel = statetimeline.Panel().title(title).description(text).span(span).height(HEIGHT)
    return _with(panel.datasource(_source(targets)), targets)


def board(uid: str, title: str, text: str, since: str = "now-30m") -> builder.Dashboard:
    """An empty dashboard with the variable `account`."""
    made = builder.Dashboard(title).uid(uid).description(text).tags(["sigmaflow"]).timezone("utc").editable()
    made = made.refresh("5s").time(since, "now").tooltip(DashboardCursorSync.CROSSHAIR)
    return made.with_variable(_variable("account", "label_values(sigmaflow_equity_quote, account)"))


def choice(name: str, values: Sequence[str]) -> builder.CustomVariable:
    """A variable with fixed values in their order, all chosen."""
    options = [VariableOption(True, value, value) for value in values]
    made = builder.CustomVariable(name).values(",".join(values)).multi(True).include_all(True)
    return made.options(options).current(VariableOption(True, list(values), list(values)))


@dataclass(frozen=True)
class Section:
    """A row of panels, one row for each value of the variable `repeat`. The first of a dashboard has no title."""

    title: str
    panels: Sequence[Panel]
    repeat: str = ""


def section(title: str, *panels: Panel, repeat: str = "") -> Section:
    """A row of panels."""
    return Section(title, panels, repeat)


def filled(made: builder.Dashboard, *sections: Section) -> builder.Dashboard:
    """The dashboard with its sections."""
    for part in sections:
        if part.title:
            row = builder.Row(part.title)
            made = made.with_row(row.repeat(part.repeat) if part.repeat else row)
        for panel in part.panels:
            made = made.with_panel(panel)
    return made


def _variable(name: str, query: str) -> builder.QueryVariable:
    made = builder.QueryVariable(name).query(query).datasource(PROMETHEUS)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def _steps(*steps: tuple[str, float | None]) -> builder.ThresholdsConfig:
    made = [Threshold(value=value, color=colour) for colour, value in steps]
    return builder.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _source(targets: Sequence[Target]) -> DataSourceRef:
    return QUESTDB if isinstance(targets[0], Sql) else PROMETHEUS


def _with(panel: Any, targets: Sequence[Target]) -> Panel:
    """The panel with its queries, named A, B, C…"""
    for n, target in enumerate(targets):
        query: Any = target.build()
        query.ref_id = chr(ord("A") + n)
        panel = panel.with_target(_Made(query))
    made: Panel = panel
    return made


@dataclass
class _Made(cog.Builder[variants.Dataquery]):
    """A query that is built already."""

    query: variants.Dataquery

    def build(self) -> variants.Dataquery:
        return self.query
