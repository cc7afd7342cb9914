"""HTTP under hostile clients: any bytes get an orderly status, slow and greedy ones are let go, and the server lives on."""

import contextlib
import http.client
import json
import random
import socket
import subprocess
import sys
import time
import urllib.request

import anyio
import pytest

from mlwalls.server.limits import MAX_BODY, Gate

ORDERLY = {200, 202, 400, 403, 404, 405, 406, 408, 411, 413, 415, 421, 431, 501, 503}
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "tail_latency", "arguments": {"arrivals_per_s": 8, "service_time_s": 0.4, "servers": 4}},
}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def address(url):
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def posted(url, body, headers=HEADERS, method="POST", path="/mcp"):
    connection = http.client.HTTPConnection(*address(url), timeout=15)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        with connection.getresponse() as response:
            return response.status, response.read().decode("utf-8", "replace")


def sent(url, raw):
    """Send bytes as they are; the status of the reply, or None where the connection was closed without one."""
    with socket.create_connection(address(url), timeout=15) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            reply = client.recv(65536)
            return int(reply.split()[1]) if reply.startswith(b"HTTP/1.") else None


def test_any_body_and_any_header_get_an_orderly_status(http_server):
    chance = random.Random(7)
    good = json.dumps(CALL).encode()
    bodies = [
        b"", b"null", b"[]", b"{}", b"1e999", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b'"' + b"\\ud800" * 10 + b'"',
        json.dumps([CALL, CALL]).encode(), json.dumps([CALL] * 1000).encode(), b'{"jsonrpc": "2.0", "id": ' + b"9" * 5000 + b"}",
        json.dumps({**CALL, "params": None}).encode(), json.dumps({**CALL, "params": {"name": 7, "arguments": []}}).encode(),
        json.dumps({**CALL, "id": {"a": 1}}).encode(), json.dumps({**CALL, "jsonrpc": "1.0"}).encode(),
        json.dumps({**CALL, "method": "no/such"}).encode(), json.dumps({**CALL, "method": "tools/list\x00"}).encode(),
    ]  # fmt: skip
    bodies += [
        good[: chance.randrange(len(good))] + chance.randbytes(4) + good[chance.randrange(len(good)) :]
        for _ in range(60)
    ]
    headers = [
        HEADERS, {}, {"Content-Type": "text/plain"}, {**HEADERS, "Accept": "*/*"},
        {**HEADERS, "MCP-Protocol-Version": "9999-99-99"},
        {**HEADERS, "Mcp-Session-Id": "x" * 500}, {**HEADERS, "Content-Type": "application/json; charset=utf-16"},
        {**HEADERS, "Mcp-Method": "tools/list", "Mcp-Name": "\xe9"}, {**HEADERS, "Last-Event-ID": "-1"},
        {**HEADERS, "Authorization": "Bearer " + "a" * 5000}, {**HEADERS, "X": "y" * 30_000},
    ]  # fmt: skip
    with http_server() as url:
        for number, body in enumerate(bodies):
            for chosen in (HEADERS, headers[number % len(headers)]):
                status, text = posted(url, body, chosen)
                assert status in ORDERLY, (status, body[:80], chosen)
                assert "Traceback" not in text and "pydantic" not in text, text
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert posted(url, b"", HEADERS, method)[0] in ORDERLY
        for path in ("/", "/mcp/", "/mcp/../healthz", "/%00", "/" + "a" * 5000, "/mcp?x=" + "y" * 2000):
            assert posted(url, good, path=path)[0] in ORDERLY | {307}
        for _ in range(60):
            head = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\n"
            cut = chance.randrange(len(head))
            status = sent(url, head[:cut] + chance.randbytes(chance.randrange(12)) + head[cut:] + chance.randbytes(30))
            assert status is None or status in ORDERLY, status
        assert posted(url, good)[0] == 200


def test_a_batch_is_refused(http_server):
    with http_server() as url:
        status, text = posted(url, json.dumps([CALL, CALL]))
    assert status == 400, text


def test_clients_that_drop_their_connection_cost_nothing(http_server):
    body = json.dumps(CALL).encode()
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with http_server() as url:
        for cut in range(0, len(head) + len(body), 37):
            with socket.create_connection(address(url), timeout=5) as client:
                client.sendall((head.encode() + body)[:cut])
        for _ in range(30):
            with socket.create_connection(address(url), timeout=5) as client:
                client.sendall(head.encode() + body)
        assert posted(url, body)[0] == 200


def test_a_connection_that_sends_no_headers_is_closed(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        "import sys; from mlwalls.server import limits; limits.HEAD_SECONDS = 0.5; from mlwalls.server.cli import main; "
        f"sys.exit(main(['serve', '--http', '--port', '{port}']))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/healthz", timeout=5).close()
                break
            time.sleep(0.05)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as halting:
            halting.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            assert halting.recv(1) == b""
        assert posted(url, json.dumps(CALL))[0] == 200
    finally:
        process.terminate()
        assert b"Traceback" not in process.communicate(timeout=20)[1]


def asked(gate, messages, headers=()):
    """Send one request of several messages through a gate; the status, or None where nothing was answered."""
    statuses = []

    async def receive():
        if not messages:
            await anyio.sleep_forever()
        return messages.pop(0)

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    anyio.run(gate, {"type": "http", "path": "/mcp", "method": "POST", "headers": list(headers)}, receive, send)
    return statuses[0] if statuses else None


async def echo(scope, receive, send):
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def part(body, more):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_parts_is_put_together():
    assert asked(Gate(echo), [part(b'{"jsonrpc": "2.0",', True), part(b' "method": "ping"}', False)]) == 200


def test_a_body_that_does_not_arrive_is_let_go():
    assert asked(Gate(echo, body_seconds=0.05), [part(b"a", True)]) == 408


def test_a_body_that_grows_past_the_limit_is_refused():
    assert asked(Gate(echo), [part(b"a" * (MAX_BODY // 2), True)] * 3) == 413


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "9" * 40, "-1", "x", ""])
def test_a_declared_size_is_believed(length):
    assert asked(Gate(echo), [part(b"", False)], [(b"content-length", length.encode())]) == 413


def test_a_client_that_leaves_is_not_answered():
    assert asked(Gate(echo), [part(b"a", True), {"type": "http.disconnect"}]) is None


def test_an_answer_that_takes_too_long_is_given_up():
    async def slow(scope, receive, send):
        await anyio.sleep(30)

    assert asked(Gate(slow, answer_seconds=0.05), [part(json.dumps(CALL).encode(), False)]) == 504


def test_more_requests_at_once_than_allowed_are_told_to_wait():
    async def inside(scope, receive, send):
        refused.append(await anyio.to_thread.run_sync(lambda: asked(gate, [part(json.dumps(CALL).encode(), False)])))
        await echo(scope, receive, send)

    refused = []
    gate = Gate(inside, concurrent=1)
    assert asked(gate, [part(json.dumps(CALL).encode(), False)]) == 200
    assert refused == [503]
