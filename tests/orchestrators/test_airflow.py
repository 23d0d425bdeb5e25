"""The DAG of the documentation, run by Airflow's own scheduler: a success, 75 and 65.

The API of the cluster is a stand-in; the container of each pod really runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import yaml

import kubernetes_api
from doc_examples import example
from http_listeners import free_port
from image_containers import open_image
from kubernetes_api import Cluster
from kubernetes_manifests import ROOT
from scenarios import IMAGE, PROGRAMS, Source, needs_orchestrators, source

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [needs_orchestrators, pytest.mark.timeout(400)]

# A busy machine takes minutes to start Airflow's four programs.
_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True)
class Airflow:
    """A running one, with the DAG and nothing else."""

    cluster: Cluster
    api: httpx.Client
    folder: Path

    def run(self, run_id: str) -> list[tuple[str, str]]:
        """Run the DAG to its end, whatever that is; the state of each try of its task, and that of the run."""
        self.api.post("dagRuns", json={"dag_run_id": run_id, "logical_date": None}).raise_for_status()
        deadline = time.monotonic() + _TIMEOUT_S
        while (state := self._got(f"dagRuns/{run_id}")["state"]) in {"queued", "running"}:
            assert time.monotonic() < deadline, f"the run is still {state}\n{self.logs()}"
            time.sleep(0.5)
        tries = self._got(f"dagRuns/{run_id}/taskInstances/run/tries")["task_instances"]
        return [*((f"try {one['try_number']}", one["state"]) for one in tries), ("run", state)]

    def logs(self) -> str:
        """Of the tasks, and of Airflow itself."""
        files = [*self.folder.rglob("logs/dag_id=*/**/*.log"), self.folder / "standalone.log"]
        return "\n".join(f"{file}\n{file.read_text()[-6000:]}" for file in files if file.is_file())

    def _got(self, path: str) -> Any:
        return self.api.get(path).raise_for_status().json()


def _environment(folder: Path, port: int, cluster_url: str) -> dict[str, str]:
    """Airflow's settings: one machine, SQLite, no examples, no telemetry; and the cluster's."""
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": cluster_url}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    settings = {
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__HOST": "127.0.0.1",
        "API__PORT": f"{port}",
        "API__WORKERS": "1",
        "CORE__DAGS_FOLDER": f"{folder}/dags",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": "1",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "LOGGING__TRIGGER_LOG_SERVER_PORT": f"{free_port()}",
        "LOGGING__WORKER_LOG_SERVER_PORT": f"{free_port()}",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {
        "AIRFLOW_HOME": f"{folder}",
        "HOME": f"{folder}",
        "KUBECONFIG": f"{folder}/kubeconfig",
        "NO_PROXY": "*",
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
    }


@contextmanager
def _standalone(folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`airflow standalone`: database, API server, scheduler, DAG processor. Nothing of it is left at the end."""
    with (
        (folder / "standalone.log").open("wb") as log,
        subprocess.Popen(
            [PROGRAMS / "airflow", "standalone"], env=environment, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            # Whatever one of them starts meanwhile is found in the next round.
            while left := _alive_in_session(process.pid):
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def _alive_in_session(leader: int) -> list[int]:
    """The processes that a leader and its children started, orphans included."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session = file.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(file.parent.name))
    return found


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Airflow with the DAG, when the DAG is known to it."""
    folder = tmp_path_factory.mktemp("airflow")
    dags = folder / "dags"
    dags.mkdir()
    shutil.copy(ROOT / "run" / "cronjob.yaml", dags)
    # Started by the tests and not by the clock, and without ten minutes between tries.
    changes = {'schedule="15 * * * *"': "schedule=None", "timedelta(minutes=10)": "timedelta(seconds=1)"}
    (dags / "watch_time.py").write_text(example("install/orchestrators.md", "airflow", changes))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with open_image(IMAGE) as image, httpx.Client(trust_env=False, timeout=60) as api:
        cluster = Cluster(image)
        with (
            kubernetes_api.serving(cluster) as cluster_url,
            _standalone(folder, _environment(folder, port, cluster_url)) as process,
        ):
            made = Airflow(cluster, api, folder)
            deadline = time.monotonic() + _TIMEOUT_S
            while not _knows_the_dag(api, url):
                assert process.poll() is None, made.logs()
                assert time.monotonic() < deadline, made.logs()
                time.sleep(0.5)
            api.base_url = httpx.URL(f"{url}/api/v2/dags/watch_time")
            yield made


def _knows_the_dag(api: httpx.Client, url: str) -> bool:
    try:
        if "Authorization" not in api.headers:
            token = api.get(f"{url}/auth/token").raise_for_status().json()["access_token"]
            api.headers["Authorization"] = f"Bearer {token}"
        errors = api.get(f"{url}/api/v2/importErrors").raise_for_status().json()["import_errors"]
        assert errors == []
        return api.get(f"{url}/api/v2/dags/watch_time").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def job(airflow: Airflow, tmp_path: Path) -> Iterator[Source]:
    """A source and a database of the test's own, as the cluster's ConfigMap and Secret."""
    airflow.cluster.created.clear()
    with source(tmp_path) as made:
        airflow.cluster.config_maps["watch-time"] = made.settings
        airflow.cluster.secrets["watch-time"] = made.secrets
        yield made


def _exit_codes(airflow: Airflow) -> list[int | None]:
    return [pod.exit_code for pod in airflow.cluster.created]


def test_a_run_that_loads_succeeds_and_its_pod_is_deleted(airflow: Airflow, job: Source) -> None:
    ended = airflow.run("loads")
    assert ended == [("try 1", "success"), ("run", "success")], airflow.logs()
    assert _exit_codes(airflow) == [0]
    assert airflow.cluster.pods.keys().isdisjoint(pod.manifest["metadata"]["name"] for pod in airflow.cluster.created)
    assert job.states() == [("LIVE", "loaded"), ("VOD", "loaded")]


def test_after_75_the_task_is_tried_again_and_succeeds(airflow: Airflow, job: Source) -> None:
    job.is_down_for_one_run()
    ended = airflow.run("down")
    assert _exit_codes(airflow) == [75, 0], airflow.logs()
    assert ended == [("try 1", "failed"), ("try 2", "success"), ("run", "success")]
    assert job.states() == [("LIVE", "loaded"), ("VOD", "loaded")]


def test_after_65_the_task_has_failed_and_is_not_tried_again(airflow: Airflow, job: Source) -> None:
    job.hands_out_what_is_held()
    ended = airflow.run("held")
    assert _exit_codes(airflow) == [65], airflow.logs()
    assert ended == [("try 1", "failed"), ("run", "failed")]
    assert job.states() == [("LIVE", "loaded"), ("VOD", "held")]
