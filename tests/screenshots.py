"""The pictures in docs/images: what people see, of a warehouse with all that can happen to one.

    make pictures

needs Chromium, and fonts for the titles (Debian: chromium fonts-noto-cjk fonts-noto-color-emoji).
"""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import postgres
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from http_listeners import pushgateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER: Final = Path(__file__).parents[1] / "docs" / "images"
HEADER: Final = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
COLUMNS: Final = 92
FLAGS: Final = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# The groups of a Pushgateway's page are folded at first.
UNFOLD: Final = """() => {
    document.querySelectorAll('.collapse').forEach(part => part.classList.add('show'));
    document.querySelectorAll('nav').forEach(bar => bar.classList.remove('fixed-top'));
}"""


def main() -> None:
    """Make a warehouse, and take its pictures."""
    FOLDER.mkdir(exist_ok=True)
    target = datetime.now(UTC).date() - timedelta(days=2)
    sandbox = Sandbox(SandboxConfig(vod_rows=900, live_rows=300, titles=400, customers=900, quiet_one_day_in=0))
    with (
        tempfile.TemporaryDirectory() as name,
        postgres.running(postgres.SOURCES[-1]) as server,
        server.database() as url,
        running(sandbox) as base_url,
    ):
        folder = Path(name)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCH_TIME_")} | {
            "WATCH_TIME_API_BASE_URL": base_url,
            "WATCH_TIME_API_TOKEN": sandbox.config.token,
            "WATCH_TIME_ORG_ID": sandbox.config.org_id,
            "WATCH_TIME_DATABASE_URL": url,
            "WATCH_TIME_NOT_FOUND_WAIT_SECONDS": "0",
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm-256color",
        }

        def do(*arguments: str) -> None:
            subprocess.run([sys.executable, "-m", "etl", *arguments], cwd=folder, env=environment, capture_output=True)  # noqa: PLW1510 - a held slice ends with 65

        def vod(back: int) -> Slice:
            return Slice(target - timedelta(days=back), ReportType.VOD)

        for slice_ in (Slice(target - timedelta(days=20), ReportType.LIVE), Slice(target, ReportType.LIVE)):
            sandbox.withdraw(slice_)
        first = target - timedelta(days=27)
        do("backfill", "--start", f"{first}", "--end", f"{target - timedelta(days=13)}")
        do("backfill", "--start", f"{target - timedelta(days=10)}", "--end", f"{target}")
        for slice_ in (vod(18), Slice(target - timedelta(days=4), ReportType.LIVE)):
            sandbox.restate(slice_)
            do("backfill", "--start", f"{slice_.report_date}", "--end", f"{slice_.report_date}", "--refresh")
        sandbox.override(vod(3), Delivery(body=HEADER))
        with pushgateway() as gateway, browser() as chromium:
            environment["WATCH_TIME_PUSHGATEWAY_URL"] = gateway
            do("run")
            screenshot(chromium, gateway, FOLDER / "pushgateway.png", height=1600, script=UNFOLD)
        del environment["WATCH_TIME_PUSHGATEWAY_URL"]

        do("report", "--output", "page.html")
        do("report", "--output", "page.png")
        with browser() as chromium:
            for scheme in ("light", "dark"):
                screenshot(chromium, (folder / "page.html").as_uri(), FOLDER / f"page-{scheme}.png", scheme=scheme)
            screenshot(chromium, (folder / "page.html").as_uri(), FOLDER / "page-top.png", height=1134)
            phone = FOLDER / "page-phone.png"
            screenshot(chromium, (folder / "page.html").as_uri(), phone, scheme="dark", width=390, height=1400)
            for command in (("status", "--start", f"{first}"), ("explain", f"{vod(3).report_date}", "--type", "VOD")):
                svg = render(command, terminal_output(command, folder, environment))
                window = folder / "terminal.html"
                window.write_text(f"<!doctype html><body style='margin:0'>{svg}</body>", encoding="utf-8")
                screenshot(chromium, window.as_uri(), FOLDER / f"{command[0]}.png", selector="svg")


def terminal_output(command: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> str:
    """What the command prints where stdout is a terminal, colours included; its first lines."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "etl", *command], cwd=folder, env=environment, stdout=theirs, stderr=subprocess.DEVNULL
    ):
        os.close(theirs)
        text = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # so a terminal says that nobody writes to it any more
                break
            if not piece:
                break
            text += piece
    os.close(ours)
    return "\n".join(text.decode().replace("\r\n", "\n").split("\n")[:30])


def render(command: tuple[str, ...], text: str) -> str:
    """The terminal's window, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(f"[bold]$ watch-time {' '.join(command)}[/bold]", highlight=False)
    console.print(Text.from_ansi(text))
    return console.export_svg(title="watch-time", theme=MONOKAI)


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield chromium
        chromium.close()


def screenshot(
    chromium: Browser,
    address: str,
    picture: Path,
    *,
    scheme: str = "light",
    width: int = 1000,
    height: int | None = None,
    selector: str | None = None,
    script: str = "0",
) -> None:
    """Open the address, run the script there, and take a picture: of all, of `height` pixels, or of one element."""
    page = chromium.new_page(viewport={"width": width, "height": height or 1000}, color_scheme=scheme)  # type: ignore[arg-type]  # one of two words
    page.goto(address)
    page.evaluate(script)
    page.wait_for_timeout(1000)
    if selector:
        page.locator(selector).first.screenshot(path=picture)
    else:
        page.screenshot(path=picture, full_page=height is None)
    page.close()


if __name__ == "__main__":
    main()
