"""The charts of the image, drawn with Altair."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from etl.diagnostics.page_data import content_seconds
from etl.diagnostics.status import NEVER_TRIED, PRESUMED_EMPTY, SIGNS
from etl.display.date_ranges import WEEKDAYS, monday_of
from etl.display.page.content_names import label
from etl.display.page.theme import FONT, LIGHT, colour_of, name_of
from etl.domain.slices import ReportType, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from etl.diagnostics.page_data import Day, Figures

# Of the JavaScript that draws: the version Altair writes for, without its patch level.
VEGA_LITE: Final = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])

_HOUR_S: Final = 3600
TOP: Final = 10
# Days up to which each, and months from which each first, is named on the axis; in between it is Mondays.
_DAYS_NAMED: Final = 10
_MONDAYS_NAMED: Final = 70


def hours(seconds: Decimal) -> float:
    """For drawing; the tables have the exact figures."""
    return float(seconds / _HOUR_S)


def watch_time(figures: Figures) -> alt.LayerChart:
    """Hours per day, the streaming types stacked; days on which a report is missing are marked."""
    values = [
        {
            "date": day.report_date.isoformat(),
            "type": kind.label,
            "place": place,
            "hours": hours(day.kinds.get(kind, Decimal(0))),
            "provisional": day.provisional,
        }
        for day in figures.days
        for place, kind in enumerate(figures.kinds)
        if kind.report_type not in day.missing
    ]
    bars = (
        _chart(values)
        .mark_bar()
        .encode(
            x=_days_axis(figures.days),
            y=alt.Y("hours:Q", title="hours", stack="zero", axis=alt.Axis(format=",f", tickCount=5)),
            color=alt.Color("type:N", scale=_kinds(figures), legend=alt.Legend(title=None, orient="top")),
            opacity=alt.when("datum.provisional").then(alt.value(0.6)).otherwise(alt.value(1)),
            order=alt.Order("place:Q", sort="ascending"),
        )
        .properties(name="sums")
    )
    return _layers(*_gaps(figures), bars).properties(height=230)


def viewers(figures: Figures) -> alt.LayerChart:
    """Identified customers per day; the line breaks where there is no report, and a day with one report is hollow."""
    values = [
        {"date": day.report_date.isoformat(), "viewers": day.viewers, "partial": bool(day.missing)}
        for day in figures.days
    ]
    base = _chart(values).encode(
        x=_days_axis(figures.days),
        y=alt.Y("viewers:Q", title="viewers", axis=alt.Axis(format=",f", tickCount=4), scale=alt.Scale(zero=True)),
    )
    line = base.mark_line(color=LIGHT["viewers"], strokeWidth=2, invalid="break-paths-show-path-domains")
    points = (
        base.transform_filter("datum.viewers != null")
        .mark_point(filled=True, size=42, opacity=1, stroke=LIGHT["viewers"], strokeWidth=1.5)
        .encode(fill=alt.when("datum.partial").then(alt.value(LIGHT["paper"])).otherwise(alt.value(LIGHT["viewers"])))
    )
    layers = (*_gaps(figures), line.properties(name="trend"), points.properties(name="counts"))
    return _layers(*layers).properties(height=215)


def top_content(figures: Figures) -> alt.LayerChart:
    """The most watched content items, the streaming types stacked; each title is above its bar."""
    shown = [(one, content_seconds(figures, one)) for one in figures.top[:TOP]]
    values = [
        {"place": one.place, "type": kind.label, "order": order, "hours": hours(seconds.get(kind, Decimal(0)))}
        for one, seconds in shown
        for order, kind in enumerate(figures.kinds)
    ]
    labels = [
        {
            "place": one.place,
            "title": f"{one.place}. {label(one)}",
            "sum": f"{hours(sum(seconds.values(), Decimal(0))):,.1f} h",
        }
        for one, seconds in shown
    ]
    place = alt.Y("place:O", axis=None, scale=alt.Scale(paddingInner=0.1))
    bars = (
        _chart(values)
        .mark_bar(height=11, yOffset=9)
        .encode(
            x=alt.X("hours:Q", axis=None, stack="zero"),
            y=place,
            color=alt.Color("type:N", scale=_kinds(figures), legend=alt.Legend(title=None, orient="top")),
            order=alt.Order("order:Q", sort="ascending"),
        )
    )
    named = _chart(labels).encode(y=place)
    style: dict[str, Any] = {"baseline": "bottom", "dy": 2, "fontSize": 12.5, "color": LIGHT["ink"]}
    titles = named.mark_text(align="left", limit=alt.ExprRef("width - 90"), **style).encode(
        x=alt.value(0), text="title:N"
    )
    sums = named.mark_text(align="right", **style).encode(x=alt.value("width"), text="sum:N")
    layers = (bars.properties(name="content"), titles.properties(name="titles"), sums.properties(name="totals"))
    return _layers(*layers).properties(height=36 * len(shown))


def coverage(figures: Figures) -> alt.LayerChart:
    """The calendar as a chart, for the image: a row per week, and per date a cell for LIVE and one for VOD."""
    values = [
        {
            "week": f"{monday_of(one.slice.report_date):%-d %b}",
            "weekday": WEEKDAYS[one.slice.report_date.weekday()],
            "report": one.slice.report_type.value,
            "state": one.shown_as,
            "sign": SIGNS[one.shown_as],
            "solid": one.shown_as not in _HOLLOW,
        }
        for one in figures.slices
    ]
    states = [state for state in SIGNS if any(one.shown_as == state for one in figures.slices)]
    weeks = list(dict.fromkeys(str(value["week"]) for value in values))
    colours = alt.Scale(domain=states, range=[LIGHT[name_of(state)] for state in states])
    base = _chart(values).encode(
        x=alt.X("weekday:O", scale=alt.Scale(domain=list(WEEKDAYS)), title=None,
                axis=alt.Axis(orient="top", labelAngle=0, ticks=False, domain=False)),
        y=alt.Y("week:O", sort=weeks, title=None, axis=alt.Axis(ticks=False, domain=False)),
        xOffset=alt.XOffset("report:N", scale=alt.Scale(domain=[one.value for one in ReportType])),
    )  # fmt: skip
    cells = base.mark_rect(strokeWidth=1.5, cornerRadius=3, width=alt.RelativeBandSize(0.86), height=17).encode(
        stroke=alt.Stroke("state:N", scale=colours, legend=None),
        fill=alt.when("datum.solid").then(alt.Fill("state:N", scale=colours, legend=None)).otherwise(
            alt.value(LIGHT["paper"])
        ),
    )  # fmt: skip
    signs = base.mark_text(fontSize=11, fontWeight="bold").encode(
        text="sign:N", color=alt.when("datum.solid").then(alt.value(LIGHT["paper"])).otherwise(alt.value(LIGHT["ink"]))
    )
    return _layers(cells.properties(name="cells"), signs).properties(height=alt.Step(24))


# Where there is no report the cell is not filled.
_HOLLOW: Final = frozenset({State.EMPTY.value, PRESUMED_EMPTY, NEVER_TRIED, State.UNAVAILABLE.value})


def config() -> dict[str, Any]:
    """What all charts have in common."""
    return {
        "background": LIGHT["paper"],
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": LIGHT["soft"],
            "titleColor": LIGHT["soft"],
            "gridColor": LIGHT["line"],
            "domainColor": LIGHT["line"],
            "tickColor": LIGHT["line"],
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
        },
        "legend": {"labelColor": LIGHT["ink"], "labelFontSize": 12, "symbolType": "square"},
        "title": {"color": LIGHT["ink"], "subtitleColor": LIGHT["soft"], "anchor": "start"},
    }


def _chart(values: Sequence[Mapping[str, object]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(list(values)))


def _layers(*charts: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(charts))


def _days_axis(days: Sequence[Day]) -> alt.X:
    """Every date has its place, even without data. Dates are strings, so that no time zone shifts them."""
    dates = [day.report_date for day in days]
    return alt.X(
        "date:O",
        title=None,
        scale=alt.Scale(domain=[day.isoformat() for day in dates], paddingInner=0.18, paddingOuter=0.09),
        axis=alt.Axis(
            values=[day.isoformat() for day in _named(dates)],
            labelExpr="utcFormat(utc(slice(datum.value, 0, 4), +slice(datum.value, 5, 7) - 1, +slice(datum.value, 8)), "
            "'%-d %b')",
            labelAngle=0,
            labelOverlap="greedy",
        ),
    )


def _named(dates: Sequence[date]) -> list[date]:
    if len(dates) <= _DAYS_NAMED:
        return list(dates)
    if len(dates) <= _MONDAYS_NAMED:
        return [day for day in dates if not day.weekday()]
    return [day for day in dates if day.day == 1]


def _gaps(figures: Figures) -> tuple[alt.Chart, alt.Chart]:
    """A band over each day on which a report is missing, and a question mark over each stretch of them."""
    missing = [day for day in figures.days if day.missing]
    bands = [
        {"date": day.report_date.isoformat(), "missing": " and ".join(one.value for one in day.missing)}
        for day in missing
    ]
    stretches: list[list[date]] = []
    for day in missing:
        if stretches and stretches[-1][-1] == day.report_date - timedelta(days=1):
            stretches[-1].append(day.report_date)
        else:
            stretches.append([day.report_date])
    marks = [{"date": stretch[len(stretch) // 2].isoformat()} for stretch in stretches]
    axis = _days_axis(figures.days)
    return (
        _chart(bands)
        .mark_rect(fill=LIGHT["gap"], width=alt.RelativeBandSize(1.25))
        .encode(x=axis)
        .properties(name="gaps"),
        _chart(marks)
        .mark_text(text="?", baseline="top", fontWeight="bold", fontSize=13, color=LIGHT["soft"])
        .encode(x=axis, y=alt.value(3)),
    )


def _kinds(figures: Figures) -> alt.Scale:
    return alt.Scale(
        domain=[kind.label for kind in figures.kinds], range=[LIGHT[colour_of(kind)] for kind in figures.kinds]
    )
