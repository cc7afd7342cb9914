"""Streamable HTTP: loopback by default, Host and Origin checked, limits on size and concurrency, /healthz."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

MAX_BODY = 1 << 20
MAX_CONCURRENT = 256
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class UnsafeBindError(ValueError):
    """The address is reachable from outside and nobody said which Host names are meant."""


class Gate:
    """ASGI middleware: an optional bearer token and a limit on requests at once, on everything but /healthz."""

    def __init__(self, app: App, token: str | None, concurrent: int) -> None:
        self._app, self._token, self._limit, self._now = app, token, concurrent, 0

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass the request on, or answer 401 or 503."""
        if scope["type"] != "http" or scope["path"] == "/healthz":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._now += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._now -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        if self._token is not None:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                return PlainTextResponse("bearer token required", 401, {"WWW-Authenticate": "Bearer"})
        if self._now >= self._limit:
            return PlainTextResponse("too many requests at once", 503, {"Retry-After": "1"})
        return None


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def http_app(
    server: Server[Any],
    host: str = "127.0.0.1",
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    token: str | None = None,
    concurrent: int = MAX_CONCURRENT,
) -> Starlette:
    """Return the ASGI application: ``/mcp`` and ``/healthz``.

    Args:
        allowed_hosts: Host header values to accept beside loopback (``name:port`` or ``name:*``).
        allowed_origins: Origin header values to accept beside loopback.

    Raises:
        UnsafeBindError: `host` is not loopback and `allowed_hosts` is empty.
    """
    if not _is_loopback(host) and not allowed_hosts:
        raise UnsafeBindError(
            f"{host} is reachable from other machines: say which Host names are meant, e.g. --allow-host my-host:8000"
        )
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*(f"{name}:*" for name in _LOOPBACK), *allowed_hosts],
        allowed_origins=[*(f"http://{name}:*" for name in _LOOPBACK), *allowed_origins],
    )
    app = server.streamable_http_app(
        json_response=True,
        stateless_http=True,
        max_request_body_size=MAX_BODY,
        transport_security=security,
        host=host,
        custom_starlette_routes=[Route("/healthz", _healthz)],
    )
    app.add_middleware(Gate, token=token, concurrent=concurrent)
    return app


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def serve_http(app: Starlette, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first."""
    import uvicorn

    config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=10)
    await uvicorn.Server(config).serve()
