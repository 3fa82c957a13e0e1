"""The application: the addresses of the server, and what guards them.

    Records -> CORSMiddleware -> Guard -> routes

An error is the object that OpenAI's interface has for it, with the name of the field that is wrong.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from importlib import resources
from time import perf_counter
from typing import Any, TypeVar

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from samebits.cli.server.answers import Answer, event
from samebits.cli.server.engine_thread import EngineThread, Job
from samebits.cli.server.fields import RequestError, parse_object
from samebits.cli.server.log import write_record
from samebits.cli.server.metrics import Metrics
from samebits.cli.server.requests import Asked, read_chat, read_completion, read_verification
from samebits.cli.server.served import Served
from samebits.cli.server.verifier import Verifier
from samebits.core.records import shown

__all__ = ["Access", "make_app"]

T = TypeVar("T")

BODY = 2**22
"""The largest number of bytes of a request's body."""
ARRIVAL = 30.0
"""The largest number of seconds until the whole body of a request is there."""
READ = 128
"""The largest number of requests whose bodies arrive or are read at once."""
OPEN = {"/", "/health"}
"""The addresses that need no API key."""
GONE = 499
"""The status, in logs and metrics, of a request whose client went away."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use the server.

    Args:
        key: The API key that requests must have.
        hosts: The names that the server is called by; any if there are none.
        origins: The other origins whose pages may use it; with "*" all.
    """

    key: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


def make_app(served: Served, thread: EngineThread, metrics: Metrics, access: Access) -> Starlette:
    """The application that serves a model."""
    endpoints = _Endpoints(served, thread, metrics)
    middleware = [Middleware(_Records, metrics=metrics)]
    if access.origins:
        headers = ("authorization", "content-type")
        middleware.append(
            Middleware(CORSMiddleware, allow_origins=access.origins, allow_methods=("GET", "POST"), allow_headers=headers)
        )
    middleware.append(Middleware(_Guard, access=access))
    routes = [
        Route("/", endpoints.page),
        Route("/health", endpoints.health),
        Route("/metrics", endpoints.metrics),
        Route("/v1/models", endpoints.models),
        Route("/v1/models/{id:path}", endpoints.model),
        Route("/v1/chat/completions", endpoints.chat, methods=["POST"]),
        Route("/v1/completions", endpoints.complete, methods=["POST"]),
        Route("/v1/verify", endpoints.verify, methods=["POST"]),
    ]
    handlers: dict[Any, Callable[..., Any]] = {RequestError: _refuse, HTTPException: _refuse_http, Exception: _fail}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class _Endpoints:
    """What is at each address."""

    def __init__(self, served: Served, thread: EngineThread, metrics: Metrics) -> None:
        self._served, self._thread, self._metrics = served, thread, metrics
        self._verifier = Verifier(served, thread.timeout)
        self._read = 0  # requests whose bodies arrive or are read
        self._page = (resources.files("samebits.cli") / "page.html").read_text("utf-8")
        self._policy = _content_policy(self._page)

    async def page(self, _: Request) -> Response:
        return HTMLResponse(self._page, headers={"Content-Security-Policy": self._policy, "Cache-Control": "no-cache"})

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._served.description]})

    async def model(self, request: Request) -> Response:
        self._served.require(request.path_params["id"])
        return JSONResponse(self._served.description)

    async def chat(self, request: Request) -> Response:
        return await self._texts(request, read_chat, chat=True)

    async def complete(self, request: Request) -> Response:
        return await self._texts(request, read_completion, chat=False)

    async def _texts(self, request: Request, read: Callable[[dict[str, Any], Served], Asked], *, chat: bool) -> Response:
        asked = await self._content(request, lambda values: read(values, self._served))
        answer, record = Answer(asked, self._served, chat=chat), request.scope["samebits.record"]
        job = self._thread.submit(asked.requests(self._served.opened.stop_ids))
        if asked.stream:
            return _Events(job, answer, record)
        try:
            return JSONResponse(await _while_connected(request.receive, _whole(job, answer, record)))
        finally:
            job.cancel()

    async def verify(self, request: Request) -> Response:
        receipt, sample, seed = await self._content(request, read_verification)
        work = self._verifier.verify(receipt, sample=sample, seed=seed)
        found = await _while_connected(request.receive, work)
        difference = found.difference and found.difference._asdict()
        counts = {"checked": found.checked, "steps": found.steps}
        return JSONResponse({"ok": difference is None, "digest": receipt.digest, **counts, "difference": difference})

    async def _content(self, request: Request, read: Callable[[dict[str, Any]], T]) -> T:
        """What a request says; so many at once take memory and time that others are told to come back.

        Raises:
            RequestError: It is wrong, or too many others are read.
            ClientDisconnect: The client went away.
        """
        if self._read >= READ:
            message = "too many requests are read; try again in a moment"
            raise RequestError(message, status=429, code="rate_limit_exceeded")
        self._read += 1
        try:
            body = await _body(request)
            return await asyncio.to_thread(lambda: read(parse_object(body)))
        finally:
            self._read -= 1


