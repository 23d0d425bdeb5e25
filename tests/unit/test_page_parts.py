"""The page's parts that need neither a database nor a browser."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from etl.diagnostics.page_data import Change, Content, Day, Figures, Kind, Views
from etl.diagnostics.status import NEVER_TRIED, PRESUMED_EMPTY, SIGNS, merge
from etl.display.page import image_charts, missing_fonts, render, theme
from etl.display.page.content_names import label
from etl.domain.slices import ReportType, State, dates_between, slices_of
from etl.warehouse.freshness import Overview

FIRST = date(2026, 1, 1)


def test_states_have_the_signs_that_status_has() -> None:
    assert {*SIGNS} == {*(state.value for state in State), PRESUMED_EMPTY, NEVER_TRIED}
    for scheme in (theme.LIGHT, theme.DARK):
        assert {theme.name_of(state) for state in SIGNS} <= scheme.keys()


def test_both_schemes_have_the_same_colours() -> None:
    assert theme.LIGHT.keys() == theme.DARK.keys()


@pytest.mark.parametrize(("days", "labels"), [(1, 1), (10, 10), (28, 4), (70, 10), (366, 13)])
def test_an_axis_of_any_length_has_a_few_labels(days: int, labels: int) -> None:
    dates = [*dates_between(FIRST, FIRST + timedelta(days=days - 1))]
    assert len(image_charts._named(dates)) == labels


@pytest.mark.parametrize(
    ("title", "called"),
    [
        pytest.param("Nuit d'été", "Nuit d'été", id="plain"),
        pytest.param("  ", "c1", id="blank"),
        pytest.param("a\u202eb\u2066c\n\x00d", "abc d", id="layout"),
        pytest.param("a\nb\tc\r\nd\x85e\u2028f\u2029g\x0bh \n i", "a b c d e f g h i", id="line ends and tabs"),
        pytest.param("\t\na\u3000b  c\r\n", "a\u3000b  c", id="other spaces stay"),
        pytest.param("a\x1b[31mb\x07", "a[31mb", id="what steers a terminal"),
        pytest.param("\n\t", "c1", id="nothing but line ends"),
        pytest.param("\u05e9\u200f!", "\u05e9\u200f!", id="marks of direction stay"),
        pytest.param("\u202e", "c1", id="nothing but an override"),
        pytest.param("\u200b", "c1", id="nothing but a space of no width"),
        pytest.param(" \u200b\u3164\ufe0f\u2800\xad ", "c1", id="nothing that is seen"),
        pytest.param("\u200b \u202eNuit\u2066 ", "Nuit", id="around a title"),
        pytest.param("\u2764\ufe0f", "\u2764\ufe0f", id="heart in colour"),
        pytest.param("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469", id="joined emoji"),
    ],
)
def test_a_content_is_called_by_its_title_without_what_steers_layout(title: str, called: str) -> None:
    assert label(Content(1, "c1", title, [])) == called


def test_a_content_whose_id_cannot_be_seen_either_still_has_a_label() -> None:
    assert label(Content(1, "\u200b\u202e", "\u200b", [])) == r"'\u200b\u202e'"


def test_a_year_with_a_hundred_contents_is_under_two_megabytes() -> None:
    """Each watched daily in two streaming types, by people with and without a name."""
    last = FIRST + timedelta(days=365)
    dates = [*dates_between(FIRST - timedelta(days=366), last)]
    kinds = [Kind(ReportType.LIVE, "LIVE"), Kind(ReportType.LIVE, "LIVE_TO_VOD")]
    seconds = Decimal("1234567.891")
    days = [
        Day(day, dict.fromkeys(ReportType, 2 * seconds), dict.fromkeys(kinds, seconds), seconds, 123_456, False)
        for day in dates
    ]
    figures = Figures(
        FIRST, last, datetime(2027, 1, 2, tzinfo=UTC), "an-organization",
        overview=Overview(FIRST, last, freshness=(), gaps=(), late=(), presumed=()),
        slices=merge({}, slices_of(dates_between(FIRST, last))),
        days=days[366:], before=days[:366], contents=100_000, contents_since=FIRST, is_cut=False,
        restatements=[], open=[],
        top=[
            Content(
                place, f"0f8fad5b-d9cb-469f-a165-70867728{place:04}", f"A title of medium length, number {place}",
                [Views(day, kind, seconds, seconds / 2) for day in dates[366:] for kind in kinds],
            )
            for place in range(1, 101)
        ],
    )  # fmt: skip
    assert len(render.html(figures).encode()) < 2_000_000


@pytest.mark.parametrize(
    ("now", "before", "left_out", "told"),
    [
        (110, 100, 0, "+10.0% from the day before"),
        (90, 100, 1, "\u221210.0% from the day before; like for like, 1 report left out"),
        (1, 0, 2, "no report from the day before to compare with"),
    ],
)
def test_a_change_says_what_it_is_compared_with(now: int, before: int, left_out: int, told: str) -> None:
    assert render._changed(Change(Decimal(now), Decimal(before), left_out), "the day before") == told


def test_commands_and_dates_in_a_sentence_stay_whole() -> None:
    told = render._sentence("to <load>: `watch-time backfill --start 2026-01-01`")
    assert told == (
        'to &lt;load&gt;: <code><span class="whole">watch-time</span> backfill <span class="whole">--start</span> '
        '<span class="whole">2026-01-01</span></code>'
    )


def test_scripts_that_no_font_has_are_found() -> None:
    assert missing_fonts.missing_scripts(["plain, d\u00e9j\u00e0 vu", ""]) == {}
    assert missing_fonts.missing_scripts(["\U00010570"]) == {"VITHKUQI": "\U00010570"}


def test_hours_are_a_3600th() -> None:
    assert image_charts.hours(Decimal(5400)) == 1.5


@pytest.mark.parametrize("scheme", [pytest.param(theme.LIGHT, id="light"), pytest.param(theme.DARK, id="dark")])
def test_colours_stand_out(scheme: dict[str, str]) -> None:
    """Contrast after WCAG 2: 4.5 for text, 3 for what is drawn."""
    for ground in ("paper", "sheet"):
        for name in ("ink", "soft"):
            assert _contrast(scheme[name], scheme[ground]) >= 4.5
    for name in ("loaded", "empty", "presumed-empty", "unavailable", "held", "failed"):
        assert _contrast(scheme[name], scheme["paper"]) >= 4.5
    for name in ("live", "live-other", "vod", "vod-other", "viewers", "never-tried"):
        assert _contrast(scheme[name], scheme["paper"]) >= 3


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [part / 255 for part in bytes.fromhex(colour[1:])]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
