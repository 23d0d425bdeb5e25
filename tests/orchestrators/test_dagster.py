"""The definitions of the documentation, run by Dagster on a Docker engine: a success, 75 and 65."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from doc_examples import example
from etl import __version__
from image_containers import _engine
from prerequisites import skip_missing
from scenarios import IMAGE, PROGRAMS, Source, needs_orchestrators, source

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [needs_orchestrators, pytest.mark.timeout(400)]

NAME = "registry.example.com/watch-time"


@dataclass(frozen=True)
class Dagster:
    """An instance of its own, and the definitions."""

    folder: Path

    def run(self) -> dict[str, Any]:
        """Run the job to its end, whatever that is: its status, the end of each try, the metadata of the asset."""
        self._call("dagster", "job", "execute", "-f", "definitions.py", "-j", "watch_time_job")
        told = self._call("python", Path(__file__).with_name("dagster_events.py"))
        log = (self.folder / "log").read_text()
        assert told.returncode == 0, log
        return dict(json.loads(told.stdout)) | {"log": log}

    def _call(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            "DAGSTER_HOME": f"{self.folder}",
            "HOME": f"{self.folder}",
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        }
        environment |= {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
        done = subprocess.run(
            [PROGRAMS / program, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        with (self.folder / "log").open("a") as log:
            log.write(done.stderr)
        return done


@pytest.fixture
def image() -> Iterator[None]:
    """The image under test, by the name that it has in the documentation."""
    if _engine() != "docker":
        skip_missing("no Docker engine answers (tests/engine/with-engine.sh starts one)")
    client = docker.from_env()
    try:
        client.images.get(IMAGE).tag(NAME, __version__)
        yield
        client.images.remove(f"{NAME}:{__version__}")
        assert client.containers.list(all=True, filters={"ancestor": IMAGE}) == [], "a container was left"
    finally:
        client.close()


@pytest.fixture
def job(image: None, tmp_path: Path) -> Iterator[Source]:
    """A source and a database of the test's own."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    with source(secrets) as made:
        yield made


@pytest.fixture
def dagster(job: Source, tmp_path: Path) -> Dagster:
    """Dagster with the definitions, which say where this job's source, secrets and network are."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    changes = {
        '"WATCH_TIME_ORG_ID": "...",': "".join(f"{name!r}: {value!r}," for name, value in job.settings.items()),
        '{"/etc/watch-time": ': f'{{"{job.secrets["api-token"].parent}": ',
        "detach=True,": 'detach=True, network_mode="host",',
        "seconds_to_wait=600": "seconds_to_wait=1",
    }
    (folder / "definitions.py").write_text(example("install/orchestrators.md", "dagster", changes))
    return Dagster(folder)


def test_a_run_that_loads_succeeds_and_the_asset_tells_the_results(dagster: Dagster, job: Source) -> None:
    ended = dagster.run()
    assert ended["status"] == "SUCCESS", ended["log"]
    assert ended["metadata"] == {"loaded": 2}
    assert job.states() == [("LIVE", "loaded"), ("VOD", "loaded")]


def test_after_75_the_asset_is_tried_again_and_succeeds(dagster: Dagster, job: Source) -> None:
    job.is_down_for_one_run()
    ended = dagster.run()
    assert ended["status"] == "SUCCESS", ended["log"]
    assert ended["tries"] == ["STEP_UP_FOR_RETRY", "STEP_SUCCESS"], ended["log"]
    assert job.states() == [("LIVE", "loaded"), ("VOD", "loaded")]


def test_after_65_the_asset_has_failed_and_is_not_tried_again(dagster: Dagster, job: Source) -> None:
    job.hands_out_what_is_held()
    ended = dagster.run()
    assert ended["status"] == "FAILURE", ended["log"]
    assert ended["tries"] == ["STEP_FAILURE"], ended["log"]
    assert "ended with 65" in ended["log"]
    assert job.states() == [("LIVE", "loaded"), ("VOD", "held")]
