"""The folder for downloads: gone at the end, and after a kill gone with the next run."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from fcntl import flock
from pathlib import Path
from typing import TextIO

import pytest

from conftest import fill_disk
from etl.domain.errors import TryLater
from etl.extract import scratch_folder
from etl.extract.download_writer import DownloadWriter

_HOLD_A_FOLDER = """
import sys
from etl.extract import scratch_folder
with scratch_folder.folder() as folder:
    (folder / "report.csv").write_text("a day")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def another_run() -> tuple[subprocess.Popen[str], Path]:
    """A process that has its folder, and keeps it until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD_A_FOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_the_folder_is_private_and_ends_with_its_use(temporary_folder: Path) -> None:
    with scratch_folder.folder() as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "report.csv").touch()
        assert folder.parent == temporary_folder
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary_folder.iterdir()) == []


def test_the_folder_ends_with_an_error_too(temporary_folder: Path) -> None:
    with pytest.raises(SystemExit), scratch_folder.folder():
        raise SystemExit(143)
    assert list(temporary_folder.iterdir()) == []


def test_a_killed_run_is_cleaned_up_after_and_a_living_one_left_alone(temporary_folder: Path) -> None:
    killed, left_over = another_run()
    living, in_use = another_run()
    with killed, living:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left_over / "report.csv").exists()
        with scratch_folder.folder() as own:
            assert set(temporary_folder.iterdir()) == {own, in_use}
        assert (in_use / "report.csv").exists()
        living.communicate("")
    assert list(temporary_folder.iterdir()) == []


def test_a_folder_that_is_just_being_made_is_left_alone(temporary_folder: Path) -> None:
    just_made = temporary_folder / "watch-time-run-new"
    just_made.mkdir()
    (just_made / "lock.new").touch()
    with scratch_folder.folder():
        assert just_made.exists()


def test_a_full_disk_is_trouble_that_names_the_folder(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no bug, whichever of the run's folders and files is to be made next."""
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with scratch_folder.folder() as folder:
        with scratch_folder.folder_in(folder) as for_a_slice:
            fill_disk(small_disk)
            with pytest.raises(TryLater, match=f"no space left in {for_a_slice}"):
                DownloadWriter(for_a_slice / "report.csv")
        fill_disk(small_disk)
        with pytest.raises(TryLater, match=f"no space left in {folder}"), scratch_folder.folder_in(folder):
            pass
    fill_disk(small_disk)
    with pytest.raises(TryLater, match=f"no space left in {small_disk}") as full, scratch_folder.folder():
        pass
    assert full.value.next_step == "free space there, or point TMPDIR to a larger disk, and run again"


def test_where_no_folder_takes_a_file_those_that_were_tried_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python tries TMPDIR first, and then the usual ones."""
    tried = ["/proc/no-such-folder", "/sys/no-such-folder"]
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: tried)
    with pytest.raises(TryLater, match="No usable temporary directory found in") as nowhere, scratch_folder.folder():
        pass
    assert all(folder in nowhere.value.message for folder in tried)


def test_the_lock_has_its_name_only_once_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a run that sweeps at this moment takes the folder for a killed run's."""
    names: list[list[str]] = []

    def noted(file: TextIO, how: int) -> None:
        names.append([path.name for path in Path(file.name).parent.iterdir()])
        flock(file, how)

    monkeypatch.setattr("etl.extract.scratch_folder.fcntl.flock", noted)
    with scratch_folder.folder() as folder:
        names.append([path.name for path in folder.iterdir()])
    assert names == [["lock.new"], ["lock"]]


def test_what_belongs_to_others_is_left_alone(temporary_folder: Path) -> None:
    (temporary_folder / "watch-time-run-file").touch()
    (temporary_folder / "watch-time-data").mkdir()
    with scratch_folder.folder():
        pass
    assert {path.name for path in temporary_folder.iterdir()} == {"watch-time-run-file", "watch-time-data"}
