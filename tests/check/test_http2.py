"""HTTP/2 checks against nginx, and against servers made of frames."""

import socket

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.time import MILLISECOND
from holdfast.check.config import HttpCheck, Regex, Tls, Url
from holdfast.check.conversation import Outcome
from holdfast.check.http import url_rules
from holdfast.check.http2 import Http2Get
from tests.check.asking import ask, feed, listening, target
from tests.check.conftest import NAME, Nginx

SERVER = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")


def page(port: int, tls: Tls | None, path: str = "/", regex: str = "", timeout_ms: int = 5000, digest: str = "") -> Outcome:
    url = Url(path=path, host=NAME, regex=Regex(expression=regex) if regex else None, digest=digest)
    whom = target(port, timeout_ns=timeout_ms * MILLISECOND)
    return ask(HttpCheck(target=whom, urls=(url,), tls=tls, protocol="2"))


def test_nginx(nginx: Nginx) -> None:
    tls = Tls(server_name=NAME)
    assert page(nginx.tls, tls) == Outcome(True, "/: 200")
    assert page(nginx.tls, tls, regex=f"^HTTP/2.0 {NAME} {NAME}$").ok
    assert page(nginx.tls, tls, "/broken") == Outcome(False, "/broken: 503")
    assert page(nginx.tls, tls, "/moved").detail == "/moved: 301, redirect to 'http://elsewhere.example/': not followed"
    assert page(nginx.tls, tls, "/large") == Outcome(True, "/large: 200")
    # 3,000,000 octets of zero: more than the windows, so they have to be opened
    assert page(nginx.tls, tls, "/large", digest="c9fc2d3dd83ab67a129ac10b09c9ebbb").ok


def test_a_server_without_http2(nginx: Nginx) -> None:
    assert page(nginx.old, Tls()) == Outcome(False, "the server does not offer h2 in TLS (ALPN)")
    assert page(nginx.plain, None) == Outcome(False, "/: closed without a frame of HTTP/2")
    assert feed(conversation(), b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(9)) == Outcome(
        False, "/: closed without a frame of HTTP/2"
    )
    garbage = feed(conversation(), bytes(9))  # a frame, but not the one that must come first
    assert isinstance(garbage, Outcome)
    assert garbage.detail.startswith("/: no HTTP/2: ")


def answering(connection: h2.connection.H2Connection, stream: int) -> None:
    connection.send_headers(stream, [(":status", "200")])
    connection.send_data(stream, b"fine", end_stream=True)


def resetting(connection: h2.connection.H2Connection, stream: int) -> None:
    connection.reset_stream(stream, 7)


def going_away(connection: h2.connection.H2Connection, stream: int) -> None:
    connection.close_connection(2, last_stream_id=0)


def going_in_peace(connection: h2.connection.H2Connection, stream: int) -> None:
    connection.close_connection(0, last_stream_id=0)


def silent(connection: h2.connection.H2Connection, stream: int) -> None:
    connection.send_headers(stream, [(":status", "200")])


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (answering, Outcome(True, "/: 200")),
        (resetting, Outcome(False, "/: the server reset the stream: REFUSED_STREAM")),
        (going_away, Outcome(False, "/: the server gave up: INTERNAL_ERROR")),
        (going_in_peace, Outcome(False, "/: the server gave up: NO_ERROR")),
        (silent, Outcome(False, "/: the answer is not whole within 300 ms")),
    ],
)
def test_in_the_clear(answer: object, outcome: Outcome) -> None:
    def serve(peer: socket.socket) -> None:
        connection = h2.connection.H2Connection(SERVER)
        connection.initiate_connection()
        peer.sendall(connection.data_to_send())
        while octets := peer.recv(65536):
            for event in connection.receive_data(octets):
                if isinstance(event, h2.events.RequestReceived):
                    assert event.stream_id
                    assert callable(answer)
                    answer(connection, event.stream_id)
            peer.sendall(connection.data_to_send())

    with listening(serve) as port:
        assert page(port, None, timeout_ms=300 if answer is silent else 5000) == outcome


def conversation() -> Http2Get:
    return Http2Get(url_rules(Url(path="/", host=NAME), "2"), NAME, "http")


SETTINGS = bytes(3) + b"\x04\0" + bytes(4)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.booleans())
def test_whatever_comes_is_answered(pieces: list[bytes], settings: bool) -> None:
    said = feed(conversation(), *([SETTINGS] if settings else []), *pieces)
    assert isinstance(said, Outcome)
    assert not said.ok


def test_an_endless_header_is_refused() -> None:
    """CONTINUATION after CONTINUATION, none with the flag that ends the header."""
    talk = conversation()
    talk.begin()
    talk.received(SETTINGS)
    said = talk.received(b"\0\0\1\1\0\0\0\0\1\x88")
    sent = 0
    while not isinstance(said, Outcome):
        said = talk.received(b"\0\x40\0\x09\0\0\0\0\1" + b"\x40\x7f\x81\x7f" + bytes(16380))
        sent += 16393
        assert sent < 8 << 20
    assert not said.ok
