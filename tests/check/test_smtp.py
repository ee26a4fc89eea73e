"""SMTP checks: replies of every kind, and a real server of aiosmtpd."""

import socket
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.time import MILLISECOND
from holdfast.check.config import SmtpCheck
from holdfast.check.conversation import Outcome, Said
from holdfast.check.smtp import SmtpConversation
from tests.check.asking import ask, listening, target, unused_port

HELO = b"HELO lb.example.org\r\n"


def talk(*pieces: bytes) -> tuple[Said, list[bytes]]:
    """The end, or the last thing said; and what was sent."""
    conversation = SmtpConversation("lb.example.org")
    said: Said = conversation.begin()
    sent: list[bytes] = []
    for piece in pieces:
        said = conversation.received(piece)
        sent.append(said.parting if isinstance(said, Outcome) else said)
        if isinstance(said, Outcome):
            return said, [octets for octets in sent if octets]
    return conversation.closed(), [octets for octets in sent if octets]


GOOD = "answers HELO with 250"


@pytest.mark.parametrize(
    ("pieces", "ok", "detail", "sent"),
    [
        ((b"220 hello\r\n", b"250 hi\r\n"), True, GOOD, [HELO, b"QUIT\r\n"]),
        ((b"220-we\r\n220-are\r\n220 here\r\n", b"250-a\r\n", b"250 b\r\n"), True, GOOD, [HELO, b"QUIT\r\n"]),
        ((b"220 hel", b"lo\r", b"\n", b"25", b"0\r\n"), True, GOOD, [HELO, b"QUIT\r\n"]),
        ((b"220 lf\n", b"250 lf\n"), True, GOOD, [HELO, b"QUIT\r\n"]),
        ((b"554 go away\r\n",), False, "the greeting is '554 go away'", [b"QUIT\r\n"]),
        ((b"220 hello\r\n", b"421 busy\r\n"), False, "the answer to HELO is '421 busy'", [HELO, b"QUIT\r\n"]),
        ((b"SSH-2.0-x\r\n",), False, "the greeting is no SMTP: 'SSH-2.0-x'", []),
        ((b"220hello\r\n",), False, "the greeting is no SMTP: '220hello'", []),
        ((b"\x00\xff\r\n",), False, "the greeting is no SMTP: '..'", []),
        ((), False, "closed before the greeting", []),
        ((b"220 hello\r\n",), False, "closed before the answer to HELO", [HELO]),
        ((b"220 " + b"x" * 20000,), False, "the greeting is longer than 16 KiB", []),
        ((b"220-x\r\n" * 3000,), False, "the greeting does not end", []),
    ],
)
def test_replies(pieces: tuple[bytes, ...], ok: bool, detail: str, sent: list[bytes]) -> None:
    said, went = talk(*pieces)
    assert isinstance(said, Outcome)
    assert (said.ok, said.detail, went) == (ok, detail, sent)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_whatever_comes_is_answered(pieces: list[bytes]) -> None:
    assert isinstance(talk(b"220 ok\r\n", *pieces)[0], Outcome)


@pytest.fixture(scope="module")
def mail() -> Iterator[int]:
    port = unused_port()
    controller = Controller(object(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port
    controller.stop()


def test_a_real_server(mail: int) -> None:
    assert ask(SmtpCheck(target=target(mail))) == Outcome(True, GOOD)
    assert ask(SmtpCheck(target=target(mail), helo_name="")).detail.startswith("the answer to HELO is '501 ")


def test_a_server_that_drips(mail: int) -> None:
    def drip(peer: socket.socket) -> None:
        peer.sendall(b"220-")
        peer.recv(10)

    with listening(drip) as port:
        outcome = ask(SmtpCheck(target=target(port, timeout_ns=200 * MILLISECOND)))
        assert outcome == Outcome(False, "the greeting did not come within 200 ms")
