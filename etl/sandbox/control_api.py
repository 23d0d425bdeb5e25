"""The remote control of a running sandbox: what `Sandbox` can do in Python, over HTTP, for curl and other processes.

It asks for no token: a sandbox holds nothing but invented data.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from etl.domain.slices import ReportType, Slice
from etl.sandbox import demo_extra
from etl.sandbox.faults import Answer, Delivery

with demo_extra():
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Mount, Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from etl.sandbox.sandbox import Sandbox

PREFIX: Final = "/sandbox/"

T = TypeVar("T")


@dataclass(frozen=True)
class _Script:
    """The body of a request to lay down a script."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    api: tuple[Answer | None, ...] = ()
    storage: tuple[Answer | Delivery | None, ...] = ()


_SCRIPT = TypeAdapter(_Script)
_DELIVERY = TypeAdapter(Delivery)

_PAGE = """\
A stand-in for BlendVision's report API, with invented data.

Ask for a report:

  curl -H 'authorization: Bearer {token}' -H 'x-bv-org-id: {org_id}' \\
    '{base}bv/analytics/v1/reports/watch-time?time={day}T00:00:00Z&streaming_type=REPORT_STREAMING_TYPE_VOD'

Change what it has, and how it behaves (S stands for date={day}&type=VOD; where it is optional, all slices are meant):

  GET  /sandbox/report?S     rows and exact sum of seconds of the report; also &revision=0
  POST /sandbox/restate?S    replace the report by a new revision; says what changed
  POST /sandbox/withdraw?S   the report is gone: 404 from now on
  POST /sandbox/script[?S]   what the next requests get, one item each; null is the true answer:
                               {{"api": [{{"status": 429, "headers": {{"Retry-After": "1"}}}}, null],
                                "storage": [{{"cut_after_bytes": 1000}}, {{"expired": true}}, {{"status": 503}}]}}
  POST /sandbox/override[?S] every download from now on, such as
                               {{"body": "Content Title,..."}}, {{"gzip": "encoding"}}, {{"headers": {{"etag": null}}}}
  POST /sandbox/reset        forget all of this, and the log
  GET  /sandbox/requests     what was asked, and answered

An item with a status is an answer as it stands: {answer}.
One without is a way to hand out the file: {delivery}.

Example: curl -X POST '{base}sandbox/restate?date={day}&type=VOD'
"""


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The control endpoints for `sandbox`."""
    remote = _Remote(sandbox)
    return [
        Mount(
            PREFIX.rstrip("/"),
            routes=[
                Route("/", remote.page),
                Route("/requests", remote.requests),
                Route("/report", remote.report),
                Route("/restate", remote.restate, methods=["POST"]),
                Route("/withdraw", remote.withdraw, methods=["POST"]),
                Route("/script", remote.script, methods=["POST"]),
                Route("/override", remote.override, methods=["POST"]),
                Route("/reset", remote.reset, methods=["POST"]),
            ],
        )
    ]


class _Remote:
    """The endpoints; what they do is told on the page."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def page(self, request: Request) -> Response:
        config = self._sandbox.config
        text = _PAGE.format(
            token=config.token,
            org_id=config.org_id,
            day=config.first_day,
            base=request.base_url.replace(path="/"),
            answer=", ".join(field.name for field in fields(Answer)),
            delivery=", ".join(field.name for field in fields(Delivery)),
        )
        return PlainTextResponse(text)

    async def requests(self, _request: Request) -> Response:
        return JSONResponse([asdict(request) for request in self._sandbox.requests()])

    async def report(self, request: Request) -> Response:
        slice_ = _slice(request)
        asked_for = request.query_params.get("revision", "")
        revision = int(asked_for) if asked_for.isdecimal() else self._sandbox.revision(slice_)
        report = await asyncio.to_thread(self._sandbox.report, slice_, revision)
        return JSONResponse(
            {
                "revision": revision,
                "rows": report.rows,
                "watch_seconds": str(report.watch_seconds),
                "size_bytes": report.size_bytes,
            }
        )

    async def restate(self, request: Request) -> Response:
        return JSONResponse(asdict(self._sandbox.restate(_slice(request))))

    async def withdraw(self, request: Request) -> Response:
        self._sandbox.withdraw(_slice(request))
        return Response(status_code=204)

    async def script(self, request: Request) -> Response:
        script = await _body(request, _SCRIPT)
        self._sandbox.script(_slice_or_any(request), api=script.api, storage=script.storage)
        return Response(status_code=204)

    async def override(self, request: Request) -> Response:
        self._sandbox.override(_slice_or_any(request), await _body(request, _DELIVERY))
        return Response(status_code=204)

    async def reset(self, _request: Request) -> Response:
        self._sandbox.reset()
        return Response(status_code=204)


async def _body(request: Request, adapter: TypeAdapter[T]) -> T:
    try:
        return adapter.validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(400, f"{error}\n") from None


def _slice_or_any(request: Request) -> Slice | None:
    return _slice(request) if request.query_params else None


def _slice(request: Request) -> Slice:
    query = request.query_params
    try:
        return Slice(date.fromisoformat(query["date"]), ReportType(query["type"].upper()))
    except (KeyError, ValueError):
        raise HTTPException(400, "which slice? Add ?date=2023-07-03&type=VOD, or type=LIVE\n") from None