async def _whole(job: Job, answer: Answer, record: dict[str, Any]) -> dict[str, Any]:
    """The whole answer, when it is written."""
    try:
        async for pieces in job:
            answer.add(pieces)
    finally:
        record |= answer.counts(job.cached)
    return answer.whole(job.cached)


class _Events(StreamingResponse):
    """An answer as it is written, in server-sent events; it ends when the client goes away."""

    def __init__(self, job: Job, answer: Answer, record: dict[str, Any]) -> None:
        super().__init__(
            self._events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        self._job, self._answer, self._record = job, answer, record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._record["end"] = "disconnected"
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()
            self._record |= self._answer.counts(self._job.cached)

    async def _events(self) -> AsyncIterator[bytes]:
        answer, job = self._answer, self._job
        yield b"".join(map(event, answer.begin()))
        try:
            async for pieces in job:
                if chunks := b"".join(map(event, answer.chunks(pieces))):
                    yield chunks
        except RequestError as error:
            self._record["end"] = error.code or "error"
            yield event(error.body())
            return
        yield b"".join(map(event, answer.end(job.cached))) + b"data: [DONE]\n\n"
        await asyncio.sleep(0)  # which is never left if the client went away before all was sent
        del self._record["end"]


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is canceled when the client goes away.

    Raises:
        ClientDisconnect: The client went away.
    """

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientDisconnect
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _body(request: Request) -> bytes:
    """The body of a request.

    Raises:
        RequestError: It is too long, or takes too long.
        ClientDisconnect: The client went away.
    """
    found = bytearray()
    try:
        async with asyncio.timeout(ARRIVAL):
            async for part in request.stream():
                found += part
                if len(found) > BODY:
                    raise RequestError(f"the body must have at most {BODY} bytes", status=413, code="body_too_large")
    except TimeoutError:
        raise RequestError(f"the body must arrive within {ARRIVAL:g} seconds", status=408, code="timeout") from None
    return bytes(found)


def _content_policy(page: str) -> str:
    """What the page may do: run its own script and style, and ask this server."""
    found = {}
    for tag in ("script", "style"):
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        found[tag] = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in parts)
    return (
        f"default-src 'none'; script-src {found['script']}; style-src {found['style']}; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


# What guards the addresses


class _Records:
    """Writes a record of each request, counts it, and gives it an id."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = perf_counter(), 500
        scope["samebits.record"] = record = {"id": "req_" + secrets.token_hex(12)}

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = record["id"]
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except ClientDisconnect:
            status = GONE
        finally:
            path = scope["path"]
            self._metrics.requests.labels(_endpoint(path), str(status)).inc()
            fields = {"method": scope["method"][:20], "path": path[:200], "status": status}
            write_record("request", **fields, seconds=round(perf_counter() - began, 4), **record)


class _Guard:
    """Refuses requests without the API key, those of other origins' pages, and those by another name of the server."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._refused(scope)
        await (self._app if error is None else _response(error, scope))(scope, receive, send)

    def _refused(self, scope: Scope) -> RequestError | None:
        headers, key, hosts, origins = Headers(scope=scope), self._access.key, self._access.hosts, self._access.origins
        name, origin = re.sub(":[0-9]*$", "", headers.get("host", "")).lower(), headers.get("origin")
        if hosts and name not in hosts:
            return RequestError(f"this server must be called {' or '.join(hosts)}, got {shown(name)}", code="host_not_allowed")
        if (
            origin is not None
            and "*" not in origins
            and origin not in origins
            and origin.partition("://")[2] != headers.get("host")
        ):
            return RequestError("pages of other origins must not use this server", status=403, code="origin_not_allowed")
        if key is None or scope["path"] in OPEN:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.encode("latin-1").strip(b" "), key.encode()):
            return None
        return RequestError("the API key is missing or wrong: Authorization: Bearer KEY", status=401, code="invalid_api_key")


def _endpoint(path: str) -> str:
    """The label of an address in metrics, of which there are few."""
    if path.startswith("/v1/models/"):
        return "/v1/models/{id}"
    return path if path in {*OPEN, "/metrics", "/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/verify"} else "other"


_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 413: {"Connection": "close"}, 429: {"Retry-After": "1"}}


def _response(error: RequestError, scope: Scope) -> Response:
    if error.code:
        scope["samebits.record"]["code"] = error.code
    return JSONResponse(error.body(), error.status, _HEADERS.get(error.status))


async def _refuse(request: Request, error: Exception) -> Response:
    return _response(error, request.scope) if isinstance(error, RequestError) else await _fail(request, error)


async def _refuse_http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = {
        404: "there is nothing at this address; OpenAI's interface begins at /v1, such as /v1/chat/completions",
        405: "this address does not have this method",
    }
    message = known.get(status, str(error))
    return JSONResponse(RequestError(message, status=status).body(), status, getattr(error, "headers", None))


async def _fail(request: Request, _error: Exception) -> Response:
    return _response(RequestError("the server failed; its log has the error", status=500), request.scope)
