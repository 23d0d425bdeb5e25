"""Containers, networks and volumes of the Docker engine that answers, for tests that are about them.

`make engine-test` runs those tests; elsewhere they are skipped. It sees to it that the engine has the images.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_engine = pytest.mark.skipif(
    os.environ.get("WATCH_TIME_TEST_ENGINE") != "1", reason="`make engine-test` runs it, on a Docker engine"
)


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The client's own command, in text."""
    command = ["docker", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done


@dataclass(frozen=True)
class Container:
    """A container that was started."""

    name: str

    def inspect(self) -> dict[str, Any]:
        (found,) = json.loads(docker("inspect", self.name).stdout)
        return dict(found)

    @property
    def pid(self) -> int:
        """Of its first process, as this machine counts."""
        return int(self.inspect()["State"]["Pid"])

    def port(self, port: int) -> int:
        """Where on this machine's loopback a port of it is published."""
        (found,) = docker("port", self.name, f"{port}").stdout.splitlines()
        return int(found.rpartition(":")[2])

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        return int(docker("wait", self.name).stdout)

    def logs(self) -> str:
        """What it wrote on either stream."""
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def execute(self, *command: str, check: bool = True) -> str:
        return docker("exec", self.name, *command, check=check).stdout.strip()


@contextmanager
def running(image: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container in the background, removed at the end with its volumes."""
    name = f"watch-time-test-{uuid.uuid4().hex[:12]}"
    try:
        docker("run", "--detach", f"--name={name}", *options, image, *command)
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
