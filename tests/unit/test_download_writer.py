"""What a download grows into: gzip to its very end, nothing that is no CSV, nothing without bounds."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from typing import TYPE_CHECKING

import pytest

from etl.domain.errors import MalformedReport
from etl.extract.download_writer import DownloadWriter
from etl.extract.gunzip import Gunzip

if TYPE_CHECKING:
    from pathlib import Path

CSV = b"a,b\n" + b"1,2\n" * 500
GZIPPED = gzip.compress(CSV)


def written(received: bytes, folder: Path, piece_bytes: int = 1 << 16) -> bytes:
    writer = DownloadWriter(folder / "report.csv")
    try:
        for start in range(0, len(received), piece_bytes):
            writer.write(received[start : start + piece_bytes])
        sha256 = writer.finish()
    finally:
        writer.close()
    content = writer.path.read_bytes()
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert (writer.size_bytes, writer.received_bytes) == (len(content), len(received))
    return content


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize(
    ("received", "content"),
    [
        pytest.param(CSV, CSV, id="plain"),
        pytest.param(GZIPPED, CSV, id="gzip"),
        pytest.param(GZIPPED + gzip.compress(b"3,4\n") + gzip.compress(b""), CSV + b"3,4\n", id="several members"),
        pytest.param(gzip.compress(b""), b"", id="gzip of nothing"),
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"a", b"a", id="one byte"),
        pytest.param(b"\x1f\x8b", b"\x1f\x8b", id="less than gzip's magic"),
        pytest.param(b"\xef\xbb\xbfa,b\n", b"\xef\xbb\xbfa,b\n", id="byte-order mark"),
    ],
)
def test_these_are_kept(received: bytes, content: bytes, piece_bytes: int, tmp_path: Path) -> None:
    assert written(received, tmp_path, piece_bytes) == content


@pytest.mark.parametrize("piece_bytes", [1, 100_000])
@pytest.mark.parametrize(
    "received",
    [
        pytest.param(b"<!DOCTYPE html>", id="page"),
        pytest.param(b"\xef\xbb\xbf \r\n\t<html>", id="page after blanks"),
        pytest.param(b"<?xml version='1.0'?>", id="XML"),
        pytest.param(b'{"code": 5}', id="JSON"),
        pytest.param(gzip.compress(b"<html>"), id="gzipped page"),
        pytest.param(gzip.compress(GZIPPED), id="gzip in gzip"),
        pytest.param(GZIPPED + b"garbage", id="garbage after gzip"),
        pytest.param(GZIPPED + bytes(20), id="zeros after gzip"),
        pytest.param(GZIPPED + GZIPPED[:9], id="second member cut"),
        pytest.param(GZIPPED[:-1], id="checksum cut"),
        pytest.param(GZIPPED[:-5] + b"\0" + GZIPPED[-4:], id="wrong checksum"),
    ],
)
def test_these_are_refused(received: bytes, piece_bytes: int, tmp_path: Path) -> None:
    with pytest.raises(MalformedReport):
        written(received, tmp_path, piece_bytes)


def test_gzip_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for cut in range(3, len(GZIPPED)):
        with pytest.raises(MalformedReport, match="is truncated"):
            written(GZIPPED[:cut], tmp_path)


def test_a_restart_forgets_everything(tmp_path: Path) -> None:
    writer = DownloadWriter(tmp_path / "report.csv")
    writer.write(GZIPPED[:40])
    writer.restart()
    writer.write(b"a,b\n")
    assert writer.finish() == hashlib.sha256(b"a,b\n").hexdigest()
    assert writer.path.read_bytes() == b"a,b\n"


def test_output_comes_in_bounded_pieces_and_complete() -> None:
    content = bytes(5 << 20) + b"end"
    pieces = list(Gunzip().feed(gzip.compress(content)))
    assert max(map(len, pieces)) <= 1 << 20
    assert b"".join(pieces) == content


def test_a_bomb_stops_at_the_ratio(tmp_path: Path) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(b"a" * (1 << 20)) for _ in range(80)) + squeeze.flush()
    with pytest.raises(MalformedReport, match="decompresses from"):
        written(bomb, tmp_path)
    assert (tmp_path / "report.csv").stat().st_size <= 65 << 20


def test_nobody_else_may_read_a_report(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        DownloadWriter(tmp_path / "report.csv").close()
    finally:
        os.umask(before)
    assert (tmp_path / "report.csv").stat().st_mode & 0o777 == 0o600
