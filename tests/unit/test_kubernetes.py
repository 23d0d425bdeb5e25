"""The manifests fit Kubernetes' own schemas, its restricted standard, and the program: its codes, settings, limits."""

from __future__ import annotations

import copy
import ipaddress
import re
import shutil
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest

from etl import __version__
from etl.cli import main
from etl.config.settings import Settings
from etl.domain.errors import ExitCode, TryLater
from etl.extract import download, report_api
from kubernetes_manifests import (
    APPLIED,
    JOBS,
    KUSTOMIZATIONS,
    MANIFESTS,
    ROOT,
    Manifest,
    built,
    containers,
    every_job,
    job,
    pod,
)

if TYPE_CHECKING:
    from pathlib import Path

# The oldest whose API servers know every field without a gate being set for it, and the newest that is known here.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
AGAIN = {TryLater.exit_code, ExitCode.STOPPED}
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
                      "secret"}  # fmt: skip


def _codes(manifest: Manifest) -> dict[str, list[int]]:
    """Which exit codes have which consequence."""
    found: dict[str, list[int]] = {}
    for rule in job(manifest)["podFailurePolicy"]["rules"]:
        if "onExitCodes" in rule:
            assert rule["onExitCodes"]["operator"] == "In"
            assert rule["onExitCodes"]["containerName"] == containers(manifest)[0]["name"]
            found.setdefault(rule["action"], []).extend(rule["onExitCodes"]["values"])
    return found


