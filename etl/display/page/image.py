"""The page as an image for chat: the same charts, on white, in one column, drawn without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import altair as alt
import vl_convert

from etl.diagnostics.status import SIGNS
from etl.display.number_format import in_days
from etl.display.page import image_charts
from etl.domain.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.diagnostics.page_data import Figures
    from etl.warehouse.freshness import Freshness

# Chats show pictures small: few points, large letters. Drawn at one and a half times, that is 1,200 pixels and a bit.
_WIDTH: Final = 700
_AXIS: Final = 52
_SCALE: Final = 1.5


def png(figures: Figures) -> bytes:
    """The image."""
    parts = []
    if not figures.is_bare:
        parts += [
            _titled(image_charts.watch_time(figures), "Watch time per day", *_marks(figures)),
            _titled(image_charts.viewers(figures), "Viewers per day", *_viewer_notes(figures)),
        ]
    parts.append(_titled(image_charts.coverage(figures), "Coverage", _legend(figures)))
    if figures.top:
        parts.append(_titled(image_charts.top_content(figures), "Top content"))
    page = (
        alt.vconcat(*parts, spacing=30)
        .resolve_scale(color="independent")
        .properties(
            title=alt.TitleParams(
                f"Watch time, {figures.start} to {figures.end}",
                subtitle=list(_heading(figures)),
                fontSize=24,
                subtitleFontSize=14,
                subtitleLineHeight=20,
                subtitlePadding=8,
                offset=24,
            ),
            padding=24,
        )
    )
    return vl_convert.vegalite_to_png(
        page.to_dict(),
        vl_version=image_charts.VEGA_LITE,
        scale=_SCALE,
        config=image_charts.config() | {"axisY": {"minExtent": _AXIS, "maxExtent": _AXIS}},
        # Nothing is fetched: the charts contain all data.
        allowed_base_urls=[],
    )


def _titled(chart: alt.LayerChart, text: str, *below: str) -> alt.LayerChart:
    title = alt.TitleParams(
        text,
        subtitle=list(below),
        fontSize=16,
        subtitleFontSize=13,
        subtitlePadding=4,
        offset=8,
        frame="group",
        # Aligned with the left edge of the image, not of the plot.
        dx=-_AXIS,
    )
    return chart.properties(width=_WIDTH, title=title)


def _marks(figures: Figures) -> Iterator[str]:
    if any(day.missing for day in figures.days):
        yield "grey with ?: one report of that day is missing; only the other is drawn"
    if any(day.provisional for day in figures.days):
        yield "paler: provisional, may still be restated"


def _viewer_notes(figures: Figures) -> Iterator[str]:
    yield "distinct identified customers, without anonymous viewers"
    if uncounted := sum(day.is_uncounted for day in figures.days):
        yield f"not yet counted: {plural(uncounted, 'day')}"


def _legend(figures: Figures) -> str:
    present = {one.shown_as for one in figures.slices}
    return "for each date LIVE, then VOD: " + ",  ".join(
        f"{sign} {state}" for state, sign in SIGNS.items() if state in present
    )


def _heading(figures: Figures) -> Iterator[str]:
    if figures.is_bare:
        yield "Nothing is loaded for this range"
    else:
        there = f"{figures.complete} of {len(figures.slices)} reports loaded"
        yield f"{image_charts.hours(figures.seconds):,.0f} hours; {there}"
    if figures.org_id:
        yield f"organization {figures.org_id}"
    for fresh in figures.overview.freshness:
        yield _fresh(fresh)
    yield f"as of {figures.read_at:%Y-%m-%d %H:%M %Z}"


def _fresh(fresh: Freshness) -> str:
    lag = f"; median lag {in_days(fresh.lag.median)}" if fresh.lag else ""
    return (
        f"{fresh.report_type.value}: newest loaded {fresh.newest_stored or 'none'}, "
        f"complete up to {fresh.complete_up_to or 'none'}{lag}"
    )
