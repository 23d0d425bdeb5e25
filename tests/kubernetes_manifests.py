"""The Kubernetes manifests of deploy/kubernetes, read as they lie there, and as kustomize makes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[1] / "deploy" / "kubernetes"
# What people apply, each on its own.
APPLIED: Final = (".", "base", "migrate", "run", "backfill")

Manifest = dict[str, Any]


def read(file: Path) -> Manifest:
    """The one document in `file`."""
    (document,) = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


KUSTOMIZATIONS: Final = {file: read(file) for file in sorted(ROOT.rglob("kustomization.yaml"))}
MANIFESTS: Final = {
    str(file.relative_to(ROOT)): read(file) for file in sorted(ROOT.rglob("*.yaml")) if file not in KUSTOMIZATIONS
}


def job(manifest: Manifest) -> Manifest:
    """The spec of a Job, or of the Jobs that a CronJob makes."""
    spec: Manifest = manifest["spec"]
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec


def pod(manifest: Manifest) -> Manifest:
    """The spec of a Job's pods."""
    spec: Manifest = job(manifest)["template"]["spec"]
    return spec


def containers(manifest: Manifest) -> list[Manifest]:
    """All containers of a Job's pods."""
    spec = pod(manifest)
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


JOBS: Final = {name: manifest for name, manifest in MANIFESTS.items() if manifest["kind"] in {"Job", "CronJob"}}

every_job = pytest.mark.parametrize("manifest", [pytest.param(made, id=name) for name, made in JOBS.items()])


def built(folder: str, root: Path = ROOT) -> list[Manifest]:
    """What `kubectl apply -k` would send for a folder."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: kustomize was not run; the manifests are checked as they lie there")
    done = subprocess.run([kubectl, "kustomize", root / folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
