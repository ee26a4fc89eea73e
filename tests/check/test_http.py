"""HTTP/1 checks: every kind of answer, whole and octet by octet, and what a real server says."""

import gzip
import hashlib
import http.server
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.time import MILLISECOND
from holdfast.check.config import HttpCheck, Regex, Url
from holdfast.check.conversation import Outcome
from holdfast.check.http import HEADER_BYTES, KEPT_BYTES, PLAIN_BYTES, HttpConversation, UrlRules, url_rules
from holdfast.edge.pcre2 import Pcre2Expression
from tests.check.asking import ask, feed, listening, target, unused_port

HELLO = hashlib.md5(b"hello").hexdigest()


def rules(**more: object) -> UrlRules:
    url = Url(path="/", host="www.example.org", **more)  # type: ignore[arg-type]
    return url_rules(url, "1.1", Pcre2Expression(url.regex) if url.regex is not None else None)


PLAIN = rules()
FOUND = rules(status=((200, 200), (302, 304)))
DIGEST = rules(digest=HELLO.upper())
CHUNKS = b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
RAW_DIGEST = rules(digest="427eb4a77b18fad5440d0f0aea54e47f")  # of CHUNKS, by genhash of keepalived 2.2.7
REGEX = rules(regex=Regex(expression="(?i)HEL+o$"))
NO_REGEX = rules(regex=Regex(expression="error", no_match=True))


