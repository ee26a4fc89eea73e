"""What the local socket carries: one JSON object a line, a request up, a reply down."""

from typing import Any

import msgspec

SOCKET_NAME = "control.sock"
"""The socket's name in the run directory."""

RUN_DIRS = ("/run/holdfast", "/run/keepalived", "/run")
"""Where a daemon is looked for when nobody says where."""

RUN_DIR_VARIABLE = "HOLDFAST_RUN_DIR"


class Request(msgspec.Struct, frozen=True):
    """`{"command": "status", …}`: the command, and whatever else the line held."""

    command: str
    arguments: dict[str, Any] = {}


class Failure(msgspec.Struct, frozen=True):
    """The reply to what could not be done: `{"error": …, "cure": …}`."""

    error: str
    cure: str = ""


class BadRequestError(ValueError):
    """A line that is no request; its text says what was expected."""


def parse_request(line: bytes) -> Request:
    """The request in one line; raises BadRequestError."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise BadRequestError(f"the request is not JSON ({wrong})") from None
    command = value.pop("command", None) if isinstance(value, dict) else None
    if not isinstance(command, str) or not command:
        raise BadRequestError("the request names no command")
    return Request(command, value)


def encode(reply: object) -> bytes:
    """A reply as one line."""
    return msgspec.json.encode(reply) + b"\n"


def failure_in(line: bytes) -> Failure | None:
    """The failure a reply line tells, or None; looks at the beginning only, for a reply may be long."""
    if not line.startswith(b'{"error":'):
        return None
    try:
        return msgspec.json.decode(line, type=Failure)
    except msgspec.DecodeError:
        return None
