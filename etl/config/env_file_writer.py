"""Writing `.env`: what `init` found out, beside what stands there already. Only its owner may read it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from etl.config.environment import why_unreadable
from etl.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PLAIN: Final = re.compile(r"[\w./:@%+,=&?~-]+", re.ASCII)
_NAME: Final = re.compile(r"\s*(?:export\s+)?(\w+)\s*=")


def write(file: Path, values: Mapping[str, str]) -> None:
    """Set these variables in `file`, which is replaced as a whole; its other lines stay.

    Raises:
        Misconfigured: it cannot be read or written.
    """
    for name, value in values.items():
        if "${" in value:
            raise Misconfigured(
                f"the value of {name} contains ${{, which is expanded when .env is read",
                next_step="in a URL write $ as %24; or set the variable in the environment",
            )
    new = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        kept = [line for line in lines if not (found := _NAME.match(line)) or found[1] not in values]
        text = "".join(f"{line}\n" for line in (*kept, *(f"{name}={_quoted(value)}" for name, value in values.items())))
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as opened:
            opened.write(text)
        new.replace(file)
    except (OSError, UnicodeDecodeError) as error:
        new.unlink(missing_ok=True)
        raise Misconfigured(
            f"{file.resolve()} cannot be written: {why_unreadable(error)}", next_step="fix the file or its folder"
        ) from None


def _quoted(value: str) -> str:
    """As python-dotenv, shells and systemd read it alike; plain where that is possible."""
    if _PLAIN.fullmatch(value):
        return value
    return "'{}'".format(value.replace("\\", "\\\\").replace("'", "\\'"))