@pytest.mark.parametrize(
    ("asked", "answer", "ok", "detail"),
    [
        (PLAIN, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", True, "/: 200"),
        (PLAIN, b"HTTP/1.0 204 No Content\r\n\r\n", True, "/: 204"),
        (PLAIN, b"HTTP/1.0 200 OK\r\n\r\nhello", True, "/: 200"),  # its end is the stream's
        (PLAIN, b"HTTP/1.1 200 OK\nServer: old\n\nhello", True, "/: 200"),  # bare LF
        (PLAIN, b"HTTP/1.1 200\r\n\r\n", True, "/: 200"),
        (PLAIN, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True, "/: 200"),
        (PLAIN, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", True, "/: 200"),
        (PLAIN, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\xff\xff", True, "/: 200"),
        (PLAIN, b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", False, "/: 500"),
        (PLAIN, b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\n\r\n", False,
         "/: 302, redirect to 'http://evil.example/': not followed"),
        (FOUND, b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", True, "/: 302"),
        (FOUND, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", False, "/: 201"),
        (FOUND, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", True, "/: 304"),
        (PLAIN, b"", False, "/: closed without an answer"),
        (PLAIN, b"HTTP/1.1 200 OK\r\nContent-", False, "/: closed in the middle of its header"),
        (PLAIN, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", False,
         "/: 200, but closed after 5 octets of its body"),
        (PLAIN, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello", False,
         "/: 200, but closed after 5 octets of its body"),
        (DIGEST, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", True, "/: 200"),
        (DIGEST, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", True, "/: 200"),
        (RAW_DIGEST, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, True, "/: 200"),
        (RAW_DIGEST, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False,
         "/: 200, but the MD5 of its 0 octets is d41d8cd98f00b204e9800998ecf8427e"),
        (DIGEST, b"HTTP/1.0 200 OK\r\n\r\nhellO", False,
         "/: 200, but the MD5 of its 5 octets is 06612c0d9c73d47a7042afd7024d7c82"),
        (REGEX, b"HTTP/1.0 200 OK\r\n\r\nwell, hellllo", True, "/: 200"),
        (REGEX, b"HTTP/1.0 200 OK\r\n\r\nhello there", False, "/: 200, but its body does not match"),
        (NO_REGEX, b"HTTP/1.0 200 OK\r\n\r\nfine", True, "/: 200"),
        (NO_REGEX, b"HTTP/1.0 200 OK\r\n\r\nan error", False, "/: 200, but its body matches"),
    ],
)  # fmt: skip
def test_answers(asked: UrlRules, answer: bytes, ok: bool, detail: str) -> None:
    assert feed(HttpConversation(asked), *([answer] if answer else [])) == Outcome(ok, detail)
    each = [answer[place : place + 1] for place in range(len(answer))]
    assert feed(HttpConversation(asked), *each) == Outcome(ok, detail)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"hello\r\n\r\n"])
def test_garbage_is_named_and_shown(answer: bytes) -> None:
    outcome = feed(HttpConversation(PLAIN), answer)
    assert isinstance(outcome, Outcome)
    assert not outcome.ok
    assert outcome.detail.startswith("/: no HTTP: ")
    assert all(32 <= ord(character) < 127 for character in outcome.detail)


def test_an_answer_ends_the_check_without_waiting_for_the_stream_to_end() -> None:
    assert feed(HttpConversation(PLAIN), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", end=False) == Outcome(True, "/: 200")
    assert feed(HttpConversation(PLAIN), b"HTTP/1.1 500 No\r\n\r\n", end=False) == Outcome(False, "/: 500")


def endless(start: bytes, piece: bytes) -> tuple[Outcome, int]:
    """The outcome, and how many octets it took."""
    conversation = HttpConversation(PLAIN)
    conversation.begin()
    said, octets = conversation.received(start), len(start)
    while not isinstance(said, Outcome):
        said, octets = conversation.received(piece), octets + len(piece)
        assert octets < 100 << 20
    return said, octets


@pytest.mark.parametrize("piece", [b"x" * 1000, b"X: y\r\n" * 200, b"\r\n" * 0 + b"a" * 65536])
def test_an_endless_header_is_refused_in_time(piece: bytes) -> None:
    outcome, octets = endless(b"HTTP/1.1 200 OK\r\n" + b"X-A: ", piece)
    assert outcome == Outcome(False, "/: its header is longer than 64 KiB")
    assert octets <= HEADER_BYTES + 70000


def test_endless_provisional_answers_do_not_pass() -> None:
    conversation = HttpConversation(PLAIN)
    conversation.begin()
    for _ in range(1000):
        assert conversation.received(b"HTTP/1.1 100 Continue\r\n\r\n") == b""
    assert conversation.expired("5 s") == Outcome(False, "/: connected, but no answer within 5 s")


def test_of_a_gigantic_body_no_more_is_read_than_the_check_needs() -> None:
    outcome, octets = endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", bytes(10000))
    assert outcome == Outcome(True, "/: 200")
    assert octets <= PLAIN_BYTES + 20000


def test_of_a_gigantic_body_a_mebibyte_is_searched() -> None:
    conversation = HttpConversation(REGEX)
    conversation.begin()
    conversation.received(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(KEPT_BYTES // 65536 - 1):
        assert conversation.received(bytes(65536)) == b""
    assert conversation.received(bytes(65536)) == Outcome(False, "/: 200, but its body does not match in its first 1 MiB")


@pytest.mark.parametrize(
    ("regex", "body", "found"),
    [
        (Regex(expression="b", min_offset=2), b"ab", False),
        (Regex(expression="b", min_offset=1), b"ab", True),
        (Regex(expression="b", min_offset=9), b"ab", False),
        (Regex(expression="b", max_offset=1), b"aab", False),
        (Regex(expression="b", max_offset=2), b"aab", True),
        (Regex(expression="A.C", options=("caseless", "dotall")), b"a\nc", True),
        (Regex(expression="A.C", options=("caseless",)), b"a\nc", False),
        (Regex(expression="a b", options=("extended",)), b"ab", True),
        (Regex(expression="^b", options=("multiline",)), b"a\nb", True),
        (Regex(expression=r"^\w$", options=("utf", "ucp")), "ä".encode(), True),
        (Regex(expression=r"(?<y>\d+)-\k<y>"), b"12-12", True),
        (Regex(expression=r"a++b\K"), b"aab", True),
    ],
)
def test_expressions(regex: Regex, body: bytes, found: bool) -> None:
    assert Pcre2Expression(regex).search(body) is found


def test_an_expression_that_explodes_costs_a_failure_and_no_time() -> None:
    asked = rules(regex=Regex(expression="(a+)+$"))
    begun = time.process_time()
    outcome = feed(HttpConversation(asked), b"HTTP/1.0 200 OK\r\n\r\n" + b"a" * 5000 + b"b")
    assert time.process_time() - begun < 0.1
    assert isinstance(outcome, Outcome)
    assert outcome.detail == "/: 200, but the expression gave up on its body: match limit exceeded"


def test_octets_that_are_no_text_are_no_match() -> None:
    outcome = feed(HttpConversation(rules(regex=Regex(expression="a", options=("utf",)))), b"HTTP/1.0 200 OK\r\n\r\na\xff")
    assert isinstance(outcome, Outcome)
    assert "gave up on its body: UTF-8 error" in outcome.detail


@pytest.mark.parametrize(
    ("regex", "said"),
    [
        (Regex(expression="a(b"), "'a(b' at character 3: missing closing parenthesis"),
        (Regex(expression="a", options=("sideways",)), "'sideways' is no option of an expression: use allow_empty_class"),
    ],
)
def test_an_expression_that_is_none_is_refused(regex: Regex, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Pcre2Expression(regex)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("protocol", "first", "has_close"),
    [("1.0", b"GET /x HTTP/1.0", False), ("1.0C", b"GET /x HTTP/1.0", True), ("1.1", b"GET /x HTTP/1.1", True),
     ("1.1C", b"GET /x HTTP/1.1", True)],
)  # fmt: skip
def test_requests(protocol: str, first: bytes, has_close: bool) -> None:
    request = url_rules(Url(path="/x", host="[2001:db8::1]:80"), protocol).request  # type: ignore[arg-type]
    lines = request.split(b"\r\n")
    assert lines[0] == first
    assert b"User-Agent: KeepAliveClient" in lines
    assert b"Host: [2001:db8::1]:80" in lines
    assert (b"Connection: close" in lines) is has_close
    assert request.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("received", "said"),
    [
        (b"", "/: connected, but no answer within 5 s"),
        (b"HTTP/1.1 2", "/: its header of 10 octets so far did not end within 5 s"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", "/: 200, but its body of 3 octets so far did not end within 5 s"),
    ],
)
def test_what_was_missing_when_the_time_was_up(received: bytes, said: str) -> None:
    conversation = HttpConversation(PLAIN)
    assert conversation.expired("5 s").detail == "/: connection not accepted within 5 s"
    conversation.begin()
    if received:
        conversation.received(received)
    assert conversation.expired("5 s") == Outcome(False, said)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n\r\n"]))
def test_whatever_comes_is_answered(pieces: list[bytes], begin: bytes) -> None:
    said = feed(HttpConversation(DIGEST), begin, *[piece for piece in pieces if piece])
    assert isinstance(said, Outcome)


# ---- over real sockets ----------------------------------------------------------------------------------------------


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = gzip.compress(b"hello", mtime=0) if self.path == "/packed" else b"hello"
        self.send_response(200 if self.headers["Host"] == "www.example.org" else 421)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("url", "ok"),
    [
        (Url(path="/", host="www.example.org"), True),
        (Url(path="/", host="another.example"), False),
        (Url(path="/", host="another.example", status=((421, 421),)), True),
        (Url(path="/", host="www.example.org", digest=HELLO), True),
        (Url(path="/packed", host="www.example.org", digest=HELLO), False),
        (Url(path="/", host="www.example.org", regex=Regex(expression="^hello$")), True),
    ],
)
@pytest.mark.parametrize("protocol", ["1.0", "1.0C", "1.1", "1.1C"])
def test_pythons_own_server(pages: int, url: Url, ok: bool, protocol: str) -> None:
    check = HttpCheck(target=target(pages), urls=(url,), protocol=protocol)  # type: ignore[arg-type]
    assert ask(check).ok is ok


def test_each_url_is_a_stage(pages: int) -> None:
    urls = (Url(path="/", host="www.example.org"), Url(path="/", host="another.example"))
    check = HttpCheck(target=target(pages), urls=urls)
    assert [ask(check, stage).detail for stage in (0, 1)] == ["/: 200", "/: 421"]


@pytest.mark.parametrize("path", ["/", "/packed"])
def test_the_digest_is_that_of_genhash(pages: int, path: str) -> None:
    words = ["genhash", "-s", "127.0.0.1", "-p", str(pages), "-u", path, "-V", "www.example.org"]
    digest = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    url = Url(path=path, host="www.example.org", digest=digest)
    assert ask(HttpCheck(target=target(pages), urls=(url,))) == Outcome(True, f"{path}: 200")


def one_url(port: int, timeout_ns: int = 300 * MILLISECOND) -> HttpCheck:
    return HttpCheck(target=target(port, timeout_ns=timeout_ns), urls=(Url(path="/", host="x"),))


def test_servers_that_misbehave() -> None:
    def silent(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.recv(1000)

    def pours(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    with listening(silent) as port:
        assert ask(one_url(port)) == Outcome(False, "/: connected, but no answer within 300 ms")
    with listening(pours) as port:
        assert ask(one_url(port, 5000 * MILLISECOND)).detail.startswith("/: ")
    nobody = unused_port()
    assert ask(one_url(nobody)) == Outcome(False, f"127.0.0.1:{nobody}: connection refused")
