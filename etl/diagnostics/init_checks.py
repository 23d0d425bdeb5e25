"""Trying single answers of `init`, before they are written down: does the API, does the database accept them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.domain.slices import ReportType, Slice, target_date
from etl.warehouse import schema
from etl.warehouse.database import open_warehouse

if TYPE_CHECKING:
    from etl.config.settings import Settings


def check_source(settings: Settings) -> tuple[str, bool]:
    """Ask the report API for a recent report, once; returns what was found, and that nothing more is needed.

    Raises:
        CredentialsRefused, Misconfigured, SourceUnavailable, NeedsAPerson: it does not accept token or organization.
    """
    from pydantic import SecretStr  # noqa: PLC0415 - as below

    from etl.extract.http_clients import api_client  # noqa: PLC0415 - slow to import
    from etl.extract.report_api import ReportApi  # noqa: PLC0415
    from etl.extract.retry import RetryPolicy  # noqa: PLC0415

    token, org_id = SecretStr(settings.require("api_token")), settings.require("org_id")
    newest = Slice(target_date(settings.now(), settings.lag_days), ReportType.VOD)
    with api_client(settings.api_base_url, token=token, org_id=org_id) as client:
        ReportApi(client, retry_policy=RetryPolicy(), strict_not_found=settings.strict_not_found).ask_once(newest)
    return f"{settings.api_base_url} accepts the token and the organization", False


def check_database(settings: Settings) -> tuple[str, bool]:
    """Connect; returns which server answered, and whether its tables have to be created or migrated.

    Raises:
        WatchTimeError: it cannot be used.
    """
    with open_warehouse(settings) as database, database.transaction() as connection:
        major = connection.info.server_version // 10_000
        needs_migration = schema.needs_migration(database, connection)
        if not needs_migration:
            schema.require_owner(database, connection, settings.require("org_id"))
        return f"Postgres {major} at {database}", needs_migration


def migrate(settings: Settings) -> None:
    """Create the tables, or migrate them."""
    with open_warehouse(settings) as database:
        schema.migrate(database)
