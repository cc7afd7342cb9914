"""Streamable HTTP: loopback by default, Host and Origin checked, limits on what a client may cost, /healthz."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mlwalls.server.limits import MAX_BODY, MAX_CONCURRENT, MAX_CONNECTIONS, Gate, PunctualProtocol

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class UnsafeBindError(ValueError):
    """The address is reachable from outside and nobody said which Host names are meant."""


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
    app.add_middleware(Gate, security=security, token=token, concurrent=concurrent)
    return app


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def serve_http(app: Starlette, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first."""
    import uvicorn

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PunctualProtocol,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        log_level="warning",
        timeout_graceful_shutdown=10,
    )
    await uvicorn.Server(config).serve()
