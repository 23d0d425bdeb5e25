"""The settings that the command sends to the workers. They contain no secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import SecretStr

from etl.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is secret is a matter of the machine, and so is how it reaches the database and whom it tells of runs.
_OF_THE_MACHINE: Final = frozenset({"weakest_sslmode", "metrics_file", "pushgateway_url"})


@dataclass(frozen=True, slots=True)
class RunTerms:
    """Sent with each slice, so that workers that join late have it too.

    Attributes:
        run: a name for the run.
        version: of the command's watch-time.
        database_lock: held in the run's database; see `etl.job.dask.database_identity`.
        requests_per_second: this worker's limit for the report API; None: no limit.
        settings: the command's, except secrets and machine-specific ones.
    """

    run: str
    version: str
    database_lock: int
    requests_per_second: float | None
    settings: Mapping[str, Any] = field(repr=False)


def shareable_settings(settings: Settings) -> dict[str, Any]:
    """The settings that go to the workers."""
    stay = {
        name
        for name, each in Settings.model_fields.items()
        if SecretStr in (each.annotation, *get_args(each.annotation))
    }
    return settings.model_dump(exclude=stay | _OF_THE_MACHINE)
