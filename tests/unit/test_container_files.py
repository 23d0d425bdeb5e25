"""The files that make containers: Dockerfile and docker-compose.yml are right by their rules, and by the program."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from etl.cli import main
from etl.config.settings import Settings, unknown_variables
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"


def _lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    # It comes with a wheel, into the folder of the interpreter.
    hadolint = Path(sys.executable).with_name("hadolint")
    return subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    linted = _lint(DOCKERFILE)
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


def test_hadolint_would_say_it(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text(DOCKERFILE.read_text().replace("USER 10001:10001", "USER root"))
    assert "DL3002" in _lint(careless).stdout


def test_the_dockerfile_names_no_host_and_ends_without_rights() -> None:
    text = DOCKERFILE.read_text()
    assert not re.search(r"https?://|--(extra-)?index-url|--trusted-host", text)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.index("USER 10001") > text.rindex("FROM ")


def test_the_extras_of_the_image_are_there() -> None:
    (extras,) = re.findall(r'^ARG EXTRAS="(.*)"$', DOCKERFILE.read_text(), re.MULTILINE)
    known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"sandbox"} <= set(extras.split()) <= known.keys()


def _checked(compose_file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose_file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_compose_file_follows_the_specification() -> None:
    checked = _checked(COMPOSE_FILE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("read_only: true", "readonly: true", id="unknown key"),
        pytest.param("condition: service_healthy", "condition: service_well", id="unknown condition"),
        pytest.param("cap_drop: [ALL]", "cap_drop: ALL", id="no list"),
    ],
)
def test_the_specification_is_looked_at(right: str, wrong: str, tmp_path: Path) -> None:
    text = COMPOSE_FILE.read_text()
    assert right in text
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text.replace(right, wrong))
    assert _checked(broken).returncode == 1


def _compose(**environment: str) -> dict[str, Any]:
    """The compose file as Compose understands it with these variables."""

    def value(found: re.Match[str]) -> str:
        return environment.get(found["name"]) or found["default"]

    text = re.sub(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}", value, COMPOSE_FILE.read_text())
    assert "${" not in text
    compose: dict[str, Any] = yaml.safe_load(text)
    return compose


def _of_ours(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in compose["services"].items() if service.get("build") == "."}


def test_what_compose_refers_to_exists() -> None:
    compose = _compose()
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
        assert service.get("network_mode", "service:postgres").removeprefix("service:") in services
        secrets = service.get("secrets", [])
        assert set(secrets) <= compose["secrets"].keys()
        named = {value for name, value in service.get("environment", {}).items() if name.endswith("_FILE")}
        assert named == {f"/run/secrets/{secret}" for secret in secrets}
    waited_for = [(need, how["condition"]) for s in services.values() for need, how in s.get("depends_on", {}).items()]
    assert all("healthcheck" in services[need] for need, condition in waited_for if condition == "service_healthy")
    for secret in compose["secrets"].values():
        assert (REPOSITORY / secret["file"]).stat().st_mode & 0o444 == 0o444, "the container's user must read it"


def test_compose_runs_commands_that_there_are() -> None:
    parser = main.PROGRAM
    for service in _of_ours(_compose()).values():
        name, *options = service["command"]
        command = parser.commands[name]  # type: ignore[attr-defined]  # it is a group
        command.make_context(name, [*options])


def test_containers_of_ours_may_nothing() -> None:
    ours = _of_ours(_compose())
    assert {"migrate", "sandbox", "job"} == ours.keys()
    for service in ours.values():
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - the container's
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.fixture
def set_as_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, Any], str], None]:
    """Set the variables that a service gets; its secrets lie where the repository has them."""

    def set_all(compose: dict[str, Any], service: str) -> None:
        for name, value in compose["services"][service]["environment"].items():
            secret = str(value).removeprefix("/run/secrets/")
            is_secret = name.endswith("_FILE")
            monkeypatch.setenv(name, str(REPOSITORY / compose["secrets"][secret]["file"]) if is_secret else str(value))

    return set_all


def test_compose_sets_settings_that_there_are_and_that_fit_the_sandbox(
    set_as_in: Callable[[dict[str, Any], str], None],
) -> None:
    compose = _compose()
    set_as_in(compose, "job")
    assert unknown_variables() == {}
    settings = Settings.load(needs=("api_token", "org_id", "database_url"))
    # Secrets are masked in messages, wherever their letters come up.
    assert not [secret for secret in settings.secrets() if secret and secret in "type: watch-time doctor"]
    sandbox = SandboxConfig()
    assert (settings.require("api_token"), settings.org_id) == (sandbox.token, sandbox.org_id)
    _, port = compose["services"]["sandbox"]["command"][1:]
    assert settings.api_base_url == f"http://127.0.0.1:{port}"
    assert f"{settings.api_base_url}/sandbox/" in compose["services"]["sandbox"]["healthcheck"]["test"][-1]
    postgres = compose["services"]["postgres"]["environment"]
    password = (REPOSITORY / compose["secrets"]["postgres-password"]["file"]).read_text().strip()
    assert settings.require("database_url") == (
        f"postgresql://{postgres['POSTGRES_USER']}:{password}@postgres:5432/{postgres['POSTGRES_DB']}"
    )


def test_compose_takes_an_account_of_ones_own(set_as_in: Callable[[dict[str, Any], str], None], tmp_path: Path) -> None:
    head = COMPOSE_FILE.read_text().partition("\n\n")[0]
    told = set(re.findall(r"^# +([A-Z_]+)=", head, re.MULTILINE))
    assert told == {"API_TOKEN_FILE", "WATCH_TIME_ORG_ID", "WATCH_TIME_API_BASE_URL"}
    token = tmp_path / "api-token"
    token.write_text("mine\n")
    set_as_in(
        _compose(
            API_TOKEN_FILE=str(token),
            WATCH_TIME_ORG_ID="my-org",
            WATCH_TIME_API_BASE_URL="https://api.one.blendvision.com",
        ),
        "job",
    )
    settings = Settings.load(needs=("api_token",))
    assert (settings.require("api_token"), settings.org_id) == ("mine", "my-org")
    assert settings.api_base_url == Settings.model_fields["api_base_url"].default
