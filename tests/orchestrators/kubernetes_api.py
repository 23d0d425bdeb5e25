"""The part of the Kubernetes API that Airflow's pod operator uses, over HTTP, for tests without a cluster.

A pod is checked against Kubernetes' own schema; its container then really runs, from the image under test, in the
network of this machine. There is no scheduler, kubelet or admission: what only those would notice is not noticed here.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

from image_containers import Container, Image, RunRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]

_ENDS_WITHIN_S = 150.0


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Refused(Exception):
    """What the API answers with an error.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Pod:
    """A pod with one container, which starts at once.

    Attributes:
        manifest: as it was created, with labels that were patched since.
        exit_code: of the container, None while it runs.
    """

    manifest: Json
    exit_code: int | None = None
    _log: str = ""
    _started_at: str = field(default_factory=_now)
    _ended_at: str = ""
    _container: Container | None = None
    _is_running: threading.Event = field(default_factory=threading.Event)
    _has_ended: threading.Event = field(default_factory=threading.Event)

    def run(self, image: Image, wanted: RunRequest) -> None:
        """Run the container to its end."""
        code, log = 128, "the container did not start"
        try:
            with image.started(wanted) as self._container:
                self._is_running.set()
                done = self._container.wait()
            code, log = done.returncode, done.stdout + done.stderr
        finally:
            self._log, self._ended_at, self.exit_code = log, _now(), code
            self._is_running.set()
            self._has_ended.set()

    def terminate(self) -> None:
        """As a deletion does: send SIGTERM, and wait for the end."""
        assert self._is_running.wait(_ENDS_WITHIN_S)
        if self._container and not self._has_ended.is_set():
            self._container.terminate()
        assert self._has_ended.wait(_ENDS_WITHIN_S)

    def log(self, *, timestamps: bool) -> str:
        """All of it, when the container has ended."""
        assert self._has_ended.wait(_ENDS_WITHIN_S)
        stamp = f"{self._ended_at} " if timestamps else ""
        return "".join(f"{stamp}{line}\n" for line in self._log.splitlines())

    def as_json(self) -> Json:
        """The manifest and the status."""
        (container,) = self.manifest["spec"]["containers"]
        code = self.exit_code
        state: Json
        if code is None:
            phase, state = "Running", {"running": {"startedAt": self._started_at}}
        else:
            phase = "Failed" if code else "Succeeded"
            reason = "Error" if code else "Completed"
            ended = {"exitCode": code, "reason": reason, "startedAt": self._started_at, "finishedAt": self._ended_at}
            state = {"terminated": ended}
        status = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0,
                  "ready": code is None, "state": state}  # fmt: skip
        return {**self.manifest, "status": {
            "phase": phase, "startTime": self._started_at, "containerStatuses": [status],
            "conditions": [{"type": "PodScheduled", "status": "True"}],
        }}  # fmt: skip


