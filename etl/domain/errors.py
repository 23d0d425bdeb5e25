"""The errors a user can meet, and the exit code that goes with each.

They are classified by whether a retry can help:

    WatchTimeError
    ├── TryLater                    75  yes, without intervention
    │   ├── SourceUnavailable           the API or the download host: failures outlasted the retries
    │   ├── ArchiveUnavailable          the store of the archive fails or hangs
    │   ├── DatabaseUnavailable         down, starting, read-only, out of room or connections
    │   ├── ClusterUnavailable          no scheduler, no worker, or the workers that had the slice died
    │   └── SliceBusy                   another run holds the slice
    └── NeedsAPerson                no
        ├── DataRefused             65  the report was read and not accepted
        │   ├── MalformedReport         the file as a whole cannot be read reliably
        │   ├── ContractBroken          columns missing, doubled or unknown
        │   └── GuardRefused            readable, but replacing the stored slice with it looks wrong
        │       └── NothingAcceptable   not a line of it can be loaded
        ├── ArchiveDamaged          65  a file of the archive is missing, or is not what its name says
        ├── CredentialsRefused      77  by the API, by the database or by the store of the archive
        ├── WrongUsage               2  a command line that is invalid or impossible
        ├── Misconfigured           78  settings, host policy, certificates
        │   ├── SchemaNotReady          not migrated, or migrated by another version
        │   └── WrongOrganization       the schema holds another organization's data
        └── ReconciliationFailed    70  the table does not equal the file: a bug, rolled back

Anything else that is raised is a bug and exits with 70 as well. This module knows no library; the mapping from
httpx's and psycopg's errors is where those libraries are called.
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """Exit codes of the command, after BSD's sysexits.h where it has one."""

    OK = 0
    USAGE = 2
    DATA_REFUSED = 65
    BUG = 70
    TRY_LATER = 75
    CREDENTIALS_REFUSED = 77
    MISCONFIGURED = 78
    STOPPED = 143


# A run over several slices ends with the code of its most severe outcome. Most severe first.
_GRAVITY = (
    ExitCode.STOPPED,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.MISCONFIGURED,
    ExitCode.CREDENTIALS_REFUSED,
    ExitCode.DATA_REFUSED,
    ExitCode.TRY_LATER,
    ExitCode.OK,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The most severe of `codes`; OK if there are none."""
    return min(codes, key=_GRAVITY.index, default=ExitCode.OK)


class WatchTimeError(Exception):
    """An error with a message for a person: what happened and where, and what to do next.

    Attributes:
        message: what happened, where, with which value; never a secret, a signed URL or a customer id.
        next_step: what the reader can type or do next.
        request_id: the other side's own name for the request, as in `x-request-id: 7f3a`. It differs each time, so it
            is not part of the message.
        code: names the kind of error in the ledger and in JSON; it does not change if a class is renamed.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    code: ClassVar[str] = "bug"

    def __init__(self, message: str, *, next_step: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.request_id = request_id

    def __str__(self) -> str:
        """The message, with the request's id where there is one."""
        return with_request_id(self.message, self.request_id)

    def __reduce__(self) -> tuple[partial[WatchTimeError], tuple[str]]:
        """Pickle by value, so that the error survives being sent to another process."""
        return partial(type(self), next_step=self.next_step, request_id=self.request_id), (self.message,)


def with_request_id(message: str, request_id: str | None) -> str:
    """A message for a person who may have to name the request to the other side's support."""
    return f"{message} ({request_id})" if request_id else message


class TryLater(WatchTimeError):
    """A temporary failure: the same command may succeed later."""

    exit_code = ExitCode.TRY_LATER
    code = "try_later"


class SourceUnavailable(TryLater):
    """The report API or the download host did not return a usable response, despite retries."""

    code = "source_unavailable"


class ArchiveUnavailable(TryLater):
    """The store of the archive fails or hangs."""

    code = "archive_unavailable"


class DatabaseUnavailable(TryLater):
    """The database cannot be reached or cannot write at the moment."""

    code = "database_unavailable"


class ClusterUnavailable(TryLater):
    """The Dask cluster cannot be reached, has no worker, or lost those that had the slice."""

    code = "cluster_unavailable"


class SliceBusy(TryLater):
    """Another run is loading the slice."""

    code = "slice_busy"


class NeedsAPerson(WatchTimeError):
    """Retrying does not help; someone has to act."""

    code = "needs_a_person"


class DataRefused(NeedsAPerson):
    """A report arrived and was not accepted; the stored slice is unchanged."""

    exit_code = ExitCode.DATA_REFUSED
    code = "data_refused"


class MalformedReport(DataRefused):
    """The file cannot be split into records reliably: quoting, compression or line ends are broken."""

    code = "malformed_report"


class ContractBroken(DataRefused):
    """The file's columns are not those of the contract."""

    code = "contract_broken"


class GuardRefused(DataRefused):
    """A guard refused the report: too many rejects, or it is suspiciously small."""

    code = "guard_refused"


class NothingAcceptable(GuardRefused):
    """No line of the report can be loaded, so it cannot be accepted."""

    code = "nothing_acceptable"


class ArchiveDamaged(NeedsAPerson):
    """A file of the archive is missing, or is not what its name says."""

    exit_code = ExitCode.DATA_REFUSED
    code = "archive_damaged"


class CredentialsRefused(NeedsAPerson):
    """The API, the database or the store of the archive rejects the credentials."""

    exit_code = ExitCode.CREDENTIALS_REFUSED
    code = "credentials_refused"


class WrongUsage(NeedsAPerson):
    """The command line is invalid, or asks for something impossible."""

    exit_code = ExitCode.USAGE
    code = "wrong_usage"


class Misconfigured(NeedsAPerson):
    """A setting, a certificate or a policy is wrong."""

    exit_code = ExitCode.MISCONFIGURED
    code = "misconfigured"


class SchemaNotReady(Misconfigured):
    """The database's tables are not those of this version."""

    code = "schema_not_ready"


class WrongOrganization(Misconfigured):
    """The schema contains data for another organization."""

    code = "wrong_organization"


class ReconciliationFailed(NeedsAPerson):
    """The table does not match the file; the load was rolled back."""

    exit_code = ExitCode.BUG
    code = "reconciliation_failed"


def kinds_of(kind: type[WatchTimeError]) -> list[type[WatchTimeError]]:
    """The classes below `kind`, at any depth."""
    return [below for child in kind.__subclasses__() for below in (child, *kinds_of(child))]
