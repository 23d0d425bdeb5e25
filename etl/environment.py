"""The environment and `.env`: the only module that reads them. Values are given as they are; `settings` judges them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

from etl.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX: Final = "WATCH_TIME_"


def variable_of(field_name: str) -> str:
    """The environment variable of a field of `Settings`; a name that is one already stays as it is."""
    if field_name.startswith(PREFIX):
        return field_name
    return f"{PREFIX}SCHEMA" if field_name == "schema_name" else f"{PREFIX}{field_name.upper()}"


def given() -> dict[str, str]:
    """What is set, as pydantic sees it: in capitals, nothing empty, the environment before `.env`.

    Raises:
        Misconfigured: `.env` cannot be read.
    """
    try:
        from_file = dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f".env in {Path.cwd()} cannot be read: {_why_unreadable(error)}",
            next_step="mend the file, or put the settings into the environment",
        ) from None
    found = [*from_file.items(), *os.environ.items()]
    return {name.upper(): value for name, value in found if value}


def read_secret_files(names: Iterable[str], variables: Mapping[str, str], problems: dict[str, str]) -> dict[str, str]:
    """Read `*_FILE` of the settings `names`; problems are added to `problems` under the variable's name."""
    values: dict[str, str] = {}
    for name in names:
        variable = variable_of(name)
        file_name = variables.get(f"{variable}_FILE")
        if not file_name:
            continue
        if variables.get(variable):
            problems[variable] = f"is set together with {variable}_FILE; keep one of them"
            continue
        try:
            text = Path(file_name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems[f"{variable}_FILE"] = f"names {file_name}, which cannot be read: {_why_unreadable(error)}"
            continue
        if text:
            values[name] = text
        else:
            problems[f"{variable}_FILE"] = f"names {file_name}, which is empty"
    return values


def _why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"
