"""GRPC_CHECK: `grpc.health.v1.Health/Check` over HTTP/2, as every gRPC server's health service answers it.

Source: the gRPC health checking protocol and "gRPC over HTTP2": a message is a flag of compression (0), its length in
4 octets, and the message; the status of the call is in the trailers.
"""

from holdfast.check.conversation import Outcome, quoted
from holdfast.check.http2 import Headers, Http2Conversation

PATH = "/grpc.health.v1.Health/Check"
REPLY_BYTES = 4096
"""A reply longer than this is refused: a status is two octets."""

SERVING = 1
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_CURES = {
    "UNIMPLEMENTED": "the server has no health service: register grpc.health.v1.Health",
    "NOT_FOUND": "the server knows no service of this name",
}


class GrpcConversation(Http2Conversation):
    """One call of Check. `timeout_ms` is told to the server, so that it needn't go on when we won't wait."""

    __slots__ = ("_body", "_host", "_scheme", "_service", "_timeout_ms")

    def __init__(self, host: str, service: str, scheme: str, timeout_ms: int) -> None:
        super().__init__(f"health of {service!r}" if service else "health")
        self._host = host
        self._service = service
        self._scheme = scheme
        self._timeout_ms = timeout_ms
        self._body = bytearray()

    def request(self) -> tuple[Headers, bytes]:
        """HealthCheckRequest{service = 1}."""
        name = self._service.encode()
        message = b"\x0a" + _varint(len(name)) + name if name else b""
        return [
            (b":method", b"POST"),
            (b":scheme", self._scheme.encode()),
            (b":authority", self._host.encode("utf-8", "replace")),
            (b":path", PATH.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-timeout", b"%dm" % max(self._timeout_ms, 1)),
            (b"user-agent", b"holdfast"),
        ], b"\0" + len(message).to_bytes(4, "big") + message

    def on_headers(self, status: int, headers: Headers) -> Outcome | None:
        """HTTP's own status, and that gRPC is spoken; a call that fails at once has its trailers here."""
        found = dict(headers)
        if status != 200:
            return Outcome(False, f"{self.path}: HTTP status {status}")
        kind = found.get(b"content-type", b"")
        if not kind.startswith(b"application/grpc"):
            return Outcome(False, f"{self.path}: no gRPC: content-type {quoted(kind)}")
        return self.on_trailers(headers) if b"grpc-status" in found else None

    def on_octets(self, octets: bytes) -> Outcome | None:
        """Some of the reply."""
        self._body += octets
        if len(self._body) > REPLY_BYTES:
            return Outcome(False, f"{self.path}: its reply is longer than {REPLY_BYTES >> 10} KiB")
        return None

    def on_trailers(self, headers: Headers) -> Outcome | None:
        """The call's status, and then the server's."""
        found = dict(headers)
        written = found.get(b"grpc-status", b"")
        if not written.isdigit() or len(written) > 3:
            return Outcome(False, f"{self.path}: no grpc-status in its trailers")
        code = int(written)
        if code:
            name = _CODES[code] if code < len(_CODES) else f"status {code}"
            said = found.get(b"grpc-message", b"")
            why = _CURES.get(name) or (quoted(said, 120) if said else "")
            return Outcome(False, f"{self.path}: {name}" + (f": {why}" if why else ""))
        try:
            status = health_status(bytes(self._body))
        except ValueError as error:
            return Outcome(False, f"{self.path}: its reply cannot be read: {error}")
        return Outcome(status == SERVING, f"{self.path}: {_STATUS.get(status, f'status {status}')}")

    def on_end(self) -> Outcome:
        """Ended without trailers."""
        return Outcome(False, f"{self.path}: ended without a grpc-status")


def health_status(octets: bytes) -> int:
    """`status` of a HealthCheckResponse as framed by gRPC; 0 when it isn't said; ValueError."""
    if len(octets) < 5:
        raise ValueError(f"{len(octets)} octets are no message")
    if octets[0]:
        raise ValueError("it is compressed, which was not asked for")
    length = int.from_bytes(octets[1:5], "big")
    if length != len(octets) - 5:
        raise ValueError(f"{length} octets were announced, {len(octets) - 5} came")
    status, at = 0, 5
    while at < len(octets):
        key, at = _read_varint(octets, at)
        match key & 7:
            case 0:
                value, at = _read_varint(octets, at)
                if key >> 3 == 1:
                    status = value
            case 1:
                at += 8
            case 2:
                length, at = _read_varint(octets, at)
                at += length
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")
        if at > len(octets):
            raise ValueError("it is cut")
    return status


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _read_varint(octets: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(octets) and shift < 64:
        octet = octets[at]
        value |= (octet & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not octet & 0x80:
            return value, at
    raise ValueError("a number in it does not end")
