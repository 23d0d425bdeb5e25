"""Retries, polling and rate limits of the two stages that use the network.

Clock, sleep and randomness are parameters. The last error is raised unchanged, never wrapped.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, retry_if_result

from etl.domain.outcome import Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from etl.domain.errors import WatchTimeError

T = TypeVar("T")

# The window of the first pause; each further one is twice as wide. A failure that lasts a second costs a second.
_BACKOFF_S: Final = 1.0
# A window of more than a minute does not help: the total time is bounded anyway.
_MAX_BACKOFF_S: Final = 60.0
# No server has reason to make a daily job wait longer; a larger Retry-After is a mistake.
MAX_RETRY_AFTER_S: Final = 900.0

# Polling for a report that is not published yet: at first after about 15 seconds, later every five minutes.
_FIRST_POLL_S: Final = 15.0
_MAX_POLL_S: Final = 300.0

# Slower than 10 kB a second over a minute is not slow but broken: a new connection is more likely to work.
_PACE_WINDOW_S: Final = 60.0
_MIN_BYTES_PER_WINDOW: Final = 600_000


@dataclass(frozen=True, slots=True)
class FailureKind:
    """A kind of failure, and how many times it may occur before giving up."""

    name: str
    limit: int


# The server is busy, down or unreachable; this passes.
PASSING: Final = FailureKind("passing", 5)
# The response makes no sense. Once, it may be a captive portal or an unfinished deployment.
BROKEN: Final = FailureKind("broken", 2)


class RetryableError(Exception):
    """An attempt failed and is worth repeating.

    Attributes:
        error: what to raise if it is not repeated.
        trouble: the kind of failure.
        retry_after_s: the pause that the server asked for.
    """

    def __init__(
        self, error: WatchTimeError, trouble: FailureKind = PASSING, retry_after_s: float | None = None
    ) -> None:
        super().__init__(error)
        self.error = error
        self.trouble = trouble
        self.retry_after_s = retry_after_s


def is_temporary(status: int) -> bool:
    """Whether a retry may succeed: a timeout, too many requests, or a server error."""
    temporary = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
    return status in temporary or status >= HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries with backoff; clock, sleep and randomness can be replaced.

    Attributes:
        sleep: waits that many seconds; may raise to stop retrying (`Stop.sleep`).
        clock: seconds, monotonic.
        now: the wall clock, in UTC; for servers that name a time of day.
        chance: a random number, uniformly distributed from 0 to 1.
    """

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random

    def retry(self, attempt: Callable[[], T], *, total_s: float, on_retry: Callable[[Pause], None] | None = None) -> T:
        """Repeat `attempt` while it raises `RetryableError`, within each kind's limit and `total_s` seconds.

        Pauses are exponential with full jitter, and not shorter than the server asked for. The last attempt is made
        when the time is up, not skipped because a pause would last longer.

        Raises:
            WatchTimeError: the error of the last `RetryableError`.
        """
        deadline_s = self.clock() + total_s
        met: Counter[FailureKind] = Counter()

        def is_enough(state: RetryCallState) -> bool:
            again = _raised(state)
            met[again.trouble] += 1
            return met[again.trouble] >= again.trouble.limit or self.clock() >= deadline_s

        def pause_s(state: RetryCallState) -> float:
            backoff_s = self.chance() * min(_MAX_BACKOFF_S, _BACKOFF_S * 2.0 ** (state.attempt_number - 1))
            asked_for_s = min(_raised(state).retry_after_s or 0.0, MAX_RETRY_AFTER_S)
            return max(0.0, min(max(backoff_s, asked_for_s), deadline_s - self.clock()))

        try:
            return Retrying(
                retry=retry_if_exception_type(RetryableError),
                stop=is_enough,
                wait=pause_s,
                sleep=self.sleep,
                before_sleep=(lambda state: on_retry(_retry_of(state))) if on_retry else None,
                reraise=True,
            )(attempt)
        except RetryableError as again:
            raise again.error from None

    def poll(
        self,
        ask: Callable[[], T],
        *,
        until: Callable[[T], bool],
        budget_s: float,
        on_wait: Callable[[int, float, float], None] = lambda _attempt, _pause_s, _left_s: None,
    ) -> T:
        """Repeat `ask`, less and less often, until it succeeds or `budget_s` seconds have passed.

        `on_wait` is called before each pause with the number of requests, the length of the pause, and the time left.

        Half of each pause is random, so that several runs do not ask in step, and none asks twice at once.
        The last answer is returned either way.
        """
        deadline_s = self.clock() + budget_s

        def pause_s(state: RetryCallState) -> float:
            ceiling_s = min(_MAX_POLL_S, _FIRST_POLL_S * 2.0 ** (state.attempt_number - 1))
            return max(0.0, min(ceiling_s * (0.5 + self.chance() / 2), deadline_s - self.clock()))

        return Retrying(
            retry=retry_if_result(lambda answer: not until(answer)),
            stop=lambda _: self.clock() >= deadline_s,
            wait=pause_s,
            sleep=self.sleep,
            before_sleep=lambda state: on_wait(state.attempt_number, _pause_s(state), deadline_s - self.clock()),
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )(ask)

    def retry_after_s(self, headers: Mapping[str, str]) -> float | None:
        """The seconds that a Retry-After header asks for, given as a number or as an HTTP date.

        A date is compared with the server's own Date header, because the same clock set both. None if the header is
        missing or invalid.
        """
        text = headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        until = http_date(text)
        if until is None:
            return None
        now = http_date(headers.get("date", "")) or self.now()
        return max(0.0, (until - now).total_seconds())


class RateLimiter:
    """Limits requests to a number per second, evenly spaced, across threads.

    The first passes at once, and each further one a fixed time after the one before: no bursts after a pause.
    """

    def __init__(self, per_second: float | None, retry_policy: RetryPolicy) -> None:
        self._interval_s = 1 / per_second if per_second else 0.0
        self._retry_policy = retry_policy
        self._lock = threading.Lock()
        self._next_s = retry_policy.clock()

    def wait(self) -> None:
        """Sleep until the next request may be made."""
        if not self._interval_s:
            return
        with self._lock:
            now_s = self._retry_policy.clock()
            turn_s = max(now_s, self._next_s)
            self._next_s = turn_s + self._interval_s
        if turn_s > now_s:
            self._retry_policy.sleep(turn_s - now_s)


class ThroughputGuard:
    """Detects a transfer that is too slow to finish: a timeout per read does not notice a trickle."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._window_start_s = clock()
        self._window_bytes = 0

    def is_too_slow(self, received_bytes: int) -> bool:
        """Count received bytes; returns whether the window that they complete had too few."""
        self._window_bytes += received_bytes
        now_s = self._clock()
        if now_s - self._window_start_s < _PACE_WINDOW_S:
            return False
        is_slow = self._window_bytes < _MIN_BYTES_PER_WINDOW
        self._window_start_s, self._window_bytes = now_s, 0
        return is_slow


def _raised(state: RetryCallState) -> RetryableError:
    again = state.outcome.exception() if state.outcome else None
    if not isinstance(again, RetryableError):
        raise TypeError("only attempts that raised RetryableError are repeated")
    return again


def _pause_s(state: RetryCallState) -> float:
    return state.next_action.sleep if state.next_action else 0.0


def _retry_of(state: RetryCallState) -> Pause:
    return Pause(str(_raised(state).error), state.attempt_number, _pause_s(state))


def http_date(text: str) -> datetime | None:
    """The time of an HTTP date; None if it is invalid."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
