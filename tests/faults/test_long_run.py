"""The driver of the long run: what it sums up, and what it makes of failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from long_run import LongRun, failures
from tally import summary, totals

if TYPE_CHECKING:
    from pathlib import Path

TALLY = ["kills\t5", "wire cuts\t1200", "kills\t2", "kills with a load in flight\t3", "kills with a load in flight\t0"]


def test_figures_are_added_up_and_parts_stand_with_their_wholes() -> None:
    assert summary(totals(TALLY)) == "1,200 wire cuts, 7 kills (3 with a load in flight)"
    assert summary({}) == "nothing was tried"


def test_the_summary_says_how_to_repeat_the_run(tmp_path: Path) -> None:
    run = LongRun(7, 15, tmp_path / "tally", ("wheel-18",), seeds=[7, 8])
    run.tally.write_text("\n".join(TALLY), encoding="utf-8")
    assert run.summary("Postgres 15, 18") == (
        "1,200 wire cuts, 7 kills (3 with a load in flight): 0 violations "
        "(seeds 7-8, 0 min, Postgres 15, 18; repeat: make soak MINUTES=15 SEED=7)"
    )


def test_a_failed_test_is_named_as_pytest_takes_it(tmp_path: Path) -> None:
    report = tmp_path / "round.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.faults.test_kills" name="test_good"/>'
        '<testcase classname="tests.faults.test_kills" name="test_bad[debian-15-0]">'
        '<failure message="half a day&#10;x"/>'
        "</testcase></testsuite></testsuites>",
        encoding="utf-8",
    )
    assert failures(report) == [("'tests/faults/test_kills.py::test_bad[debian-15-0]'", "half a day")]
