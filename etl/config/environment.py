"""The environment and `.env`: the only module that reads them. Values are given as they are; `settings` judges them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

from etl.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX: Final = "WATCH_TIME_"

_ANYTHING_BY_OTHERS: Final = 0o077
_CHANGED_BY_ALL: Final = 0o002


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
    found = [*_env_file().items(), *os.environ.items()]
    return {name.upper(): value for name, value in found if value}


def _env_file() -> dict[str, str | None]:
    try:
        return dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f".env in {Path.cwd()} cannot be read: {why_unreadable(error)}",
            next_step="fix the file, or set the variables in the environment",
        ) from None


def read_secret_files(names: Iterable[str], variables: Mapping[str, str], problems: dict[str, str]) -> dict[str, str]:
    """Read `*_FILE` of the settings `names`; problems are added to `problems`, to follow the variable's name."""
    values: dict[str, str] = {}
    for name in names:
        variable = variable_of(name)
        file_name = variables.get(f"{variable}_FILE")
        if not file_name:
            continue
        if variables.get(variable):
            problems[variable] = f" is set together with {variable}_FILE; keep one of them"
            continue
        try:
            text = Path(file_name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems[f"{variable}_FILE"] = f" names {file_name}, which cannot be read: {why_unreadable(error)}"
            continue
        if text:
            values[name] = text
        else:
            problems[f"{variable}_FILE"] = f" names {file_name}, which is empty"
    return values


def open_to_others(names: Iterable[str]) -> dict[str, str]:
    """The files with secrets of the settings `names` that other users may read or change, and their modes in octal.

    As with ssh's keys, what counts are files of our own. What others made is in their hands: Kubernetes and Docker
    mount secrets as root's, readable for everybody in a container where nobody else is. A file that everybody may
    change is told of whoever it belongs to.
    """
    variables, from_file = given(), {name.upper(): value for name, value in _env_file().items()}
    secrets = [variable_of(name) for name in names]
    files = {variables[f"{name}_FILE"] for name in secrets if variables.get(f"{name}_FILE")}
    if any(from_file.get(name) for name in secrets):
        files.add(".env")
    found = {}
    for file in sorted(files):
        with suppress(OSError):  # told of where it is read
            stat = Path(file).stat()
            if stat.st_mode & (_ANYTHING_BY_OTHERS if stat.st_uid == os.geteuid() else _CHANGED_BY_ALL):
                found[file] = f"{stat.st_mode & 0o777:04o}"
    return found


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """What kept a text file from being read, or written, in words that follow a colon."""
    return str(error.strerror) if isinstance(error, OSError) else "it is not valid UTF-8"
