"""What one check of `doctor` found: fine, a warning, or a problem with its exit code; and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from etl.domain.errors import ExitCode

if TYPE_CHECKING:
    from etl.domain.errors import WatchTimeError

_RECOMMENDS_DOCTOR: Final = re.compile(r"(; )?to [^;:]*: `watch-time doctor`")
FONTS_NEXT_STEP: Final = "install fonts for these letters; on Debian: `apt-get install fonts-noto-core fonts-noto-cjk`"
_CHECK_PRIVILEGES: Final = "check the names of database and schema, and the user's privileges"


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    next_step: str | None = None
    exit_code: ExitCode = ExitCode.OK

    @classmethod
    def ok(cls, name: str, detail: str) -> Self:
        """All is well."""
        return cls(name, Verdict.OK, detail)

    @classmethod
    def warning(cls, name: str, detail: str, next_step: str | None = None) -> Self:
        """Runs do their work all the same."""
        return cls(name, Verdict.WARNING, detail, next_step)

    @classmethod
    def problem(cls, name: str, error: WatchTimeError) -> Self:
        """A run would end with this error; who reads this has typed `doctor` already."""
        next_step = _RECOMMENDS_DOCTOR.sub("", error.next_step) or _CHECK_PRIVILEGES
        return cls(name, Verdict.PROBLEM, str(error), next_step, error.exit_code)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "check": self.name,
            "verdict": self.verdict.value,
            "detail": self.detail,
            "next_step": self.next_step,
            "exit_code": int(self.exit_code),
        }
