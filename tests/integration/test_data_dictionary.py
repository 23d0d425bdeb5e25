"""The data dictionary is what the database says, and the database says something of everything."""

from __future__ import annotations

import data_dictionary


def test_every_table_view_and_column_has_a_comment(database_url: str) -> None:
    rows = data_dictionary.described(database_url)
    assert [row for row in rows if not row[2] or not row[-1]] == []
    assert {"watch_time", "report_slice", "report_coverage"} < {row[1] for row in rows}


def test_the_page_is_what_the_database_says(database_url: str) -> None:
    page = data_dictionary.page(data_dictionary.described(database_url))
    assert data_dictionary.PAGE.read_text(encoding="utf-8") == page, "type: make dictionary"
