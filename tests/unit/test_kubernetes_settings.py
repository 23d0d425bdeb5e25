"""In Kubernetes settings come from the ConfigMap, secrets from files that the job's user alone can read."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from etl.config.environment import PREFIX, variable_of
from etl.config.settings import Settings, open_secrets
from etl.domain.errors import Misconfigured
from kubernetes_manifests import MANIFESTS, ROOT, Manifest, containers, every_job, pod

if TYPE_CHECKING:
    from collections.abc import Iterator


def _field(variable: str) -> str:
    return next(name for name in Settings.model_fields if variable_of(name) == variable)


@contextmanager
def _as(user: int, group: int) -> Iterator[None]:
    """With the rights of another user, as long as it lasts."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def test_every_variable_is_a_setting() -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    secrets = {name for name in known if "SecretStr" in str(Settings.model_fields[_field(name)].annotation)}
    texts = "".join(file.read_text(encoding="utf-8") for file in sorted(ROOT.rglob("*.yaml")))
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", texts))
    assert named - known - {f"{name}_FILE" for name in secrets} == set()
    assert not secrets & named, "a secret is never in a variable"


@every_job
def test_secrets_are_files(manifest: Manifest) -> None:
    spec = pod(manifest)
    (secret,) = (volume["secret"] for volume in spec["volumes"] if "secret" in volume)
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    assert secret["defaultMode"] == 0o440, "root's files: without the group nobody could read them"
    for container in containers(manifest):
        assert container["envFrom"] == [{"configMapRef": {"name": MANIFESTS["base/settings.yaml"]["metadata"]["name"]}}]
        (place,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets")
        for variable in container["env"]:
            assert variable.keys() == {"name", "value"}
            assert variable["value"].startswith(f"{place}/")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@every_job
def test_its_user_can_read_them_and_is_not_warned(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kubelet makes them: root's, of the group fsGroup, with defaultMode."""
    context = pod(manifest)["securityContext"]
    (mode,) = (volume["secret"]["defaultMode"] for volume in pod(manifest)["volumes"] if "secret" in volume)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        secret = folder / "api-token"
        secret.write_text("token-of-mine")
        secret.chmod(mode)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("WATCH_TIME_API_TOKEN_FILE", str(secret))
        with _as(context["runAsUser"], context["runAsGroup"]), pytest.raises(Misconfigured, match="cannot be read"):
            Settings.load()
        os.chown(secret, 0, context["fsGroup"])
        with _as(context["runAsUser"], context["runAsGroup"]):
            assert Settings.load().require("api_token") == "token-of-mine"
            assert open_secrets() == {}


@every_job
def test_the_documented_secrets_are_those_that_are_mounted(manifest: Manifest) -> None:
    page = (ROOT.parents[1] / "docs" / "install" / "kubernetes.md").read_text(encoding="utf-8")
    (secret,) = (volume["secret"]["secretName"] for volume in pod(manifest)["volumes"] if "secret" in volume)
    (command,) = re.findall(rf"create secret generic {secret} \\\n((?: .*\\\n)* .*)\n", page)
    keys = set(re.findall(r"--from-file=([\w.-]+)", command))
    for variable in containers(manifest)[0]["env"]:
        assert variable["value"].rpartition("/")[2] in keys
