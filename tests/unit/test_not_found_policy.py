"""What a 404 means: the decision table, row by row."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest

from etl.domain.errors import ExitCode
from etl.domain.outcome import Result
from etl.domain.slices import ReportType, Slice, State
from etl.pipeline.not_found_policy import Meaning, NotFound, meaning_of, new_state, outcome_of

SLICE = Slice(date(2026, 11, 16), ReportType.VOD)
EVIDENCE = ("LIVE of that date exists",)


def _answer(
    *, asks: int = 2, settled: bool = True, revision: bool = False, seen: bool = False, evidence: bool = False
) -> NotFound:
    return NotFound(
        asks,
        is_settled=settled,
        has_revision=revision,
        report_seen=seen,
        evidence=EVIDENCE if evidence else (),
    )


@pytest.mark.parametrize(
    ("answer", "meaning", "state", "result", "code"),
    [
        (_answer(revision=True, seen=True), Meaning.WITHDRAWN, None, Result.WITHDRAWN, ExitCode.OK),
        (_answer(seen=True), Meaning.WITHDRAWN_UNACCEPTED, None, Result.WITHDRAWN, ExitCode.DATA_REFUSED),
        (_answer(settled=False), Meaning.NOT_PUBLISHED, State.UNAVAILABLE, Result.UNAVAILABLE, ExitCode.OK),
        (_answer(asks=1), Meaning.NOT_PUBLISHED, State.UNAVAILABLE, Result.UNAVAILABLE, ExitCode.OK),
        (_answer(evidence=True), Meaning.PRESUMED_EMPTY, State.EMPTY, Result.EMPTY, ExitCode.OK),
        (_answer(), Meaning.UNEXPLAINED, State.UNAVAILABLE, Result.UNAVAILABLE, ExitCode.OK),
    ],
)
def test_each_row_of_the_table(
    answer: NotFound, meaning: Meaning, state: State | None, result: Result, code: ExitCode
) -> None:
    outcome = outcome_of(SLICE, answer)
    assert (meaning_of(answer), new_state(meaning), outcome.result, outcome.exit_code) == (meaning, state, result, code)


@pytest.mark.parametrize(("asks", "settled", "seen", "evidence"), [*product((1, 2), *[(False, True)] * 3)])
def test_what_was_loaded_stays_whatever_else_is_known(asks: int, *, settled: bool, seen: bool, evidence: bool) -> None:
    answer = _answer(asks=asks, settled=settled, revision=True, seen=seen, evidence=evidence)
    assert new_state(meaning_of(answer)) is None


@pytest.mark.parametrize(("asks", "settled", "evidence"), [*product((1, 2), *[(False, True)] * 2)])
def test_a_report_that_was_seen_is_never_taken_for_no_viewing(asks: int, *, settled: bool, evidence: bool) -> None:
    assert meaning_of(_answer(asks=asks, settled=settled, seen=True, evidence=evidence)) is Meaning.WITHDRAWN_UNACCEPTED
