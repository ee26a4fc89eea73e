"""One request over HTTP/2 (RFC 9113): `http_protocol 2` of HTTP_GET and SSL_GET, and what GRPC_CHECK rides on.

In TLS the server must agree to `h2` (ALPN); in the clear it is spoken from the first octet (prior knowledge).
"""

from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from holdfast.check.conversation import NOTHING, Outcome, Said, quoted
from holdfast.check.http import USER_AGENT, Body, UrlRules, wrong_status

Headers = list[tuple[bytes, bytes]]

ALPN = "h2"

_CONFIG = h2.config.H2Configuration(client_side=True, header_encoding=None)


class Http2Conversation:
    """One stream on one connection. Kinds of request say what they send and judge what comes."""

    __slots__ = ("_began", "_connection", "_heard", "_stream", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._began = False
        self._heard = False
        self._stream = 0
        self._connection: h2.connection.H2Connection | None = None

    # ---- for each kind ----------------------------------------------------------------------------------------------

    def request(self) -> tuple[Headers, bytes]:
        """Headers and body of the request."""
        raise NotImplementedError

    def on_headers(self, status: int, headers: Headers) -> Outcome | None:
        """The answer's header."""
        raise NotImplementedError

    def on_octets(self, octets: bytes) -> Outcome | None:
        """Some of its body."""
        raise NotImplementedError

    def on_trailers(self, headers: Headers) -> Outcome | None:
        """Headers after the body."""
        return None

    def on_end(self) -> Outcome:
        """The whole answer came."""
        raise NotImplementedError

    # ---- for the holder of the socket -------------------------------------------------------------------------------

    def begin(self) -> Said:
        """Preface, settings and the request, in one."""
        connection = self._connection = h2.connection.H2Connection(_CONFIG)
        connection.local_settings.enable_push = 0
        connection.initiate_connection()
        self._stream = connection.get_next_available_stream_id()
        headers, body = self.request()
        connection.send_headers(self._stream, headers, end_stream=not body)
        if body:
            connection.send_data(self._stream, body, end_stream=True)
        self._began = True
        return connection.data_to_send()

    def received(self, octets: bytes) -> Said:
        """Frames, whole or in parts."""
        connection = self._connection
        if connection is None:
            return NOTHING
        try:
            events = connection.receive_data(octets)
            self._heard = self._heard or bool(events)
            for event in events:
                outcome = self._event(connection, event)
                if outcome is not None:
                    return self._parted(outcome)
            return connection.data_to_send()
        except Exception as error:
            # what the library stumbles over, in whichever way, came from the wire
            what = str(error) or type(error).__name__
            return self._parted(Outcome(False, f"{self.path}: no HTTP/2: {what}: {quoted(octets)}"))

    def _event(self, connection: h2.connection.H2Connection, event: h2.events.Event) -> Outcome | None:
        if getattr(event, "stream_id", self._stream) not in (0, self._stream):
            return None
        match event:
            case h2.events.ResponseReceived():
                headers = _pairs(event.headers)
                status = dict(headers).get(b":status", b"")
                return self.on_headers(int(status) if status.isdigit() and len(status) == 3 else 0, headers)
            case h2.events.DataReceived():
                outcome = self.on_octets(event.data or b"")
                if outcome is None and event.flow_controlled_length:
                    connection.acknowledge_received_data(event.flow_controlled_length, self._stream)
                return outcome
            case h2.events.TrailersReceived():
                return self.on_trailers(_pairs(event.headers))
            case h2.events.StreamEnded():
                return self.on_end()
            case h2.events.StreamReset():
                return Outcome(False, f"{self.path}: the server reset the stream: {_code(event.error_code)}")
            case h2.events.ConnectionTerminated():
                last = event.last_stream_id or 0
                if event.error_code or last < self._stream:
                    return Outcome(False, f"{self.path}: the server gave up: {_code(event.error_code)}")
        return None

    def _parted(self, outcome: Outcome) -> Outcome:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close_connection()
                return Outcome(outcome.ok, outcome.detail, parting=connection.data_to_send())
        except Exception:
            pass  # a connection that is broken needs no farewell
        return outcome

    def closed(self) -> Said:
        """Too early."""
        how = "before the answer was whole" if self._heard else "without a frame of HTTP/2"
        return Outcome(False, f"{self.path}: closed {how}")

    def expired(self, span: str) -> Outcome:
        """Not in time."""
        came = "the answer is not whole" if self._began else "connection not accepted"
        return Outcome(False, f"{self.path}: {came} within {span}")


class Http2Get(Http2Conversation):
    """A GET judged like that of HTTP/1. `scheme` is http or https."""

    __slots__ = ("_body", "_host", "_rules", "_scheme", "_status")

    def __init__(self, rules: UrlRules, host: str, scheme: str) -> None:
        super().__init__(rules.path)
        self._rules = rules
        self._host = host
        self._scheme = scheme
        self._status = 0
        self._body = Body(rules)

    def request(self) -> tuple[Headers, bytes]:
        """The pseudo-headers of RFC 9113 §8.3.1, and who asks."""
        return [
            (b":method", b"GET"),
            (b":scheme", self._scheme.encode()),
            (b":authority", self._host.encode("utf-8", "replace")),
            (b":path", self._rules.path.encode("utf-8", "surrogateescape")),
            (b"user-agent", USER_AGENT.encode()),
        ], b""

    def on_headers(self, status: int, headers: Headers) -> Outcome | None:
        """The status decides first."""
        self._status = status
        if status not in self._rules.status:
            return wrong_status(self._rules, status, dict(headers).get(b"location", b"")[:200])
        return None

    def on_octets(self, octets: bytes) -> Outcome | None:
        """Bounded, as in HTTP/1."""
        self._body.add(octets)
        return self._body.verdict(self._status, complete=False) if self._body.enough else None

    def on_end(self) -> Outcome:
        """All is there."""
        if not self._status:
            return Outcome(False, f"{self.path}: ended without a status")
        return self._body.verdict(self._status, complete=True)


def _pairs(headers: Any) -> Headers:
    return [(bytes(name), bytes(value)) for name, value in headers or ()]


def _code(code: int | None) -> str:
    try:
        return h2.errors.ErrorCodes(code or 0).name
    except ValueError:
        return f"error {code}"
