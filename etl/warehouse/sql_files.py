"""SQL from files: a statement lies in the folder `sql` of its package, in a file of its own."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Final

from psycopg import sql

from etl.domain import contract

# What SQL files name by a placeholder instead of spelling it out.
_COLUMNS: Final = {"row_key": contract.ROW_KEY, "row": contract.FACTS, "content": contract.CONTENT}
_COLUMNS_PLACEHOLDER: Final = re.compile(rf"\{{(?P<alias>\w+\.)?(?P<columns>{'|'.join(_COLUMNS)})\}}")


@functools.cache
def statement(name: str) -> sql.SQL:
    """The SQL of a file: `load/copy_facts` is that of etl/load/sql/copy_facts.sql.

    The contract's columns are filled in: `{row_key}` and `{row}` of the fact table, `{content}` of the table of
    contents, and `{stored.row_key}` for those of an alias.
    """
    package, _, file = name.partition("/")
    text = resources.files("etl").joinpath(package, "sql", f"{file}.sql").read_text(encoding="utf-8")
    return sql.SQL(_COLUMNS_PLACEHOLDER.sub(_spell_columns, text))


def _spell_columns(placeholder: re.Match[str]) -> str:
    return ", ".join(f"{placeholder['alias'] or ''}{column}" for column in _COLUMNS[placeholder["columns"]])
