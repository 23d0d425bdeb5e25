"""The demo: the job at work on an embedded Postgres, against the sandbox; and the sandbox as a command.

The demo types the program's own commands, each in a process of its own, over real HTTP and real SQL: what is printed
is what happened.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from etl.config.environment import PREFIX
from etl.config.setting_checks import EMBEDDED
from etl.display import terminal
from etl.domain.errors import Misconfigured
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.sandbox.server import serve as serve_sandbox
from etl.warehouse import embedded_postgres

if TYPE_CHECKING:
    from datetime import date

    from rich.console import Console

_DAYS: Final = 14
_PORT: Final = 8080
_WAREHOUSE: Final = "warehouse"
_PAGE: Final = "watch-time.html"

_QUERIES: Final = (
    (
        "the two weeks by report and streaming type",
        """SELECT report_type, streaming_type, count(DISTINCT report_date) AS days,
       sum(rows) AS rows, round(sum(watch_seconds) / 3600) AS hours
FROM watch_time_daily
GROUP BY report_type, streaming_type
ORDER BY hours DESC""",
    ),
    (
        "most watched",
        """SELECT content.title, count(*) AS viewers, round(sum(watch_seconds) / 3600, 1) AS hours
FROM watch_time JOIN content USING (content_id)
GROUP BY content.content_id
ORDER BY hours DESC
LIMIT 5""",
    ),
)


def serve(*, host: str, port: int, rows: int, seed: int) -> None:
    """Serve a sandbox until it is stopped, saying on stderr how to use it."""
    config = replace(SandboxConfig(), vod_rows=rows, live_rows=rows * 3 // 10, seed=seed)
    console = terminal.stderr()

    def tell(base_url: str) -> None:
        console.print(f"the sandbox is listening on {base_url}; press Ctrl-C to stop it")
        console.print("to load from it:")
        for name, value in _source(config, base_url).items():
            console.print(f"  export {name}={value}", soft_wrap=True)
        console.print("to see what it can do:")
        console.print(f"  curl {base_url}/sandbox/", soft_wrap=True)

    serve_sandbox(Sandbox(config), host, port, on_ready=tell)


def show(folder: Path) -> None:
    """Run the demo, its database kept in `folder`.

    Raises:
        Misconfigured: the folder is there and is no demo's.
    """
    console = terminal.stdout()
    _prepare(folder)
    sandbox = Sandbox()
    target = datetime.now(UTC).date() - timedelta(days=2)
    with embedded_postgres.server(folder / _WAREHOUSE), running(sandbox) as base_url:
        demo = _Demo(folder, console, base_url)
        demo.say("Backfill the two weeks before the target date; an embedded Postgres creates its tables itself")
        demo.type("backfill", "--start", f"{target - timedelta(days=_DAYS)}", "--end", f"{target - timedelta(days=1)}")
        demo.say("The daily job: the target date, and what is missing before it")
        demo.type("run")
        demo.say("Run it again: the reports are unchanged, so nothing is rewritten")
        demo.type("run")
        restated = _newest_with_history(sandbox, target)
        sandbox.restate(restated)
        demo.say(
            f"BlendVision restates {restated}: rows are added, removed and changed. The next run loads the difference"
        )
        demo.type("run")
        demo.say("What was restated")
        demo.type("revisions")
        demo.say("What is loaded, and how fresh it is")
        demo.type("status")
        for title, query in _QUERIES:
            demo.say(f"Query: {title}")
            demo.type("sql", query)
        demo.say("The warehouse as an HTML page")
        demo.type("report", "--output", _PAGE)
    demo.tell_how_to_go_on()


class _Demo:
    """Types commands where a person would: in the demo's folder, with the settings of its `.env`."""

    def __init__(self, folder: Path, console: Console, base_url: str) -> None:
        self._folder = folder
        self._console = console
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        # The rest is in the folder's .env; this port is the demo's alone.
        self._environment = inherited | {f"{PREFIX}API_BASE_URL": base_url}

    def say(self, text: str) -> None:
        """A heading."""
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def type(self, *arguments: str) -> None:
        """Run a command as typed; the log lines that accompany it are kept back unless it fails.

        Raises:
            subprocess.CalledProcessError: the command failed.
        """
        self._print(f"$ watch-time {shlex.join(arguments)}", style="cyan")
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "etl", *arguments],
            cwd=self._folder,
            env=self._environment | {"COLUMNS": str(self._console.width)},
            capture_output=True,
            text=True,
            check=False,
        )
        self._print(done.stdout.rstrip("\n"))
        if done.returncode:
            sys.stderr.write(done.stderr)
            done.check_returncode()

    def tell_how_to_go_on(self) -> None:
        """What a newcomer can type next."""
        command = "watch-time" if shutil.which("watch-time") else str(Path(sys.argv[0]).resolve())
        page = (self._folder / _PAGE).resolve()
        self.say(f"Open the page in a browser: {page.as_uri()}")
        self._print(f"  {'open' if sys.platform == 'darwin' else 'xdg-open'} {shlex.quote(str(page))}", style="cyan")
        self.say(f"Everything is kept in {self._folder}; nothing is left running. To continue:")
        for line in (
            f"cd {shlex.quote(str(self._folder))}",
            f"{command} sandbox --port {_PORT} &",
            f"{command} doctor",
            f"{command} explain {datetime.now(UTC).date() - timedelta(days=3)}",
            f"{command} run",
            f"{command} sql",
        ):
            self._print(f"  {line}", style="cyan")
        self.say("With your own account, in a new folder:")
        for line in (f"{command} init", f"{command} run"):
            self._print(f"  {line}", style="cyan")

    def _print(self, text: str, *, style: str = "") -> None:
        """Lines as they are: what is to be pasted is not broken."""
        self._console.print(Text(text, style=style), soft_wrap=True)


def _prepare(folder: Path) -> None:
    """An empty demo folder with its `.env`; a former demo's warehouse is removed, anything else is not touched."""
    warehouse = folder / _WAREHOUSE
    if folder.exists() and any(folder.iterdir()):
        if not (warehouse / "PG_VERSION").exists():
            raise Misconfigured(
                f"{folder} is not empty and not the folder of a demo",
                next_step="name another folder: `watch-time demo --folder DIR`",
            )
        shutil.rmtree(warehouse)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        f"{PREFIX}DATABASE_URL": f"{EMBEDDED}{_WAREHOUSE}",
        **_source(SandboxConfig(), f"http://127.0.0.1:{_PORT}"),
        # Whoever watches a demo does not want to see it wait for a report.
        f"{PREFIX}NOT_FOUND_WAIT_SECONDS": "0",
    }
    environment = folder / ".env"
    # The sandbox's token opens nothing; but this is how such a file is to look.
    environment.touch(mode=0o600)
    environment.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")


def _source(config: SandboxConfig, base_url: str) -> dict[str, str]:
    return {f"{PREFIX}API_BASE_URL": base_url, f"{PREFIX}API_TOKEN": config.token, f"{PREFIX}ORG_ID": config.org_id}


def _newest_with_history(sandbox: Sandbox, target: date) -> Slice:
    days = (target - timedelta(days=back) for back in range(1, _DAYS))
    return next(slice_ for day in days if sandbox.has_history(slice_ := Slice(day, ReportType.VOD)))
