"""Guards: what may replace what is stored, at the limits and on both sides of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from etl.domain.errors import GuardRefused, NothingAcceptable
from etl.domain.pipeline_values import Reject, Tally
from etl.domain.slices import ReportType, Slice
from etl.pipeline.guards import Limits, check_rejects, check_shrinking, override

VOD = Slice(date(2026, 11, 16), ReportType.VOD)
REJECT = Reject(7, "the watch time is negative", "T,c-1,VOD,,customer-1,-5")


def limits(*, rejects: str = "0", shrink: str = "0.5") -> Limits:
    return Limits(Decimal(rejects), Decimal(shrink))


def rejects_pass(read: int, rejected: int, allowed: str) -> bool:
    tally = Tally(read, rejected, first_rejects=[REJECT] * rejected)
    return check_rejects(VOD, tally, limits(rejects=allowed)) is None


def shrinking_passes(
    rows: int, seconds: str, *, rows_stored: int = 100, seconds_stored: str = "1000", shrink: str = "0.5"
) -> bool:
    refused = check_shrinking(
        VOD,
        Tally(rows, watch_seconds=Decimal(seconds)),
        limits(shrink=shrink),
        rows=rows,
        rows_stored=rows_stored,
        seconds_stored=Decimal(seconds_stored),
    )
    return refused is None


@pytest.mark.parametrize(
    ("read", "rejected", "allowed", "passes"),
    [
        pytest.param(10, 0, "0", True, id="none"),
        pytest.param(0, 0, "0", True, id="no line at all"),
        pytest.param(1_000_000, 1, "0", False, id="one, and none is allowed"),
        pytest.param(1000, 10, "0.01", True, id="exactly the share"),
        pytest.param(1000, 11, "0.01", False, id="one more than the share"),
        pytest.param(10, 9, "1", True, id="any share, and one line left"),
        pytest.param(10, 10, "1", False, id="any share, and no line left"),
    ],
)
def test_rejects_pass_up_to_their_share(read: int, rejected: int, allowed: str, passes: bool) -> None:
    assert rejects_pass(read, rejected, allowed) is passes


@pytest.mark.parametrize(
    ("rows", "seconds", "passes"),
    [
        pytest.param(50, "500", True, id="exactly half"),
        pytest.param(49, "500", False, id="fewer rows"),
        pytest.param(50, "499.999999999999999999", False, id="fewer seconds"),
        pytest.param(1, "1000", False, id="seconds alone do not do"),
        pytest.param(0, "0", False, id="a header alone"),
        pytest.param(1000, "10000", True, id="more"),
    ],
)
def test_a_report_may_shrink_to_the_limit(rows: int, seconds: str, passes: bool) -> None:
    assert shrinking_passes(rows, seconds) is passes


def test_a_first_report_may_have_any_size() -> None:
    assert shrinking_passes(0, "0", rows_stored=0, seconds_stored="0")
    assert shrinking_passes(1, "1", rows_stored=0, seconds_stored="0")


def test_without_a_limit_even_a_header_alone_replaces() -> None:
    assert shrinking_passes(0, "0", shrink="0")


def test_rows_without_a_second_may_stay_so() -> None:
    assert shrinking_passes(100, "0", seconds_stored="0")


def test_refusals_give_figures_and_what_to_type_and_no_values() -> None:
    refused = check_rejects(VOD, Tally(10, 1, first_rejects=[REJECT]), limits())
    assert refused is not None
    assert refused.message == "invalid lines: 1 of 10; the first is line 7: the watch time is negative"
    assert "WATCH_TIME_MAX_REJECT_RATIO (currently 0)" in refused.next_step

    refused = check_shrinking(VOD, Tally(), limits(), rows=0, rows_stored=3, seconds_stored=Decimal("1E+3"))
    assert refused is not None
    assert refused.message == "the new report has a header and no rows; the stored report has 3 rows and 1,000 s"
    assert refused.next_step.endswith("watch-time backfill --start 2026-11-16 --end 2026-11-16 --type VOD --accept`")


def test_a_refusal_stands_unless_a_person_asks_for_the_held_report_to_be_accepted() -> None:
    refusal = GuardRefused("too small", next_step="accept it")
    assert override(None, is_held=False, is_asked_for=False) == ()
    assert override(refusal, is_held=True, is_asked_for=True) == ("too small",)
    for is_held in (True, False):
        with pytest.raises(GuardRefused, match=r"^too small$"):
            override(refusal, is_held=is_held, is_asked_for=False)
    with pytest.raises(GuardRefused, match="too small; --accept takes the held report only"):
        override(refusal, is_held=False, is_asked_for=True)


def test_nobody_can_have_a_report_accepted_of_which_no_line_is_valid() -> None:
    with pytest.raises(NothingAcceptable, match=r"^no line$"):
        override(NothingAcceptable("no line", next_step="ask"), is_held=True, is_asked_for=True)