class TestSchemas:
    """Strict: a field that the API server would drop is an error."""

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("name", MANIFESTS)
    def test_each_manifest_fits(self, name: str, version: str) -> None:
        kubernetes_validate.validate(MANIFESTS[name], version, strict=True)

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("folder", APPLIED)
    def test_what_kustomize_makes_of_them_fits(self, folder: str, version: str) -> None:
        made = built(folder)
        for manifest in made:
            kubernetes_validate.validate(manifest, version, strict=True)
        assert {manifest["metadata"].get("namespace", manifest["metadata"]["name"]) for manifest in made} == {
            "watch-time"
        }

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            pytest.param(("concurrencyPolicy",), 1, id="type"),
            pytest.param(("concurencyPolicy",), "Forbid", id="unknown field"),
            pytest.param(("jobTemplate", "spec", "podFailurePolicy", "rules", 0, "action"), None, id="missing field"),
        ],
    )
    def test_a_wrong_one_is_found(self, path: tuple[Any, ...], value: object) -> None:
        manifest = copy.deepcopy(JOBS["run/cronjob.yaml"])
        place = manifest["spec"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


class TestKustomize:
    """Every manifest is applied by exactly one folder, with the image that is named once."""

    def test_every_manifest_belongs_to_one_kustomization(self) -> None:
        named = [
            (file.parent / resource).resolve()
            for file, made in KUSTOMIZATIONS.items()
            for resource in [*made.get("resources", []), *made.get("components", [])]
        ]
        assert [path for path in named if not path.exists()] == []
        files = [path for path in named if path.is_file()]
        assert sorted(files) == sorted((ROOT / name).resolve() for name in MANIFESTS)
        assert sorted(str(file.parent.relative_to(ROOT)) for file in KUSTOMIZATIONS) == sorted([*APPLIED, "image"])

    def test_the_daily_job_does_not_bring_the_others_along(self) -> None:
        assert [made["kind"] for made in built(".") if made["kind"] in {"Job", "CronJob"}] == ["CronJob"]
        for folder in ("migrate", "run", "backfill"):
            assert len(built(folder)) == 1, "deleting it again deletes nothing else"

    def test_all_run_the_image_of_this_version(self) -> None:
        images = {
            container["image"]
            for folder in APPLIED
            for manifest in built(folder)
            if manifest["kind"] in {"Job", "CronJob"}
            for container in containers(manifest)
        }
        assert images == {f"registry.example.com/watch-time:{__version__}"}

    def test_there_are_as_many_parts_as_pods(self) -> None:
        manifest = JOBS["backfill/backfill-job.yaml"]
        assert pod(manifest)["containers"][0]["args"][2] == f"$(JOB_COMPLETION_INDEX)/{manifest['spec']['completions']}"

    def test_the_number_of_parts_is_changed_in_one_place(self, tmp_path: Path) -> None:
        shutil.copytree(ROOT, tmp_path / "kubernetes")
        changed = tmp_path / "kubernetes" / "backfill" / "backfill-job.yaml"
        changed.write_text(changed.read_text().replace("completions: 8\n", "completions: 31\n"))
        (manifest,) = built("backfill", tmp_path / "kubernetes")
        assert manifest["spec"]["completions"] == 31
        assert pod(manifest)["containers"][0]["args"][2] == "$(JOB_COMPLETION_INDEX)/31"


class TestFailurePolicy:
    """What the exit codes mean is said in etl/domain/errors.py; Kubernetes must be told the same."""

    @every_job
    def test_every_exit_code_has_one_consequence(self, manifest: Manifest) -> None:
        codes = _codes(manifest)
        assert sorted(code for group in codes.values() for code in group) == sorted(set(ExitCode) - {ExitCode.OK})
        assert set(codes["Count"]) == AGAIN, "again is of use for these alone"

    @every_job
    def test_what_the_api_server_asks_of_a_policy(self, manifest: Manifest) -> None:
        """Its validation, beyond the schema: Never, codes in order, and for FailIndex an Indexed Job that counts so."""
        spec = job(manifest)
        assert pod(manifest)["restartPolicy"] == "Never"
        for rule in spec["podFailurePolicy"]["rules"]:
            assert ("onExitCodes" in rule) != ("onPodConditions" in rule)
            values = rule.get("onExitCodes", {}).get("values", [])
            assert values == sorted(set(values))
            assert rule["action"] != "FailIndex" or {"backoffLimitPerIndex", "completions"} <= spec.keys()
            assert rule["action"] != "FailIndex" or spec["completionMode"] == "Indexed"

    @every_job
    def test_a_drained_node_costs_no_try(self, manifest: Manifest) -> None:
        """The first rule that fits decides: a pod that is evicted ends with 143."""
        rules = job(manifest)["podFailurePolicy"]["rules"]
        (ignored,) = (place for place, rule in enumerate(rules) if rule["action"] == "Ignore")
        assert rules[ignored]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        (counted,) = (place for place, rule in enumerate(rules) if rule["action"] == "Count")
        assert ignored < counted

    def test_a_refused_report_stops_its_own_part_of_a_backfill_only(self) -> None:
        assert _codes(JOBS["backfill/backfill-job.yaml"])["FailIndex"] == [ExitCode.DATA_REFUSED]


class TestRestricted:
    """The Pod Security Standard "restricted", rule by rule, and a read-only root beyond it."""

    def test_the_namespace_enforces_it(self) -> None:
        labels = MANIFESTS["base/namespace.yaml"]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

    @every_job
    def test_the_pod(self, manifest: Manifest) -> None:
        spec = pod(manifest)
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"} & context.keys()
        for volume in spec["volumes"]:
            assert volume.keys() - {"name"} <= RESTRICTED_VOLUMES

    @every_job
    def test_each_container(self, manifest: Manifest) -> None:
        for container in containers(manifest):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert context.keys() == {"allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem"}
            assert "ports" not in container

    @every_job
    def test_it_runs_as_the_user_of_the_image(self, manifest: Manifest) -> None:
        dockerfile = (ROOT.parents[1] / "Dockerfile").read_text(encoding="utf-8")
        (user,) = re.findall(r"^USER ([0-9]+:[0-9]+)$", dockerfile, re.MULTILINE)
        context = pod(manifest)["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user

    @every_job
    def test_it_has_no_token_of_the_cluster_and_no_variables_of_its_services(self, manifest: Manifest) -> None:
        spec = pod(manifest)
        account = MANIFESTS["base/service-account.yaml"]
        assert spec["serviceAccountName"] == account["metadata"]["name"]
        assert account["automountServiceAccountToken"] is spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False

    @every_job
    def test_only_tmp_can_be_written_to_and_not_without_end(self, manifest: Manifest) -> None:
        volumes = {volume["name"]: volume for volume in pod(manifest)["volumes"]}
        for container in containers(manifest):
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            writable = {path: mount for path, mount in mounts.items() if not mount.get("readOnly")}
            assert writable.keys() == {"/tmp"}  # noqa: S108 - the container's own
            assert "sizeLimit" in volumes[writable["/tmp"]["name"]]["emptyDir"]  # noqa: S108 - the container's own


class TestTimes:
    """The program's own limits come first, Kubernetes' are the last resort."""

    def test_the_wait_for_a_report_ends_before_the_job_does_in_every_try(self) -> None:
        spec = job(JOBS["run/cronjob.yaml"])
        wait_s = Settings.model_fields["not_found_wait_seconds"].default
        assert wait_s * (spec["backoffLimit"] + 1) < spec["activeDeadlineSeconds"]

    def test_no_slice_is_cut_off_by_the_deadline(self) -> None:
        wait_s = Settings.model_fields["not_found_wait_seconds"].default
        assert wait_s + report_api._TOTAL_S + download._TOTAL_S < job(JOBS["run/cronjob.yaml"])["activeDeadlineSeconds"]

    @every_job
    def test_there_is_time_to_roll_back(self, manifest: Manifest) -> None:
        """SIGTERM ends the program within five seconds: tests/acceptance/test_interruptions.py."""
        assert pod(manifest)["terminationGracePeriodSeconds"] >= 5 * 5

    def test_starts_do_not_pile_up(self) -> None:
        spec = JOBS["run/cronjob.yaml"]["spec"]
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["schedule"].endswith("* * * *"), "hourly: the starting deadline is to end before the next start"
        assert spec["startingDeadlineSeconds"] < 3600
        assert spec["timeZone"] == "Etc/UTC"

    @every_job
    def test_finished_jobs_go(self, manifest: Manifest) -> None:
        if manifest["kind"] == "CronJob":
            assert 0 < manifest["spec"]["failedJobsHistoryLimit"] < 10
            assert 0 < manifest["spec"]["successfulJobsHistoryLimit"] < 10
        else:
            assert 0 < manifest["spec"]["ttlSecondsAfterFinished"] <= 7 * 86_400


class TestNetworkPolicy:
    """In: nothing. Out: names, the database, and public addresses on 443, as the program has it itself."""

    SPEC = MANIFESTS["base/network-policy.yaml"]["spec"]

    @every_job
    def test_it_holds_for_every_pod(self, manifest: Manifest) -> None:
        labels = job(manifest)["template"]["metadata"]["labels"]
        assert self.SPEC["podSelector"]["matchLabels"].items() <= labels.items()
        assert sorted(self.SPEC["policyTypes"]) == ["Egress", "Ingress"]

    def test_nothing_comes_in_and_only_this_goes_out(self) -> None:
        assert self.SPEC["ingress"] == []
        ports = {(port["protocol"], port["port"]) for rule in self.SPEC["egress"] for port in rule["ports"]}
        assert ports == {("UDP", 53), ("TCP", 53), ("TCP", 5432), ("TCP", 443)}

    @pytest.mark.parametrize(
        ("address", "reached"),
        [
            ("93.184.215.14", True), ("2606:2800:21f::1", True), ("10.1.2.3", False), ("172.31.0.1", False),
            ("192.168.1.1", False), ("100.64.0.1", False), ("127.0.0.1", False), ("169.254.169.254", False),
            ("::1", False), ("fd00::1", False), ("fe80::1", False),
        ],
    )  # fmt: skip
    def test_only_public_addresses_are_reached_on_443(self, address: str, reached: bool) -> None:
        (rule,) = (rule for rule in self.SPEC["egress"] if rule["ports"] == [{"protocol": "TCP", "port": 443}])
        found = ipaddress.ip_address(address)
        let_through = [
            block
            for block in (to["ipBlock"] for to in rule["to"])
            if found in ipaddress.ip_network(block["cidr"])
            and not any(found in ipaddress.ip_network(closed) for closed in block["except"])
        ]
        assert bool(let_through) is reached


@every_job
def test_its_arguments_are_commands_and_options_of_the_program(manifest: Manifest) -> None:
    commands = main.PROGRAM.commands  # type: ignore[attr-defined]  # a group, since there are several
    (container,) = containers(manifest)
    assert "command" not in container, "the image's entry point is the program"
    command, *options = container["args"]
    known = {option for parameter in commands[command].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known
