"""What one client may cost: a token, requests at once, the size and the pace of a request, the time of an answer."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import h11
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from mlwalls.server.envelope import fault

MAX_BODY = 1 << 20
MAX_CONCURRENT = 256
MAX_CONNECTIONS = 1024
HEAD_SECONDS = 10.0
BODY_SECONDS = 10.0
ANSWER_SECONDS = 60.0

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """ASGI middleware around everything but /healthz.

    Answers 401 without the token, 503 with too many requests at once, 405 to a GET (no stream is kept open: nothing is ever
    pushed), 413 to a body that is too large, 408 to one that does not arrive in time, 421 and 403 to a wrong Host or Origin, 400
    to what is no JSON-RPC message, and 504 where an answer takes too long. A body is read whole before it is looked at.
    """

    def __init__(
        self,
        app: App,
        security: TransportSecuritySettings | None = None,
        token: str | None = None,
        concurrent: int = MAX_CONCURRENT,
        body_seconds: float = BODY_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._app, self._token, self._limit, self._now = app, token, concurrent, 0
        self._security = TransportSecurityMiddleware(security) if security else None
        self._body_seconds, self._answer_seconds = body_seconds, answer_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] == "/healthz":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._now += 1
        try:
            await self._limited(scope, receive, send)
        finally:
            self._now -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        if self._token is not None:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                return PlainTextResponse("bearer token required", 401, {"WWW-Authenticate": "Bearer"})
        if scope["method"] == "GET" and scope["path"].rstrip("/") == "/mcp":
            return PlainTextResponse("no stream to listen to: POST a request", 405, {"Allow": "POST, DELETE"})
        if self._now >= self._limit:
            return PlainTextResponse("too many requests at once", 503, {"Retry-After": "1"})
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > MAX_BODY:
            return _too_large()
        return None

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: bytes | Response = PlainTextResponse("the request's body did not arrive in time", 408)
        with anyio.move_on_after(self._body_seconds):
            whole = await _read(receive)
            if whole is None:
                return
            body = whole
        if isinstance(body, bytes) and scope["method"] == "POST":
            body = await self._refused(scope, body) or body
        if isinstance(body, Response):
            await body(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        with anyio.move_on_after(self._answer_seconds) as limit:
            await self._app(scope, _replayed(body, receive), noted)
        if limit.cancelled_caught and not started:
            await PlainTextResponse("the answer took too long", 504)(scope, receive, send)

    async def _refused(self, scope: Scope, body: bytes) -> Response | None:
        """Check where a request comes from before what it says."""
        if self._security is not None:
            refusal = await self._security.validate_request(Request(scope), is_post=True)
            if refusal is not None:
                return refusal
        wrong = fault(body)
        return JSONResponse(wrong, 400) if wrong else None


def _too_large() -> Response:
    return PlainTextResponse(f"a request's body is at most {MAX_BODY} bytes", 413)


async def _read(receive: Receive) -> bytes | Response | None:
    """Return the whole body, a refusal where it is too large, or nothing where the client is gone."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return _too_large()
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class PunctualProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol that also closes a connection whose request line and headers do not arrive in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, or stop waiting when they are there."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        waiting = self.conn.their_state is h11.IDLE
        if waiting and self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._late)
        elif not waiting and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()
