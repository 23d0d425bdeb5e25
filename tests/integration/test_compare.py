"""The comparison runs, on small data: that every way loads the right rows is asserted, its times are not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import compare
import competitors
import many_days

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_INSTALL = ("limit", "load-stage", "watch-time", "freeze", "copy", "upsert", "pandas", "sqlalchemy")


def test_every_way_loads_the_right_rows_and_has_a_line_in_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(["--rows", "2000", "--rounds", "1", "--markdown", "--only", *WITHOUT_INSTALL])
    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    assert re.findall(r"^### (.*)$", printed, re.MULTILINE) == [
        "First load, 2,000 rows",
        "The same report again, 2,000 rows",
        "A restated report, 2,000 rows",
    ]
    for each in competitors.ALL:
        assert printed.count(f"| {each.label} |") == (3 if each.name in WITHOUT_INSTALL else 0)
    assert "not run" not in printed


def test_a_way_that_loads_wrong_data_has_no_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = (competitors.JOBS / "copy.sql").read_text()
    (tmp_path / "copy.sql").write_text(script.replace("COMMIT", "ROLLBACK"))
    monkeypatch.setattr(competitors, "JOBS", tmp_path)
    with pytest.raises(SystemExit) as ended:
        compare.main(["--rows", "2000", "--rounds", "1", "--scenarios", "first", "--only", "copy"])
    assert ended.value.code == 1
    assert (
        "not run: psql \\copy into a table with the primary key: it left 0 rows and 0 s, not 2,000 rows"
        in capsys.readouterr().out
    )


def test_many_days_in_small_equal_their_reports() -> None:
    found = many_days.backfill(2, 50)
    assert found.equal
    assert found.slices == 4
