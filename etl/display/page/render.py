"""The page as HTML: the template, with style, data and JavaScript in it, under a policy that forbids any request."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import jinja2
import vl_convert
from markupsafe import Markup

from etl import __version__
from etl.diagnostics.status import SIGNS
from etl.display.number_format import in_days
from etl.display.page import charts, theme
from etl.domain.slices import ReportType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from etl.diagnostics.page_data import Figures

_FONT: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOUR_S: Final = 3600
# What of the bundle the page's own script uses.
_OFFERED: Final = "window.vegaEmbed = vegaEmbed;"
# Characters of a title for which the chart has room on a phone.
_SHORT: Final = 36


def html(figures: Figures) -> str:
    """The whole page."""
    library = vl_convert.javascript_bundle(_OFFERED, vl_version=charts.VEGA_LITE)
    script = _part("page.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "css": theme.name_of,
        "exact": _exact,
        "hours": _hours,
        "in_days": in_days,
        "label": charts.label,
        "share": _share,
        "signed": _signed,
        "thousands": _thousands,
    }
    environment.tests["long"] = lambda title: len(title) > _SHORT
    counts = Counter(one.shown_as for one in figures.slices)
    return environment.from_string(_part("page.html.j2")).render(
        figures=figures,
        types=tuple(ReportType),
        weekdays=_WEEKDAYS,
        weeks=list(_weeks(figures)),
        states={state: counts[state] for state in SIGNS if counts[state]},
        signs=SIGNS,
        light=theme.LIGHT,
        dark=theme.DARK,
        version=__version__,
        policy=_policy(library, script),
        css=Markup(_part("page.css")),  # noqa: S704 - our own file
        charts=_as_data(_specs(figures)),
        library=Markup(library),  # noqa: S704 - the library's own text; it is hashed as it stands
        script=Markup(script),  # noqa: S704 - our own file
    )


def _specs(figures: Figures) -> dict[str, Any]:
    drawn = {} if figures.is_bare else {"watch_time": charts.watch_time, "viewers": charts.viewers}
    if figures.top:
        drawn["top_content"] = charts.top_content
    # As wide as the place they have, on every screen.
    sized = {
        name: draw(figures, theme.variable).properties(
            width="container", autosize={"type": "fit-x", "contains": "padding"}
        )
        for name, draw in drawn.items()
    }
    return {
        "config": charts.config(theme.variable, _FONT),
        "charts": {name: chart.to_dict() for name, chart in sized.items()},
    }


def _as_data(document: object) -> Markup:
    """JSON for a script element: no text in it can end that element, or begin a comment."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704 - escaped here


def _policy(*scripts: str) -> str:
    """Nothing may be asked for, and no script may run but these; Vega sets styles on what it draws."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _weeks(figures: Figures) -> Iterator[tuple[date, list[dict[str, Any] | None]]]:
    days = {
        day.report_date: {
            "date": day.report_date,
            "provisional": day.provisional,
            "slices": [one for one in figures.slices if one.slice.report_date == day.report_date],
        }
        for day in figures.days
    }
    for monday in sorted({day - timedelta(days=day.weekday()) for day in days}):
        yield monday, [days.get(monday + timedelta(days=offset)) for offset in range(len(_WEEKDAYS))]


def _part(name: str) -> str:
    return resources.files("etl.display.page").joinpath(name).read_text(encoding="utf-8")


def _hours(seconds: Decimal, places: int) -> str:
    return f"{(seconds / _HOUR_S).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,f}"


def _share(seconds: Decimal, total: Decimal) -> str:
    return f"{100 * seconds / total:.1f} %" if total else "-"


def _exact(seconds: Decimal) -> str:
    return f"{seconds:,f}"


def _signed(seconds: Decimal) -> str:
    return f"{seconds:+,f}".replace("-", "−")  # noqa: RUF001 - a minus, as wide as the plus


def _thousands(count: int) -> str:
    return f"{count:,}"
