"""TLS around a check: names, certificates good, bad and nearly over, and servers that speak no TLS or break it off."""

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.time import MILLISECOND
from holdfast.check.config import HttpCheck, HttpProtocol, Regex, Tls, Url
from holdfast.check.conversation import Outcome
from holdfast.check.http import HttpConversation, url_rules
from holdfast.check.tls import TlsConversation, not_after
from holdfast.edge.tls_contexts import TlsContexts
from tests.check.asking import ask, feed, listening, target
from tests.check.conftest import NAME, Nginx, Papers

SSL_GET = Tls()
OK = b"HTTP/1.0 200 OK\r\n\r\nfine"


def page(
    port: int, tls: Tls, path: str = "/", regex: str = "", protocol: HttpProtocol = "1.0", timeout_ms: int = 5000
) -> Outcome:
    url = Url(path=path, host=NAME, regex=Regex(expression=regex) if regex else None)
    whom = target(port, timeout_ns=timeout_ms * MILLISECOND)
    return ask(HttpCheck(target=whom, urls=(url,), tls=tls, protocol=protocol))


@contextmanager
def tls_server(chain: str, key: str, behave: Callable[[ssl.SSLSocket], None], **settings: object) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    for name, value in settings.items():
        setattr(context, name, value)

    def serve(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as inside:
            inside.recv(1000)
            behave(inside)

    with listening(serve) as port:
        yield port


def test_without_a_word_about_certificates_anyone_will_do(nginx: Nginx) -> None:
    assert page(nginx.tls, SSL_GET) == Outcome(True, "/: 200")


@pytest.mark.parametrize(("name", "told"), [("", "HTTP/1.0 www.example.org \n"), (NAME, f"HTTP/1.0 {NAME} {NAME}\n")])
def test_the_server_name_is_told_only_when_asked_for(nginx: Nginx, name: str, told: str) -> None:
    assert page(nginx.tls, Tls(server_name=name), regex=f"^{told}$").ok


@pytest.mark.parametrize("compliant", [False, True])
def test_statuses_and_large_bodies(nginx: Nginx, compliant: bool) -> None:
    tls = Tls(compliant=compliant)
    assert page(nginx.tls, tls, "/broken") == Outcome(False, "/broken: 503")
    assert page(nginx.tls, tls, "/moved").detail == "/moved: 301, redirect to 'http://elsewhere.example/': not followed"
    assert page(nginx.tls, tls, "/large") == Outcome(True, "/large: 200")
    assert page(nginx.tls, tls, "/large", regex=r"\x00{9}").ok


def test_verification(nginx: Nginx, papers: Papers) -> None:
    good = Tls(verify=True, ca=papers.ca, server_name=NAME)
    assert page(nginx.tls, good) == Outcome(True, "/: 200")
    stranger = msgspec.structs.replace(good, ca=papers.other_ca)
    assert page(nginx.tls, stranger).detail == "certificate refused: unable to get local issuer certificate"
    misnamed = msgspec.structs.replace(good, server_name="elsewhere.example")
    assert "Hostname mismatch" in page(nginx.tls, misnamed).detail
    with tls_server(papers.ended, papers.ended_key, lambda peer: peer.sendall(OK)) as port:
        assert page(port, good).detail == "certificate refused: certificate has expired"
        assert page(port, SSL_GET).ok


@pytest.mark.parametrize("verify", [False, True])
def test_a_certificate_near_its_end(papers: Papers, verify: bool) -> None:
    tls = Tls(verify=verify, ca=papers.ca, server_name=NAME, cert_min_days=4)
    with tls_server(papers.ending, papers.ending_key, lambda peer: peer.sendall(OK)) as port:
        assert page(port, tls).ok
        assert page(port, msgspec.structs.replace(tls, cert_min_days=6)) == Outcome(
            False, "its certificate ends in 5.0 days, at least 6 were asked for"
        )


def test_a_certificate_past_its_end_that_nobody_verifies(papers: Papers) -> None:
    with tls_server(papers.ended, papers.ended_key, lambda peer: peer.sendall(OK)) as port:
        assert page(port, Tls(cert_min_days=0)).detail == "its certificate ended 2.0 days ago, at least 0 were asked for"


def test_a_clients_certificate(nginx: Nginx, papers: Papers) -> None:
    known = Tls(certificate=papers.client, key=papers.client_key)
    assert page(nginx.strict, known, regex="known").ok
    assert page(nginx.strict, SSL_GET) == Outcome(False, "/: 400")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"ca": "/nowhere.pem"}, "ca /nowhere.pem: no such file or directory: give a file of PEM certificates"),
        ({"certificate": "/nowhere.pem"}, "certificate /nowhere.pem, key : no such file or directory: give PEM files"),
        ({"certificate": "/etc/hostname"}, "certificate /etc/hostname, key : pem lib: give PEM files that belong together"),
    ],
)
def test_files_that_will_not_do_are_named(broken: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        TlsContexts().context(Tls(**broken))  # type: ignore[arg-type]
    assert said in str(refused.value)


def test_a_key_under_a_password(papers: Papers, tmp_path: object) -> None:
    locked = f"{tmp_path}/locked.key"
    subprocess.run(
        ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", papers.client_key, "-out", locked],
        check=True, capture_output=True,
    )  # fmt: skip
    TlsContexts().context(Tls(certificate=papers.client, key=locked, password="secret"))
    with pytest.raises(ValueError, match="give PEM files"):
        TlsContexts().context(Tls(certificate=papers.client, key=locked, password="wrong"))
    with pytest.raises(ValueError, match="give PEM files"):
        TlsContexts().context(Tls(certificate=papers.client, key=locked))


def test_equal_settings_share_a_context(papers: Papers) -> None:
    contexts = TlsContexts()
    one = contexts.context(Tls(ca=papers.ca, server_name="a"))
    assert contexts.context(Tls(ca=papers.ca, server_name="b", cert_min_days=3)) is one
    assert contexts.context(Tls(ca=papers.ca), "h2") is not one


def test_servers_that_speak_no_tls(nginx: Nginx) -> None:
    assert page(nginx.plain, SSL_GET).detail.endswith(": what came is no TLS")
    with listening(lambda peer: peer.sendall(b"220 mail.example.org ESMTP\r\n" * 9)) as port:
        assert page(port, SSL_GET).detail.endswith(": what came is no TLS")


def test_a_silent_server_and_one_that_closes() -> None:
    def silent(peer: socket.socket) -> None:
        while peer.recv(10000):
            pass

    with listening(silent) as port:
        assert page(port, SSL_GET, timeout_ms=200) == Outcome(False, "no TLS handshake within 200 ms")
    def closing(peer: socket.socket) -> None:
        peer.recv(10000)

    with listening(closing) as port:
        assert page(port, SSL_GET) == Outcome(False, "closed during the TLS handshake")


def test_the_streams_end_with_and_without_a_farewell(papers: Papers) -> None:
    def rude(peer: ssl.SSLSocket) -> None:
        peer.sendall(OK)
        socket.socket(fileno=peer.detach()).close()

    def polite(peer: ssl.SSLSocket) -> None:
        peer.sendall(OK)
        peer.unwrap()

    for behave in (rude, polite):
        with tls_server(papers.server, papers.server_key, behave) as port:
            assert page(port, SSL_GET) == Outcome(True, "/: 200")


def test_no_protocol_in_common(papers: Papers) -> None:
    settings = {"maximum_version": ssl.TLSVersion.TLSv1_2, "minimum_version": ssl.TLSVersion.TLSv1_2}
    with tls_server(papers.server, papers.server_key, lambda peer: peer.sendall(OK), **settings) as port:
        assert page(port, SSL_GET).ok


def conversation() -> TlsConversation:
    inner = HttpConversation(url_rules(Url(path="/", host=NAME), "1.0"))
    return TlsConversation(inner, TlsContexts().context(SSL_GET), SSL_GET, time.time())


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5), st.sampled_from([b"", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c"]))
def test_whatever_comes_is_answered(pieces: list[bytes], begin: bytes) -> None:
    said = feed(conversation(), *([begin] if begin else []), *pieces)
    assert isinstance(said, Outcome)
    assert not said.ok


def der(path: str) -> bytes:
    with open(path) as chain:
        return ssl.PEM_cert_to_DER_cert(chain.read().split("-----END")[0] + "-----END CERTIFICATE-----\n")


def test_the_end_of_a_certificate_is_read(papers: Papers) -> None:
    for path, days in ((papers.server, 90), (papers.ending, 5), (papers.ended, -2)):
        assert abs(not_after(der(path)) - time.time() - days * 86400) < 3600


@pytest.mark.parametrize("count", range(0, 200, 7))
def test_a_cut_certificate_is_none(papers: Papers, count: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        not_after(der(papers.server)[:count])


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_octets_that_are_no_certificate(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        not_after(b"\x30" + octets)


@pytest.mark.parametrize(
    ("tag", "written", "seconds"),
    [(0x17, b"491231235959Z", 2524607999), (0x17, b"500101000000Z", -631152000), (0x18, b"20500101000000Z", 2524608000),
     (0x17, b"700101000000Z", 0)],
)  # fmt: skip
def test_the_two_notations_of_time(tag: int, written: bytes, seconds: int) -> None:
    def element(tag: int, contents: bytes) -> bytes:
        return bytes((tag, len(contents))) + contents

    validity = element(0x30, element(0x17, b"700101000000Z") + element(tag, written))
    tbs = element(0x30, element(2, b"1") + element(0x30, b"") + element(0x30, b"") + validity)
    assert not_after(element(0x30, tbs)) == seconds
