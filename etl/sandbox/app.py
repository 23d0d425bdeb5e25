"""The report API of the sandbox, as BlendVision's documentation has it; storage and the control endpoints beside it.

Every request but those to the control endpoints is recorded in the sandbox's log when its answer begins, so that a
client which has read an answer finds it there.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from etl.domain.slices import ReportType, Slice
from etl.sandbox import control_api, demo_extra, report_storage
from etl.sandbox.faults import Answer
from etl.sandbox.file_cache import GivenUp
from etl.sandbox.sandbox import LoggedRequest

with demo_extra():
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from etl.sandbox.sandbox import Kind, Sandbox

REPORT_PATH: Final = "/bv/analytics/v1/reports/watch-time"

_TYPES = {f"REPORT_STREAMING_TYPE_{report_type}": report_type for report_type in ReportType}

# grpc's status codes, which the gateway puts into the body.
_INVALID_ARGUMENT, _NOT_FOUND, _PERMISSION_DENIED, _UNAUTHENTICATED = 3, 5, 7, 16

_LOGGED_HEADERS = ("accept", "accept-encoding", "if-range", "range", "user-agent", "x-bv-org-id")

_logger = logging.getLogger(__name__)


def create_app(sandbox: Sandbox) -> ASGIApp:
    """The ASGI application that answers for `sandbox`."""
    signer = report_storage.Signer(secrets.token_bytes(32))
    app = Starlette(
        routes=[
            Route(REPORT_PATH, _endpoint(partial(_report_url, sandbox, signer)), methods=["GET"]),
            Route(
                "/storage/{org_id}/{name}",
                _endpoint(partial(report_storage.download, sandbox, signer)),
                methods=["GET"],
            ),
            *control_api.routes(sandbox),
        ]
    )
    return _Recorder(app, sandbox)


def _endpoint(handle: Callable[[Request], Awaitable[Response | Answer]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        answer = await handle(request)
        if isinstance(answer, Response):
            return answer
        await asyncio.sleep(answer.latency_s)
        return Response(answer.body, answer.status, dict(answer.headers), answer.media_type)

    return endpoint


async def _report_url(sandbox: Sandbox, signer: report_storage.Signer, request: Request) -> Answer:
    slice_ = _slice_asked_for(request)
    return sandbox.next_answer(slice_) or _true_answer(sandbox, signer, request, slice_)


def _true_answer(sandbox: Sandbox, signer: report_storage.Signer, request: Request, slice_: Slice | None) -> Answer:
    config = sandbox.config
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), config.token.encode()):
        return _refusal(401, _UNAUTHENTICATED, "invalid or missing token")
    if request.headers.get("x-bv-org-id") != config.org_id:
        return _refusal(403, _PERMISSION_DENIED, "the token does not belong to the organization in x-bv-org-id")
    if slice_ is None:
        message = "time must look like 2023-07-03T00:00:00Z, streaming_type be one of " + ", ".join(_TYPES)
        return _refusal(400, _INVALID_ARGUMENT, message)
    if not sandbox.offers(slice_):
        return _refusal(404, _NOT_FOUND, "the report is not available yet, or there is no viewing history")
    path = report_storage.path_of(slice_, org_id=config.org_id, delivery=sandbox.overridden(slice_))
    query = signer.signed_query(path, now=config.now(), lifetime_s=config.url_lifetime_s)
    return Answer(200, json.dumps({"url": str(request.base_url.replace(path=path, query=query))}))


def _slice_asked_for(request: Request) -> Slice | None:
    """The slice in the query; None when it is malformed. The vendor's example of `time` has no Z; it is the same."""
    report_type = _TYPES.get(request.query_params.get("streaming_type", ""))
    try:
        time = request.query_params.get("time", "").removesuffix("Z") + "Z"
        report_date = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z").date()
    except ValueError:
        return None
    return Slice(report_date, report_type) if report_type else None


def _refusal(status: int, code: int, message: str) -> Answer:
    return Answer(status, json.dumps({"code": code, "message": message, "details": []}))


class _Recorder:
    """Around the app: makes every answer late by the configured latency, and notes what was asked and answered."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind: Kind = "storage" if scope["path"].startswith("/storage/") else "api"

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._sandbox.record(_logged(kind, Request(scope), message["status"]))
            await send(message)

        try:
            if scope["path"].startswith(control_api.PREFIX):
                await self._app(scope, receive, send)
            else:
                await asyncio.sleep(self._sandbox.config.latency_s)
                await self._app(scope, receive, recorded)
        except GivenUp:
            pass  # the sandbox is being closed; nobody is waiting for the file any more
        except Exception:
            _logger.exception("sandbox_answer_failed")


def _logged(kind: Kind, request: Request, status: int) -> LoggedRequest:
    headers = {name: request.headers[name] for name in _LOGGED_HEADERS if name in request.headers}
    if authorization := request.headers.get("authorization"):
        headers["authorization"] = f"{authorization.partition(' ')[0]} ..."
    query = dict(request.query_params) if kind == "api" else {}
    return LoggedRequest(kind, request.method, request.url.path, query, headers, status)
