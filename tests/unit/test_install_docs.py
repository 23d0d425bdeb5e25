"""The pages on installing cannot rot: links, commands, files, exit codes and settings are those of the repository."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from doc_examples import example
from etl import __version__
from etl.cli import main
from etl.config.environment import PREFIX, variable_of
from etl.config.settings import Settings
from etl.domain.errors import ExitCode, TryLater
from kubernetes_manifests import JOBS, MANIFESTS, ROOT, pod

REPOSITORY: Final = Path(__file__).parents[2]
PAGES: Final = {
    name: (REPOSITORY / "docs" / "install" / name).read_text(encoding="utf-8")
    for name in ("kubernetes.md", "cron.md", "orchestrators.md")
}
EXAMPLES: Final = ("airflow", "dagster")


def _example(name: str) -> str:
    return example("install/orchestrators.md", name)


def _commands(page: str) -> list[str]:
    """The command lines of a page, continuation lines and pipes joined."""
    lines = [line[4:] for line in PAGES[page].splitlines() if line.startswith("    ")]
    joined = re.sub(r"(\\|\|)\n +", lambda found: " " if found[1] == "\\" else "| ", "\n".join(lines))
    return [line for line in joined.splitlines() if re.match(r"(sudo|kubectl|crontab|install|\.venv|systemctl)", line)]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGES[page])
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = (REPOSITORY / "docs" / "install" / file).resolve()
        assert target.is_file(), link
        headings = [
            re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in target.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        ]
        assert not anchor or anchor in headings, link


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_repository_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"(?<![\w/])deploy/[\w./-]*\w", PAGES[page])
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_and_command_of_the_program_that_is_named_exists(page: str) -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", PAGES[page]))
    assert named - known - {f"{name}_FILE" for name in known} == set()
    commands = set(main.PROGRAM.commands)  # type: ignore[attr-defined]  # a group
    assert set(re.findall(r"bin/watch-time ([a-z]+)", PAGES[page])) <= commands


def test_every_thing_in_the_cluster_that_is_named_is_in_the_manifests() -> None:
    made = {(manifest["kind"].lower(), manifest["metadata"]["name"]) for manifest in MANIFESTS.values()}
    # Jobs that the commands themselves make.
    made |= {("job", name) for name in re.findall(r"create job ([\w-]+)", PAGES["kubernetes.md"])}
    commands = _commands("kubernetes.md")
    assert len(commands) > 12
    named = [found for command in commands for found in re.findall(r"\b(job|cronjob)[/ ]([\w-]+)", command)]
    assert {name for name in named if name not in made} == set()
    spaces = {space for command in commands for space in re.findall(r" -n ([\w-]+)", command)}
    assert {("namespace", space) for space in spaces} <= made
    folders = re.findall(r"apply -k (\S+)", "\n".join(commands))
    assert {(REPOSITORY / folder / "kustomization.yaml").is_file() for folder in folders} == {True}


def test_the_patch_that_runs_another_command_in_a_pod_fits_the_daily_job(tmp_path: Path) -> None:
    """On a Job as kubectl makes it of the CronJob; --local asks no cluster."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: the command was not run")
    (command,) = (line for line in _commands("kubernetes.md") if "patch" in line)
    patch = next(shlex.split(part) for part in command.split("|") if "patch" in part)
    cronjob = JOBS["run/cronjob.yaml"]
    file = tmp_path / "job.yaml"
    file.write_text(
        yaml.safe_dump(
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, **cronjob["spec"]["jobTemplate"]}
            | {"metadata": {"name": "x"}}
        )
    )
    patch[patch.index("-f") + 1] = str(file)
    done = subprocess.run([kubectl, *patch[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (container,) = pod(yaml.safe_load(done.stdout))["containers"]
    assert container["args"] == ["doctor"]
    assert container["securityContext"] == pod(cronjob)["containers"][0]["securityContext"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_knows_what_every_exit_code_means(name: str) -> None:
    tree = ast.parse(_example(name))
    (codes,) = (
        ast.literal_eval(line.value)
        for line in tree.body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "NEEDS_A_PERSON"
    )
    assert codes == set(ExitCode) - {ExitCode.OK, ExitCode.STOPPED, TryLater.exit_code}
    assert f'"registry.example.com/watch-time:{__version__}"' in _example(name)


def test_the_example_for_airflow_takes_the_pod_of_the_daily_job() -> None:
    assert JOBS["run/cronjob.yaml"]["spec"]["jobTemplate"]["spec"]["template"].keys() == {"metadata", "spec"}
    (container,) = pod(JOBS["run/cronjob.yaml"])["containers"]
    assert f'base_container_name="{container["name"]}"' in _example("airflow")
    assert f'with_name("{(ROOT / "run" / "cronjob.yaml").name}")' in _example("airflow")


def test_the_table_of_failures_is_that_of_the_manifests() -> None:
    table = PAGES["kubernetes.md"].partition("## When a run fails")[2].partition("\n\n## ")[0]
    told = {code for line in re.findall(r"^\| ([0-9, ]+)", table, re.MULTILINE) for code in re.findall("[0-9]+", line)}
    assert {int(code) for code in told} == set(ExitCode) - {ExitCode.OK}
