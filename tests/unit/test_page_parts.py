"""The page's parts that need neither a database nor a browser."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from etl.diagnostics.page_data import Content
from etl.diagnostics.status import NEVER_TRIED, PRESUMED_EMPTY, SIGNS
from etl.display.page import charts, theme
from etl.display.page.titles import label
from etl.domain.slices import State, dates_between

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
    assert len(charts._named(dates)) == labels


@pytest.mark.parametrize(
    ("title", "label"),
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
def test_a_content_is_called_by_its_title_without_what_steers_layout(title: str, label: str) -> None:
    assert label(Content(1, "c1", title, [])) == label


def test_a_content_whose_id_cannot_be_seen_either_still_has_a_label() -> None:
    assert label(Content(1, "\u200b\u202e", "\u200b", [])) == r"'\u200b\u202e'"


def test_hours_are_a_3600th() -> None:
    assert charts.hours(Decimal(5400)) == 1.5


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
