"""The data that the page's script computes with, as JSON in the page."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from etl.display.page import theme
from etl.display.page.content_names import label
from etl.domain.slices import ReportType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from etl.diagnostics.page_data import Content, Figures, Kind

# Whole numbers above it are not exact in JavaScript.
_LARGEST: Final = 2**53 - 1


def script_data(figures: Figures) -> Markup:
    """JSON for a script element: no text in it can end that element, or begin a comment."""
    text = json.dumps(_data(figures), ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704 - escaped here


def _data(figures: Figures) -> dict[str, Any]:
    """What the script computes with: a number per day, from the first that is compared; seconds as whole units."""
    days = [*figures.before, *figures.days]
    places = {day.report_date: place for place, day in enumerate(days)}
    kinds = figures.kinds
    units = _units(figures)
    return {
        "first": days[0].report_date.isoformat(),
        "start": figures.start.isoformat(),
        "end": figures.end.isoformat(),
        "units": units,
        "kinds": [
            {"label": kind.label, "report": kind.report_type.value, "colour": theme.colour_of(kind)} for kind in kinds
        ],
        "there": {
            report_type.value: [int(day.seconds[report_type] is not None) for day in days] for report_type in ReportType
        },
        "seconds": [
            [
                _whole(day.kinds.get(kind, Decimal(0)), units) if kind.report_type not in day.missing else 0
                for day in days
            ]
            for kind in kinds
        ],
        "anonymous": [_whole(day.anonymous, units) for day in days],
        "viewers": [day.viewers for day in days],
        "provisional": [int(day.provisional) for day in days],
        "late": [[slice_.report_date.isoformat(), slice_.report_type.value] for slice_ in figures.late],
        "contents": figures.contents,
        "contentsSince": places[figures.contents_since],
        "top": [_content(content, kinds, places, units) for content in figures.top],
    }


def _content(content: Content, kinds: Sequence[Kind], places: Mapping[date, int], units: int) -> dict[str, Any]:
    def row(numbers: Sequence[tuple[date, Decimal]]) -> list[Any]:
        """The place of the first day, and a number for each from there on."""
        if not numbers:
            return [0, []]
        first = places[numbers[0][0]]
        values = [0] * (places[numbers[-1][0]] - first + 1)
        for day, seconds in numbers:
            values[places[day] - first] += _whole(seconds, units)
        return [first, values]

    return {
        "id": content.content_id,
        "title": label(content),
        "kinds": {
            place: row([(one.report_date, one.seconds) for one in content.views if one.kind == kind])
            for place, kind in enumerate(kinds)
            if any(one.kind == kind for one in content.views)
        },
        "anonymous": row([(one.report_date, one.anonymous) for one in content.views if one.anonymous]),
    }


def _units(figures: Figures) -> int:
    """How many units a second has, so that all sums are whole numbers, and exact in JavaScript."""
    numbers = [
        *(seconds for day in (*figures.before, *figures.days) for seconds in (*day.kinds.values(), day.anonymous)),
        *(number for content in figures.top for one in content.views for number in (one.seconds, one.anonymous)),
    ]
    places = max((_decimals(number) for number in numbers), default=0)
    total = sum((day.total for day in (*figures.before, *figures.days)), Decimal(0))
    while places and total.scaleb(places) > _LARGEST:
        places -= 1
    return int(10**places)


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _whole(seconds: Decimal, units: int) -> int:
    return int((seconds * units).to_integral_value(ROUND_HALF_UP))
