"""The page as HTML: the template, with style, data and JavaScript in it, under a policy that forbids any request.

All tables and sums stand in the HTML. The script draws the charts, and everything anew for what a reader picks.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import jinja2
from markupsafe import Markup, escape

from etl import __version__
from etl.diagnostics.page_data import compare, compare_content, content_seconds
from etl.diagnostics.status import SIGNS
from etl.display.date_ranges import WEEKDAYS, monday_of
from etl.display.number_format import in_days
from etl.display.page import theme
from etl.display.page.content_names import label
from etl.display.page.script_data import script_data
from etl.domain.plurals import plural
from etl.domain.slices import ReportType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etl.diagnostics.page_data import Change, Content, Day, Figures

_WEEK: Final = 7
_HOUR_S: Final = 3600
_TREND_HEIGHT: Final = 100
# Longer words are broken, so that a phone shows them.
_WHOLE: Final = 32


def html(figures: Figures) -> str:
    """The whole page."""
    script = _part("page.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "colour": theme.colour_of,
        "css": theme.name_of,
        "exact": "{:,f}".format,
        "hours": _hours,
        "in_days": in_days,
        "label": label,
        "percent": _percent,
        "sentence": _sentence,
        "share": _share,
        "signed": _signed,
        "thousands": "{:,}".format,
        "unbroken": _unbroken,
    }
    counts = Counter(one.shown_as for one in figures.slices)
    return environment.from_string(_part("page.html.j2")).render(
        figures=figures,
        days=len(figures.days),
        types=tuple(ReportType),
        weekdays=WEEKDAYS,
        weeks=list(_weeks(figures)),
        states={state: counts[state] for state in SIGNS if counts[state]},
        signs=SIGNS,
        changed=_changed,
        on_period_before=compare(figures, figures.start, figures.end, len(figures.days)),
        on_week_before={day: compare(figures, day, day, _WEEK) for day in (one.report_date for one in figures.days)},
        most=max((day.total for day in figures.days), default=Decimal(0)),
        top=[_line(figures, content) for content in figures.top],
        light=theme.LIGHT,
        dark=theme.DARK,
        version=__version__,
        policy=_policy(script),
        css=Markup(_part("page.css")),  # noqa: S704 - our own file
        data=script_data(figures),
        script=Markup(script),  # noqa: S704 - our own file
    )


def _line(figures: Figures, content: Content) -> dict[str, Any]:
    """What the table shows of a content item."""
    seconds = content_seconds(figures, content)
    return {
        "content": content,
        "total": sum(seconds.values(), Decimal(0)),
        "anonymous": sum((one.anonymous for one in content.views if one.report_date >= figures.start), Decimal(0)),
        "change": compare_content(figures, content),
        "kinds": [kind for kind in figures.kinds if seconds.get(kind)],
        "trend": _trend(figures.days, content),
    }


def _trend(days: Sequence[Day], content: Content) -> str:
    """An SVG path, one unit wide per day; interrupted where there is no report."""
    sums: dict[date, Decimal] = {}
    for one in content.views:
        sums[one.report_date] = sums.get(one.report_date, Decimal(0)) + one.seconds
    most = max((sums.get(day.report_date, Decimal(0)) for day in days), default=Decimal(0)) or Decimal(1)
    path, draws = "", False
    for place, day in enumerate(days):
        if len(day.missing) == len(day.seconds):
            draws = False
            continue
        height = _TREND_HEIGHT - _TREND_HEIGHT * sums.get(day.report_date, Decimal(0)) / most
        path += f"{'L' if draws else 'M'}{place} {height:.0f}" + ("" if draws else "h0")
        draws = True
    return path


def _policy(script: str) -> str:
    """No requests, and no script but this one; the widths of bars are inline styles."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
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
    for monday in sorted(set(map(monday_of, days))):
        yield monday, [days.get(monday + timedelta(days=offset)) for offset in range(len(WEEKDAYS))]


def _part(name: str) -> str:
    return resources.files("etl.display.page").joinpath(name).read_text(encoding="utf-8")


def _hours(seconds: Decimal | int, places: int) -> str:
    return f"{(Decimal(seconds) / _HOUR_S).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,f}"


def _share(seconds: Decimal, total: Decimal) -> str:
    return f"{100 * float(seconds) / float(total):.1f}%" if total else "–"  # noqa: RUF001 - a dash: nothing to show


def _percent(change: Change) -> str:
    return "–" if change.percent is None or change.left_out else _signed_percent(change.percent)  # noqa: RUF001


def _signed_percent(percent: float) -> str:
    return f"{percent:+.1f}%".replace("-", "−")  # noqa: RUF001 - a minus, as wide as the plus


def _changed(change: Change, than: str) -> str:
    """`+4.2% from the 28 days before; like for like, 3 reports left out`."""
    if change.percent is None:
        return f"no report from {than} to compare with"
    left_out = f"; like for like, {plural(change.left_out, 'report')} left out" if change.left_out else ""
    return f"{_signed_percent(change.percent)} from {than}{left_out}"


def _sentence(text: str) -> Markup:
    """The text with its commands, which are in backticks, marked up, and with dates and options unbroken."""
    prose_and_commands = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(_unbroken(part)) if place % 2 else _unbroken(part)
        for place, part in enumerate(prose_and_commands)
    )


def _unbroken(text: str) -> Markup:
    """The text with its dates and options unbroken: lines break only between words."""
    words = (
        Markup('<span class="whole">{}</span>').format(word) if "-" in word and len(word) <= _WHOLE else escape(word)
        for word in text.split(" ")
    )
    return Markup(" ").join(words)


def _signed(seconds: Decimal) -> str:
    return f"{seconds:+,f}".replace("-", "−")  # noqa: RUF001 - a minus, as wide as the plus
