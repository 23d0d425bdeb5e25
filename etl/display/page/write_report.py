"""From the settings to a file: a page if its name ends in `.html`, an image if it ends in `.png`."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from etl.domain.errors import Misconfigured, WrongUsage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from etl.config.settings import Settings

ENDINGS: Final = (".html", ".png")
# A month to look at; a year can still be read on a phone.
DAYS_SHOWN: Final = 28
_DAYS_AT_MOST: Final = 366


@dataclass(frozen=True, slots=True)
class Published:
    """What was written.

    Attributes:
        size: in bytes.
        boxes: what the image shows as boxes for lack of fonts; None if it shows all titles.
    """

    size: int
    boxes: str | None


def publish(settings: Settings, output: Path, start: date, end: date, *, now: datetime | None = None) -> Published:
    """Write the stored data of the dates from `start` to `end` to `output`, atomically.

    Raises:
        WrongUsage: the range is too long for a page.
        Misconfigured: the extra `report` is not installed, or the file cannot be written.
    """
    if (end - start).days >= _DAYS_AT_MOST:
        raise WrongUsage(
            f"{(end - start).days + 1:,} days are too many for a page",
            next_step=f"choose at most {_DAYS_AT_MOST} days with --start and --end",
        )
    is_picture = output.suffix.lower() == ".png"
    _require_extra("altair", "vl_convert") if is_picture else _require_extra("jinja2")
    _require_writable(output)
    from etl.diagnostics import page_reader  # noqa: PLC0415 - only now is it known that it can be drawn

    zone = ZoneInfo(settings.time_zone)
    found = page_reader.read(settings, start, end, now=(now or datetime.now(UTC)).astimezone(zone))
    boxes = None
    if is_picture:
        from etl.display.page import image, image_charts  # noqa: PLC0415 - an extra, and slow to import

        content = image.png(found)
        boxes = examine_fonts(one.title for one in found.top[: image_charts.TOP])
    else:
        from etl.display.page import render  # noqa: PLC0415 - an extra

        content = render.html(found).encode()
    try:
        _replace(output, content)
    except OSError as error:
        raise _not_writable(output, error) from None
    return Published(len(content), boxes)


def examine_fonts(titles: Iterable[str]) -> str | None:
    """Scripts that an image would show as boxes for lack of fonts; None if there are none, or no image can be drawn."""
    try:
        from etl.display.page import missing_fonts  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        return None
    missing = missing_fonts.missing_scripts(titles)
    return (
        f"no installed font has {', '.join(f'{script} ({one})' for script, one in missing.items())}"
        if missing
        else None
    )


def _require_extra(*modules: str) -> None:
    for module in modules:
        try:
            import_module(module)
        except ImportError:
            raise Misconfigured(
                f"{module} is not installed, and pictures need it", next_step="pip install 'watch-time[report]'"
            ) from None


def _require_writable(output: Path) -> None:
    """Checked before anything is read: reading a large warehouse takes time."""
    try:
        handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise _not_writable(output, error) from None
    if output.is_dir():
        raise _not_writable(output, IsADirectoryError(0, "it is a folder"))


def _not_writable(output: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"{output} cannot be written: {error.strerror}",
        next_step=f"choose a file in an existing folder that you can write to (tried: {output.parent})",
    )


def _replace(output: Path, content: bytes) -> None:
    """Through a temporary file in the same folder, so that readers see either the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp's files are readable only by their owner; this one is meant to be shared, like any other output file.
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(output)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
