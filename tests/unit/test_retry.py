"""How often, how long, and how evenly is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from etl.domain.errors import SourceUnavailable
from etl.domain.outcome import Pause
from etl.extract.retry import (
    BROKEN,
    MAX_RETRY_AFTER_S,
    PASSING,
    FailureKind,
    RetryableError,
    RetryPolicy,
    ThroughputGuard,
)

NOON = datetime(2023, 7, 5, 12, tzinfo=UTC)


class FakeTime:
    def __init__(self, chance: float = 1.0) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.policy = RetryPolicy(
            sleep=self.sleep,
            clock=lambda: self.now_s,
            now=lambda: NOON + timedelta(seconds=self.now_s),
            chance=lambda: chance,
        )

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


def again(trouble: FailureKind = PASSING, retry_after_s: float | None = None) -> RetryableError:
    return RetryableError(SourceUnavailable(trouble.name, next_step="wait"), trouble, retry_after_s)


def run(time: FakeTime, *outcomes: RetryableError | None, total_s: float = 10_000) -> int:
    """Attempts that fail in turn, the last outcome for ever; None succeeds with the number of attempts."""
    attempts = 0

    def attempt() -> int:
        nonlocal attempts
        attempts += 1
        outcome = outcomes[min(attempts, len(outcomes)) - 1]
        if outcome:
            raise outcome
        return attempts

    try:
        return time.policy.retry(attempt, total_s=total_s)
    except SourceUnavailable:
        return -attempts


def test_pauses_widen_and_the_last_error_is_raised_itself() -> None:
    time, last = FakeTime(), again()
    with pytest.raises(SourceUnavailable) as caught:
        time.policy.retry(lambda: (_ for _ in ()).throw(last), total_s=10_000)
    assert caught.value is last.error
    assert time.pauses == [1, 2, 4, 8]


def test_pauses_are_jittered_over_the_whole_window() -> None:
    time = FakeTime(chance=0.25)
    run(time, again())
    assert time.pauses == [0.25, 0.5, 1, 2]


def test_no_pause_is_longer_than_a_minute() -> None:
    time = FakeTime()
    run(time, again(FailureKind("stubborn", 10)))
    assert max(time.pauses) == 60


def test_each_kind_of_trouble_has_its_own_limit() -> None:
    passing, broken = again(PASSING), again(BROKEN)
    assert run(FakeTime(), passing, passing, passing, passing, None) == 5
    assert run(FakeTime(), passing) == -5
    assert run(FakeTime(), broken) == -2
    assert run(FakeTime(), passing, passing, passing, broken, None) == 5
    assert run(FakeTime(), broken, passing, broken) == -3


def test_the_last_attempt_is_made_when_the_time_is_up() -> None:
    time = FakeTime()
    assert run(time, again(), total_s=5) == -4
    assert time.pauses == [1, 2, 2]


@pytest.mark.parametrize(("asked_for_s", "pause_s"), [(0, 1), (30, 30), (10**9, MAX_RETRY_AFTER_S), (None, 1)])
def test_the_pause_asked_for_is_kept_within_reason(asked_for_s: float | None, pause_s: float) -> None:
    time = FakeTime()
    assert run(time, again(retry_after_s=asked_for_s), None) == 2
    assert time.pauses == [pause_s]


def test_anything_else_is_raised_at_once() -> None:
    def attempt() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        FakeTime().policy.retry(attempt, total_s=10)


def test_retries_are_counted() -> None:
    told: list[Pause] = []
    outcomes = iter([again(), again(retry_after_s=7)])

    def attempt() -> str:
        for outcome in outcomes:
            raise outcome
        return "done"

    assert FakeTime().policy.retry(attempt, total_s=10, on_retry=told.append) == "done"
    assert told == [Pause("passing", 1, 1.0), Pause("passing", 2, 7.0)], "why, how often, and how long until the next"


def test_who_waits_for_an_answer_is_told_until_when() -> None:
    told: list[tuple[int, float, float]] = []
    time = FakeTime()
    answers = iter(["no", "no", "yes"])

    def wait(attempt: int, pause_s: float, left_s: float) -> None:
        told.append((attempt, pause_s, left_s))

    assert time.policy.poll(lambda: next(answers), until=lambda answer: answer == "yes", budget_s=900, on_wait=wait)
    assert told == [(1, 15.0, 900.0), (2, 30.0, 885.0)]


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("budget_s", [0, 1, 14, 15, 100, 900, 7200])
def test_polling_ends_exactly_with_its_budget(budget_s: float, chance: float) -> None:
    time = FakeTime(chance)
    assert time.policy.poll(lambda: "no", until=lambda answer: answer == "yes", budget_s=budget_s) == "no"
    assert time.now_s == pytest.approx(budget_s)
    assert all(pause >= 7.5 for pause in time.pauses[:-1])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"retry-after": ""}, None, id="empty"),
        pytest.param({"retry-after": "120"}, 120, id="seconds"),
        pytest.param({"retry-after": " 7 "}, 7, id="blanks"),
        pytest.param({"retry-after": "-1"}, None, id="negative"),
        pytest.param({"retry-after": "1.5"}, None, id="fraction"),
        pytest.param({"retry-after": "١٢"}, None, id="foreign digits"),
        pytest.param({"retry-after": "9" * 400}, float("inf"), id="beyond all numbers"),
        pytest.param({"retry-after": "soon"}, None, id="word"),
        pytest.param({"retry-after": "Wed, 05 Jul 2023 12:02:00 GMT"}, 120, id="date"),
        pytest.param({"retry-after": "Wed, 05 Jul 2023 11:00:00 GMT"}, 0, id="date that is past"),
        pytest.param({"retry-after": "Wed, 05 Jul 2023 12:02:00 -0000"}, 120, id="date without zone"),
        pytest.param({"retry-after": "Wed, 99 Jul 2023 12:02:00 GMT"}, None, id="no such date"),
        pytest.param(
            {"retry-after": "Wed, 05 Jul 2023 18:02:00 GMT", "date": "Wed, 05 Jul 2023 18:00:00 GMT"},
            120,
            id="by the server's clock",
        ),
    ],
)
def test_retry_after_is_understood_or_left(headers: dict[str, str], seconds: float | None) -> None:
    assert FakeTime().policy.retry_after_s(headers) == seconds


def test_a_pace_is_judged_over_whole_windows() -> None:
    time = FakeTime()
    pace = ThroughputGuard(lambda: time.now_s)
    assert not pace.is_too_slow(1)
    time.now_s = 61
    assert not pace.is_too_slow(600_000)
    time.now_s = 100
    assert not pace.is_too_slow(0)
    time.now_s = 121
    assert pace.is_too_slow(599_999)
