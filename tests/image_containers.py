"""The built image, run as a careful operator would: read-only but for /tmp, as nobody, with no capabilities.

With docker or podman where one answers, else with runc on the image that buildah keeps. In the network of this machine,
so that servers of the tests are reached on loopback.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class RunRequest:
    """What is to run: arguments, or a program of its own instead of the image's, variables, and files to mount."""

    arguments: tuple[str, ...]
    program: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)


class _Runtime(Protocol):
    def command(self, name: str, wanted: RunRequest) -> list[str]: ...

    def kill(self, name: str, signal: str) -> list[str]: ...


@dataclass
class Container:
    """A running container."""

    name: str
    process: subprocess.Popen[str]
    _runtime: _Runtime

    def terminate(self) -> None:
        """Send SIGTERM to its first process."""
        _run(*self._runtime.kill(self.name, "TERM"))

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Its exit code and what it said."""
        out, err = self.process.communicate(timeout=120)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)


@dataclass(frozen=True)
class Image:
    """An image, and what runs it."""

    _runtime: _Runtime

    @contextmanager
    def started(self, wanted: RunRequest) -> Iterator[Container]:
        """A container, removed at the end."""
        name = f"watch-time-test-{uuid.uuid4().hex[:12]}"
        process = subprocess.Popen(
            self._runtime.command(name, wanted), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        container = Container(name, process, self._runtime)
        with process:
            try:
                yield container
            finally:
                if process.poll() is None:
                    _run(*self._runtime.kill(name, "KILL"))

    def __call__(self, wanted: RunRequest) -> subprocess.CompletedProcess[str]:
        with self.started(wanted) as container:
            return container.wait()


@contextmanager
def open_image(image: str) -> Iterator[Image]:
    """The image of this name.

    Raises:
        subprocess.CalledProcessError: there is none.
    """
    engine = _engine()
    if engine:
        _run(engine, "image", "inspect", image)
        yield Image(_Engine(engine, image))
        return
    working_container = _run("buildah", "from", "--pull-never", image)
    try:
        root = Path(_run("buildah", "mount", working_container))
        config = json.loads(_run("buildah", "inspect", "--type", "image", image))["OCIv1"]["config"]
        with tempfile.TemporaryDirectory(prefix="watch-time-bundles-") as folder:
            yield Image(_Runc(Path(folder), root, config))
    finally:
        _run("buildah", "rm", working_container)


@dataclass(frozen=True)
class _Engine:
    """docker or podman."""

    program: str
    image: str

    def command(self, name: str, wanted: RunRequest) -> list[str]:
        variables = [f"--env={variable}={value}" for variable, value in wanted.variables.items()]
        files = [f"--volume={here}:{there}:ro" for there, here in wanted.files.items()]
        program = [f"--entrypoint={wanted.program}"] if wanted.program else []
        # On its own, podman puts more places to write to into a read-only container.
        less = ["--read-only-tmpfs=false"] if self.program == "podman" else []
        return [
            self.program, "run", "--rm", f"--name={name}", "--read-only", *less, "--tmpfs=/tmp", "--network=host",
            "--cap-drop=ALL", "--security-opt=no-new-privileges", *variables, *files, *program, self.image,
            *wanted.arguments,
        ]  # fmt: skip

    def kill(self, name: str, signal: str) -> list[str]:
        return [self.program, "kill", f"--signal={signal}", name]


@dataclass(frozen=True)
class _Runc:
    """The same, written down as the runtime specification has it."""

    folder: Path
    root: Path
    image_config: dict[str, Any]

    def command(self, name: str, wanted: RunRequest) -> list[str]:
        bundle = self.folder / name
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._specified(wanted)))
        return ["runc", "run", f"--bundle={bundle}", name]

    def kill(self, name: str, signal: str) -> list[str]:
        return ["runc", "kill", name, signal]

    def _specified(self, wanted: RunRequest) -> dict[str, Any]:
        image = self.image_config
        user, group = map(int, image["User"].split(":"))
        arguments = list(wanted.arguments) or ([] if wanted.program else image["Cmd"])
        variables = [f"{variable}={value}" for variable, value in wanted.variables.items()]
        files = [_mount(there, "bind", str(here), "bind", "ro") for there, here in wanted.files.items()]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user, "gid": group},
                "args": [*([wanted.program] if wanted.program else image["Entrypoint"]), *arguments],
                "env": [*image["Env"], *variables],
                "cwd": image["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.root), "readonly": True},
            "mounts": [
                _mount("/proc", "proc", "proc"),
                _mount("/dev", "tmpfs", "tmpfs", "nosuid", "mode=755"),
                _mount("/tmp", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777"),  # noqa: S108 - the container's
                *files,
            ],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
        }


def _mount(there: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": there, "type": kind, "source": source, "options": list(options)}


def _engine() -> str | None:
    """The one that deploy/image/build.sh builds with."""
    for engine in ("docker", "podman"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0:
            return engine
    return None


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