@dataclass
class Cluster:
    """One namespace, and what is in it.

    Attributes:
        config_maps: variables by name of the ConfigMap.
        secrets: files by name of the Secret.
        created: every pod, in order, those that were deleted included.
        pods: those that are there.
    """

    image: Image
    config_maps: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Path]] = field(default_factory=dict)
    created: list[Pod] = field(default_factory=list)
    pods: dict[str, Pod] = field(default_factory=dict)

    def create(self, manifest: Json, namespace: str) -> Json:
        """A pod, and start it."""
        try:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            raise Refused(422, str(error)) from None
        name = manifest["metadata"]["name"]
        if name in self.pods:
            raise Refused(409, f"pod {name} already exists")
        told = {"namespace": namespace, "uid": f"uid-of-{name}", "creationTimestamp": _now()}
        pod = Pod({**manifest, "metadata": {**manifest["metadata"], **told}})
        wanted = self._wanted(manifest["spec"])
        self.pods[name] = pod
        self.created.append(pod)
        threading.Thread(target=pod.run, args=(self.image, wanted), daemon=True).start()
        return pod.as_json()

    def _wanted(self, spec: Json) -> RunRequest:
        """What the kubelet would make of the spec: arguments, variables, and files of Secrets."""
        (container,) = spec["containers"]
        variables = {one["name"]: one["value"] for one in container.get("env", [])}
        for source in container.get("envFrom", []):
            variables = self.config_maps[source["configMapRef"]["name"]] | variables
        secrets = {volume["name"]: self.secrets[volume["secret"]["secretName"]]
                   for volume in spec.get("volumes", []) if "secret" in volume}  # fmt: skip
        files = {
            f"{mount['mountPath']}/{name}": file
            for mount in container.get("volumeMounts", [])
            for name, file in secrets.get(mount["name"], {}).items()
        }
        return RunRequest(tuple(container["args"]), variables=variables, files=files)

    def listed(self, selector: str) -> Json:
        """The pods whose labels fit."""
        found = [pod.as_json() for pod in self.pods.values() if _fits(pod.manifest["metadata"]["labels"], selector)]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": found}

    def pod(self, name: str) -> Pod:
        """By its name."""
        try:
            return self.pods[name]
        except KeyError:
            raise Refused(404, f"pods {name!r} not found") from None

    def patch(self, name: str, patch: Json) -> Json:
        """Labels only."""
        assert patch.keys() == {"metadata"}, patch
        assert patch["metadata"].keys() == {"labels"}, patch
        pod = self.pod(name)
        pod.manifest["metadata"]["labels"].update(patch["metadata"]["labels"])
        return pod.as_json()

    def delete(self, name: str) -> Json:
        """When its container has ended, it is gone."""
        pod = self.pod(name)
        pod.terminate()
        self.pods.pop(name, None)
        return pod.as_json()


def _fits(labels: Json, selector: str) -> bool:
    """Whether labels fit a selector of `name=value`, `name!=value` and `!name`."""
    for part in filter(None, selector.split(",")):
        name, unlike, value = re.fullmatch(r"!?([^=!]+)(?:(!?)=(.*))?", part).groups()  # type: ignore[union-attr]
        is_refused = name in labels if part.startswith("!") else (labels.get(name) == value) is bool(unlike)
        if is_refused:
            return False
    return True


def _answer(cluster: Cluster, method: str, path: str, query: dict[str, str], body: Json) -> Json | str:
    """What a request gets."""
    found = re.fullmatch(r"/api/v1/namespaces/([\w-]+)/(pods|events)(?:/([\w-]+)(/log)?)?", path)
    if found is None:
        raise Refused(404, f"{path} is no path that this stand-in knows")
    namespace, kind, name, log = found.groups()
    if kind == "events":
        return {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []}
    if log:
        return cluster.pod(name).log(timestamps=query.get("timestamps", "").lower() == "true")
    if method == "POST" and name is None:
        return cluster.create(body, namespace)
    if method == "GET":
        return cluster.pod(name).as_json() if name else cluster.listed(query.get("labelSelector", ""))
    if method == "PATCH":
        return cluster.patch(name, body)
    if method == "DELETE":
        return cluster.delete(name)
    raise Refused(405, f"{method} {path} is not known to this stand-in")


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def _respond(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        status = 200
        answer: Json | str
        try:
            answer = _answer(self.cluster, self.command, url.path, query, json.loads(text or b"{}"))
        except Refused as refused:
            status = refused.status
            answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": f"{refused}"}
        kind, content = ("text/plain", answer) if isinstance(answer, str) else ("application/json", json.dumps(answer))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", f"{len(content.encode())}")
        self.end_headers()
        self.wfile.write(content.encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _respond  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """The API on a port of loopback; no pod is left at the end."""
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            for name in list(cluster.pods):
                cluster.delete(name)
            server.shutdown()
            thread.join()
