"""The data dictionary: what a migrated database says of itself, as a page of docs.

    make dictionary

writes docs/data-dictionary.md; a test compares the two.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Final

import psycopg

import postgres

PAGE: Final = Path(__file__).parents[1] / "docs" / "data-dictionary.md"

_HEAD: Final = """\
# Data dictionary

`make dictionary` writes this page from the comments in the database. A number under *key* is the column's place in the
primary key. [How it works](how-it-works.md#the-tables) has a picture of the tables; [Ten queries](queries.md) use them.
"""

# A row for each column, tables before views; the key as the position of a column in it.
_COLUMNS: Final = """
    SELECT c.relkind = 'v',
           c.relname,
           obj_description(c.oid, 'pg_class'),
           pg_get_partkeydef(c.oid),
           a.attname,
           format_type(a.atttypid, a.atttypmod),
           a.attnotnull,
           array_position(k.conkey, a.attnum),
           col_description(c.oid, a.attnum)
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
    WHERE c.relnamespace = 'public'::regnamespace
      AND c.relkind IN ('r', 'p', 'v')
      AND NOT c.relispartition
    ORDER BY c.relkind = 'v', c.relname COLLATE "C", a.attnum
"""

Row = tuple[bool, str, str | None, str | None, str, str, bool, int | None, str | None]


def described(url: str) -> list[Row]:
    """Each column of each table and view: is it a view's, whose, its comment, partition key; then the column's own."""
    with psycopg.connect(url) as connection:
        return connection.execute(_COLUMNS).fetchall()


def page(rows: list[Row]) -> str:
    """The page that says so."""
    parts = [_HEAD]
    for is_view, kinds in groupby(rows, key=lambda row: row[0]):
        parts.append("## Views\n" if is_view else "## Tables\n")
        parts += [_section(list(columns)) for _, columns in groupby(kinds, key=lambda row: row[1])]
    return "\n".join(parts)


def _section(columns: list[Row]) -> str:
    is_view, name, comment, partition_key, *_ = columns[0]
    lines = [f"### `{name}`", "", comment or ""]
    if partition_key:
        lines[-1] += f" Partitioned by {partition_key}."
    more = "" if is_view else " may be NULL | key |"
    lines += ["", f"| column | type |{more} description |"]
    lines += ["| --- | --- | --- |" if is_view else "| --- | --- | --- | --- | --- |"]
    for *_, column, kind, not_null, position, holds in columns:
        of_table = [] if is_view else ["" if not_null else "yes", str(position or "")]
        lines.append("| " + " | ".join([f"`{column}`", kind, *of_table, holds or ""]) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the page of a database that is new and migrated."""
    with postgres.running(postgres.SOURCES[-1]) as server, server.database() as url:
        PAGE.write_text(page(described(url)), encoding="utf-8")


if __name__ == "__main__":
    main()
