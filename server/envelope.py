"""Whether a body is one JSON-RPC message, said in a sentence: what is not never reaches the protocol's own parser."""

from __future__ import annotations

import json
from typing import Any

PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602


def fault(body: bytes) -> dict[str, Any] | None:
    """Return the JSON-RPC error that a body deserves, or None where it is one well-formed message."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return _error(None, PARSE_ERROR, "Parse error: the body is not JSON")
    if isinstance(message, list):
        return _error(None, INVALID_REQUEST, "Invalid request: one message a body; batches are not taken")
    if not isinstance(message, dict):
        return _error(None, INVALID_REQUEST, "Invalid request: a message is a JSON object")
    id = message.get("id")
    if isinstance(id, bool) or not isinstance(id, (str, int, type(None))):
        return _error(None, INVALID_REQUEST, "Invalid request: id is text or a whole number")
    if message.get("jsonrpc") != "2.0":
        return _error(id, INVALID_REQUEST, 'Invalid request: jsonrpc must be "2.0"')
    if "method" not in message and not {"result", "error"} & message.keys():
        return _error(id, INVALID_REQUEST, "Invalid request: method is missing")
    if not isinstance(message.get("method", ""), str):
        return _error(id, INVALID_REQUEST, "Invalid request: method is text")
    if not isinstance(message.get("params", {}), dict):
        return _error(id, INVALID_PARAMS, "Invalid params: params is a JSON object")
    return None


def _error(id: str | int | None, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}}
