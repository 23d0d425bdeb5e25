"""Proving that stored slices equal the source's reports, row by row; nothing is changed.

The report is fetched again, or taken from a file, read as a load reads it, and compared by set-based SQL.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from etl.domain.errors import ExitCode, WatchTimeError, WrongUsage, worst
from etl.domain.pipeline_values import ReportNotFound, Tally
from etl.domain.plurals import plural
from etl.domain.slices import dates_between, slices_of
from etl.extract import report_source
from etl.load.difference_load import DifferenceLoad
from etl.pipeline import report_reader
from etl.warehouse import ledger, schema
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from etl.config.settings import Settings
    from etl.domain.slices import ReportType, Slice
    from etl.extract.report_source import Source
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection

# So many differing rows of a slice are listed; they are counted all.
_LISTED: Final = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison of a slice found.

    Attributes:
        compared: whether there was something to compare with.
        missing: rows that only the report has.
        surplus: rows that only the table has.
        changed: rows with other seconds.
        wrong_sums: contents whose sums in `content_daily` are not those of the stored rows.
        first: the first few differing rows, by column name; seconds of both sides.
        message: why nothing was compared, or what is worth knowing.
    """

    slice: Slice
    compared: bool
    rows: int = 0
    missing: int = 0
    surplus: int = 0
    changed: int = 0
    wrong_sums: int = 0
    first: tuple[dict[str, Any], ...] = ()
    message: str | None = None
    next_step: str | None = None
    exit_code: ExitCode = ExitCode.OK

    @property
    def word(self) -> str:
        """The verdict in a word."""
        if not self.compared:
            return "not compared"
        return "differs" if self.exit_code else "equal"

    def as_json(self) -> dict[str, object]:
        """For `--json`; what JSON has no type for is text."""
        return {
            **self.slice.as_json(),
            "verdict": self.word,
            "rows": self.rows,
            "missing": self.missing,
            "surplus": self.surplus,
            "changed": self.changed,
            "wrong_sums": self.wrong_sums,
            "first": list(self.first),
            "message": self.message,
            "next_step": self.next_step,
            "exit_code": int(self.exit_code),
        }


class Verification:
    """An opened warehouse, and where its reports come from."""

    def __init__(self, settings: Settings, database: Database, reports: Source | None) -> None:
        self._settings = settings
        self._database = database
        self._source = reports

    def stored(self, start: date, end: date, report_types: Iterable[ReportType]) -> list[Slice]:
        """The slices of a range that have an accepted revision: what there is to verify.

        Raises:
            WrongUsage: there is none; to say "all equal" then would be misread.
        """
        known = self._database.run(lambda connection: ledger.read_range(connection, start, end))
        slices = slices_of(dates_between(start, end), report_types)
        stored = [slice_ for slice_ in slices if slice_ in known and known[slice_].revision]
        if not stored:
            raise WrongUsage(
                f"nothing is loaded from {start} to {end}, so there is nothing to verify",
                next_step="see what is loaded: `watch-time status`",
            )
        return stored

    def compare_all(
        self,
        slices: Iterable[Slice],
        *,
        file: Path | None = None,
        on_verdict: Callable[[Verdict], None] = lambda _: None,
    ) -> list[Verdict]:
        """Compare one slice after the other, up to one at which credentials are refused: the next would meet it too."""
        verdicts: list[Verdict] = []
        for slice_ in slices:
            verdicts.append(self.compare(slice_, file=file))
            on_verdict(verdicts[-1])
            if verdicts[-1].exit_code is ExitCode.CREDENTIALS_REFUSED:
                break
        return verdicts

    def compare(self, slice_: Slice, *, file: Path | None = None) -> Verdict:
        """Compare a slice with its report, or with `file`; trouble with the source becomes part of the verdict."""
        try:
            if file:
                return self._with(slice_, file, _sha256(file))
            if self._source is None:
                raise ValueError("without a source only files can be compared")
            with self._source.fetch(slice_) as report:
                if isinstance(report, ReportNotFound):
                    return Verdict(slice_, compared=False, message="the API has no report (404)")
                return self._with(slice_, report.path, report.sha256)
        except WatchTimeError as error:
            return Verdict(
                slice_, compared=False, message=str(error), next_step=error.next_step, exit_code=error.exit_code
            )

    def _with(self, slice_: Slice, path: Path, sha256: str) -> Verdict:
        return self._database.run(lambda connection: self._compare(connection, slice_, path, sha256))

    def _compare(self, connection: Connection, slice_: Slice, path: Path, sha256: str) -> Verdict:
        # Under the slice's lock: a load that commits in the middle would look like a difference.
        ledger.lock(connection, slice_, sleep=self._database.stop.sleep)
        tally = Tally()
        load = DifferenceLoad(connection, slice_, "")
        with report_reader.encode(path, self._settings.header_aliases, tally, self._database.stop) as chunks:
            load.stage(chunks)
        found = load.deduplicate(tally)
        (counts,) = fetch_rows(connection, statement("load/count_differences"))
        wrong_sums = load.count_wrong_sums()
        differs = any(counts.values()) or wrong_sums > 0
        known = ledger.read(connection, slice_)
        is_stored_report = known is not None and known.report_sha256 == sha256
        rejected = f"not compared: {plural(tally.rows_rejected, 'invalid line')} of the report"
        return Verdict(
            slice_,
            compared=True,
            rows=found,
            **counts,
            wrong_sums=wrong_sums,
            first=tuple(fetch_rows(connection, statement("diagnostics/first_differences"), {"most": _LISTED})),
            message=rejected if tally.rows_rejected else None,
            next_step=_remedy(slice_, is_stored_report=is_stored_report) if differs else None,
            exit_code=ExitCode.DATA_REFUSED if differs else ExitCode.OK,
        )


def _remedy(slice_: Slice, *, is_stored_report: bool) -> str:
    command = f"watch-time backfill {slice_.as_options()}"
    if is_stored_report:
        return f"the rows were changed after they were loaded; to correct them: `{command} --reload`"
    return f"the report is not the one that was loaded; to load the newest: `{command} --refresh`"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def exit_code(verdicts: Sequence[Verdict]) -> ExitCode:
    """The code of the gravest verdict; never that of OK where not one slice could be compared: nothing is proven."""
    code = worst(verdict.exit_code for verdict in verdicts)
    if code is ExitCode.OK and not any(verdict.compared for verdict in verdicts):
        return ExitCode.TRY_LATER
    return code


@contextmanager
def open_verification(settings: Settings, *, with_source: bool) -> Iterator[Verification]:
    """A verification on the configured warehouse; without the source only files can be compared.

    Raises:
        SchemaNotReady, WrongOrganization: there is nothing to verify, or it is another organization's.
    """
    with schema.open_checked(settings, with_owner=with_source) as database:
        if not with_source:
            yield Verification(settings, database, None)
            return
        with report_source.open_source(settings, database.stop) as reports:
            yield Verification(settings, database, reports)
