"""The workflows are well-formed, ask for no rights that they do not need, and try what the project promises."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from etl.diagnostics import doctor

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CI = ROOT / ".github/workflows/ci.yml"


def _jobs() -> dict[str, Any]:
    found = yaml.safe_load(CI.read_text())["jobs"]
    assert isinstance(found, dict)
    return found


TOOLS = [
    pytest.param(("check-jsonschema", "--builtin-schema", "vendor.github-workflows"), id="schema"),
    pytest.param(("zizmor", "--offline", "--no-progress"), id="security"),
]


@pytest.mark.parametrize("tool", TOOLS)
def test_workflows_pass(tool: tuple[str, ...]) -> None:
    assert WORKFLOWS
    program = Path(sys.executable).with_name(tool[0])
    done = subprocess.run([program, *tool[1:], *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_python_that_the_package_names_is_tried() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    named = [found[1] for line in classifiers if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", line))]
    assert _jobs()["pythons"]["strategy"]["matrix"]["python"] == named


def test_each_postgres_that_doctor_takes_is_tried() -> None:
    tried = _jobs()["servers"]["strategy"]["matrix"]["postgres"]
    assert tried == [f"{major}" for major in range(doctor._OLDEST_MAJOR, doctor._NEWEST_MAJOR + 1)]


def test_the_same_script_runs_there_and_here() -> None:
    steps = [step.get("run") for step in _jobs()["pythons"]["steps"]]
    assert "bash .ci/run" in steps
    assert (ROOT / ".ci/run").exists()
