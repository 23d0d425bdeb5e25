"""The commands that set up a warehouse: init, migrate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from etl.cli import output
from etl.domain.errors import Misconfigured, WatchTimeError, WrongUsage
from etl.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.config.settings import Settings

_EMBEDDED_HERE: Final = "embedded:warehouse"
_NAMED: Final = {
    "api_token": ("API token", "--token-file"),
    "org_id": ("organization id", "--org-id"),
    "database_url": ("database URL", "--database-url"),
}


def init(
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File that contains the API token, or - for stdin. Default: WATCH_TIME_API_TOKEN."
        ),
    ] = None,
    org_id: Annotated[str | None, typer.Option(metavar="ID", help="Organization id.")] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Postgres URL, or embedded:DIR. Default: WATCH_TIME_DATABASE_URL.")
    ] = None,
    api_base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Base URL of the API; default: BlendVision's.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not prompt; update .env and create the tables. For scripts.")
    ] = False,
) -> None:
    """Prompt for token, organization and database, check each, write .env, and create the tables.

    Without a terminal, or with --yes, it does not prompt; missing settings are errors.
    """
    from etl.config import env_file_writer
    from etl.config.environment import variable_of
    from etl.diagnostics import init_checks

    interview = _Interview(_known(token_file, org_id, database_url, api_base_url), asks=not yes and sys.stdin.isatty())
    interview.ask_until_good("API", interview.ask_for_source, init_checks.check_source)
    needs_migration = interview.ask_until_good("database", interview.ask_for_database, init_checks.check_database)
    file = Path(".env")
    if file.exists() and not interview.confirms(
        "Update these variables in the existing .env file, and keep the others?"
    ):
        output.say("nothing was written")
        return
    env_file_writer.write(file, {variable_of(name): value for name, value in interview.answers.items()})
    output.say(f"wrote {file.resolve()} (mode 0600)")
    if needs_migration and interview.confirms("Create the tables now?"):
        settings = interview.settings()
        with output.live_progress() as live:
            live.begin("creating the tables")
            init_checks.migrate(settings)
        output.say("created the tables")
        needs_migration = False
    output.advise("create the tables: `watch-time migrate`" if needs_migration else "load reports: `watch-time run`")


def migrate() -> None:
    """Create the tables, or migrate them to this version. Safe to run at any time, even concurrently."""
    from etl.warehouse import schema
    from etl.warehouse.database import open_warehouse

    settings = output.settings("database_url")
    with open_warehouse(settings) as database:
        with output.live_progress() as live:
            live.begin("creating or migrating the tables")
            before, after = schema.migrate(database)
        where = f"schema {settings.schema_name} of {database}"
        if before == after:
            output.say(f"{where} is current (version {after})")
        elif before is None:
            output.say(f"created {where} (version {after})")
        else:
            output.say(f"migrated {where} from version {before} to {after}")


def _known(
    token_file: Path | None, org_id: str | None, database_url: str | None, api_base_url: str | None
) -> dict[str, str]:
    """The settings known from options, environment and `.env`."""
    from etl.config.environment import given, read_secret_files, variable_of, why_unreadable

    names = ("api_token", "org_id", "database_url", "api_base_url")
    variables = given()
    known = {name: variables[variable_of(name)] for name in names if variable_of(name) in variables}
    known |= read_secret_files(("api_token", "database_url"), variables, {})
    if token_file:
        try:
            text = sys.stdin.read() if str(token_file) == "-" else token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                f"{token_file} cannot be read: {why_unreadable(error)}", next_step="correct --token-file"
            ) from None
        known["api_token"] = text.strip()
    options = {"org_id": org_id, "database_url": database_url, "api_base_url": api_base_url}
    return known | {name: value for name, value in options.items() if value}


class _Interview:
    """The answers so far: prompted for on a terminal, otherwise taken from the known settings."""

    def __init__(self, known: dict[str, str], *, asks: bool) -> None:
        self._known = known
        self._asks = asks
        self.answers = {name: known[name] for name in ("api_base_url",) if name in known}

    def ask_for_source(self) -> None:
        """Prompt for token and organization."""
        self._answer("api_token", "API token (in the console: Developers, API Tokens)", is_secret=True)
        self._answer("org_id", "Organization id")

    def ask_for_database(self) -> None:
        """Prompt for the database's URL, and for how to verify its server if the URL does not say."""
        from etl.config import system_ca_file

        self._answer("database_url", "Postgres URL, or embedded:DIR", proposal=_EMBEDDED_HERE)
        url = self.answers["database_url"]
        if url.startswith("embedded:") or not system_ca_file.is_unverified(url):
            return
        file = system_ca_file.system_file()
        if self._asks:
            question = "File with the certificate authority of the database's server"
            file = Path(typer.prompt(question, default=str(file) if file else None, err=True))
        if file:
            self.answers["database_url"] = system_ca_file.verified(url, file)

    def ask_until_good(self, of: str, ask: Callable[[], None], check: Callable[[Settings], tuple[str, bool]]) -> bool:
        """Prompt until the answers pass the check of API or database; returns the check's result.

        Raises:
            WatchTimeError: they are not, and nobody can answer again.
        """
        while True:
            ask()
            try:
                settings = self.settings()
                with output.live_progress() as live:
                    live.begin(f"checking the {of}")
                    found, needs_more = check(settings)
            except WatchTimeError as error:
                if not self._asks:
                    raise
                output.tell(error)
            else:
                output.say(f"ok: {found}")
                return needs_more

    def settings(self) -> Settings:
        """The settings with the answers so far. From here on, their secrets are masked."""
        from etl.config.settings import Settings

        settings = Settings.load(answers=self.answers)
        logs.configure(secrets=settings.secrets())
        return settings

    def confirms(self, question: str) -> bool:
        """Prompt for yes or no; yes without a prompt if not interactive."""
        return not self._asks or typer.confirm(question, default=True, err=True)

    def _answer(self, name: str, question: str, *, is_secret: bool = False, proposal: str | None = None) -> None:
        value = self._known.get(name, "")
        if self._asks:
            shown = f"{question} [Enter keeps it]" if is_secret and value else question
            value = typer.prompt(
                shown, default=value or proposal, show_default=not is_secret, hide_input=is_secret, err=True
            ).strip()
        if not value:
            what, option = _NAMED[name]
            raise WrongUsage(
                f"the {what} is missing, and there is no terminal to ask for it", next_step=f"add {option}"
            )
        self._known[name] = self.answers[name] = value
