"""HTTP: loopback only unless told otherwise, Host and Origin checked, token, size limit, health, clean end."""

import contextlib
import http.client
import urllib.error
import urllib.request

import pytest

from mlwalls.server.app import build_server
from mlwalls.server.http import UnsafeBindError, http_app
from mlwalls.server.limits import MAX_BODY


def status(url, headers=None, body=b"{}"):
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **(headers or {})}
    request = urllib.request.Request(f"{url}/mcp", data=body, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def declared_size(url, size):
    """The status for a body of a declared size, none of which is sent: the server must not wait for it."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    with contextlib.closing(connection):
        return _send_head(connection, size)


def _send_head(connection, size):
    connection.putrequest("POST", "/mcp")
    for name, value in (("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")):
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    with connection.getresponse() as response:
        return response.status


def test_health_hosts_origins_sizes(http_server):
    with http_server() as url:
        assert urllib.request.urlopen(f"{url}/healthz", timeout=5).read() == b"ok\n"
        assert status(url, {"Host": "evil.example"}) == 421
        assert status(url, {"Origin": "https://evil.example"}) == 403
        assert declared_size(url, MAX_BODY + 1) == 413
        assert status(url, body=b"not json") == 400


def test_a_token_is_required_when_set(monkeypatch, http_server):
    monkeypatch.setenv("SOME_TOKEN", "s3cret")
    with http_server("--token-env", "SOME_TOKEN") as url:
        assert status(url) == 401
        assert status(url, {"Authorization": "Bearer wrong"}) == 401
        assert status(url, {"Authorization": "Bearer s3cret"}) != 401
        assert urllib.request.urlopen(f"{url}/healthz", timeout=5).status == 200


def test_binding_widely_needs_an_allow_list():
    with pytest.raises(UnsafeBindError, match="allow-host"):
        http_app(build_server(), "0.0.0.0")
    assert http_app(build_server(), "0.0.0.0", ["box:8000"])
