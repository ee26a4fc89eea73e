"""Checkers to checks: every default settled at the level where it is said, equal ones once, faulty ones told."""

from pathlib import Path
from typing import Any

import pytest

from holdfast.base.address import parse
from holdfast.base.time import SECOND
from holdfast.check.config import (
    Check,
    DnsCheck,
    GrpcCheck,
    HttpCheck,
    MiscCheck,
    Pace,
    PingCheck,
    Regex,
    SmtpCheck,
    Target,
    TcpCheck,
    Tls,
    UdpCheck,
    Url,
)
from holdfast.config.build_checks import CheckTable
from holdfast.config.context import Context, last_values
from holdfast.config.findings import Findings
from holdfast.config.preprocess import Preprocessor
from holdfast.config.tree import read_tree
from tests.config.golden import PlainDisk

SERVER = parse("10.0.0.1")


def read(folder: Path, inside: str, outer: str = "", before: str = "", port: int = 80) -> tuple[list[Any], list[str]]:
    """The checks of one real server, as (number, alpha, check), and what was told."""
    text = f"{before}\nvirtual_server 192.0.2.1 80 {{\nprotocol TCP\n{outer}\nreal_server 10.0.0.1 80 {{\n{inside}\n}}\n}}\n"
    path = folder / "keepalived.conf"
    path.write_text(text)
    findings = Findings()
    disk = PlainDisk()
    preprocessor = Preprocessor(disk, "here", findings)
    assert preprocessor.read(str(path))
    nodes = read_tree(preprocessor.result, findings)
    context = Context(disk, findings, None, str(path))
    settings = {
        name: node
        for one in nodes
        if one.name == "global_defs"
        for name, node in last_values(one.children or []).items()
    }
    tls = next((node for node in nodes if node.name == "SSL"), None)
    table = CheckTable(context, settings, tls)
    service = next(node for node in nodes if node.name == "virtual_server")
    server = next(node for node in service.children or [] if node.name == "real_server")
    found = list(table.read(service, server, SERVER, port))
    told = [finding.trouble.what for finding in findings.all]
    return [(number, alpha, table.checks[number]) for number, alpha in found], told


def target(**more: Any) -> Target:
    return Target(**{"address": SERVER, "port": 80, **more})


KINDS: dict[str, tuple[str, Check]] = {
    "tcp": ("TCP_CHECK {\n}", TcpCheck(pace=Pace(), target=target())),
    "tcp elsewhere": (
        "TCP_CHECK {\nconnect_ip 10.0.0.9\nconnect_port 8080\nbindto 10.0.0.5\nbind_port 99\nfwmark 7\nconnect_timeout 2\n}",
        TcpCheck(
            pace=Pace(),
            target=target(
                address=parse("10.0.0.9"), port=8080, bind_address=parse("10.0.0.5"), bind_port=99, fwmark=7,
                timeout_ns=2 * SECOND,
            ),
        ),
    ),
    "ping": ("PING_CHECK {\n}", PingCheck(pace=Pace(), target=target(port=0))),
    "smtp": ("SMTP_CHECK {\nhelo_name me.example\n}", SmtpCheck(pace=Pace(), target=target(), helo_name="me.example")),
    "dns": (
        "DNS_CHECK {\ntype A\nname example.org\n}",
        DnsCheck(
            pace=Pace(retry=3, delay_before_retry_ns=60 * SECOND), target=target(), type="A", name="example.org"
        ),
    ),
    "udp": (
        "UDP_CHECK {\npayload 0aFF\nrequire_reply 4xxx\nmin_reply_length 2\n}",
        UdpCheck(
            pace=Pace(), target=target(), payload=b"\x0a\xff", require_reply=True, reply=b"\x40\0",
            reply_mask=b"\xf0\0", min_reply_length=2,
        ),
    ),
    "http": (
        'HTTP_GET {\nurl {\npath /a\nstatus_code 200-204 301\n}\nurl {\npath /b\nvirtualhost b.example\n'
        'regex "ok"\nregex_no_match\nregex_options caseless\nregex_max_offset 9\n}\n}',
        HttpCheck(
            pace=Pace(delay_before_retry_ns=3 * SECOND),
            target=target(),
            urls=(
                Url(path="/a", host="10.0.0.1:80", status=((200, 204), (301, 301))),
                Url(
                    path="/b", host="b.example",
                    regex=Regex(expression="ok", options=("caseless",), no_match=True, max_offset=9),
                ),
            ),
        ),
    ),
    "https": (
        "SSL_GET {\nenable_sni\nvirtualhost web.example\nurl {\npath /\ntls_compliant\n}\n}",
        HttpCheck(
            pace=Pace(delay_before_retry_ns=3 * SECOND),
            target=target(),
            urls=(Url(path="/", host="web.example", server_name="web.example"),),
            tls=Tls(compliant=True),
        ),
    ),
    "https with several names": (
        "SSL_GET {\nenable_sni\nurl {\npath /\n}\nurl {\npath /\nvirtualhost b.example\n}\n}",
        HttpCheck(
            pace=Pace(delay_before_retry_ns=3 * SECOND),
            target=target(),
            urls=(Url(path="/", host="10.0.0.1:80"), Url(path="/", host="b.example", server_name="b.example")),
            tls=Tls(),
        ),
    ),
    "http2, verified": (
        "SSL_GET {\nsni_name s.example\nhttp_protocol 2\nverify_certificate\ncert_min_days 14\nurl {\npath /\n}\n}",
        HttpCheck(
            pace=Pace(delay_before_retry_ns=3 * SECOND),
            target=target(),
            urls=(Url(path="/", host="10.0.0.1:80"),),
            protocol="2",
            tls=Tls(server_name="s.example", verify=True, cert_min_days=14),
        ),
    ),
    "grpc": ("GRPC_CHECK {\nservice shop\n}", GrpcCheck(target=target(), host="10.0.0.1:80", service="shop")),
    "grpc in TLS": (
        "virtualhost g.example\nGRPC_CHECK {\ntls\nenable_sni\n}",
        GrpcCheck(target=target(), host="g.example", tls=Tls(server_name="g.example")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_checker_comes_to(tmp_path: Path, kind: str) -> None:
    inside, wanted = KINDS[kind]
    found, _ = read(tmp_path, inside)
    assert found == [(0, False, wanted)]


def test_the_nearest_level_that_speaks_is_heard(tmp_path: Path) -> None:
    outer = (
        "delay_loop 10\nretry 5\ndelay_before_retry 2\nwarmup 4\nconnect_timeout 9\nalpha\nvirtualhost outer.example"
    )
    found, _ = read(tmp_path, "retry 7\nconnect_timeout 8\nHTTP_GET {\nretry 0\nwarmup 0\nurl {\npath /\n}\n}", outer)
    (number, alpha, check), *_ = found
    assert (number, alpha, len(found)) == (0, True, 1)
    assert check.pace == Pace(
        delay_loop_ns=10 * SECOND, retry=0, delay_before_retry_ns=2 * SECOND, warmup_ns=0, alpha=True
    )
    assert check.target.timeout_ns == 8 * SECOND
    assert check.urls[0].host == "outer.example"
    off, _ = read(tmp_path, "alpha off\nTCP_CHECK {\n}", outer)
    assert off[0][1] is False


def test_equal_checks_are_one(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "TCP_CHECK {\n}\nTCP_CHECK {\n}\nTCP_CHECK {\nconnect_port 81\n}")
    assert [number for number, _, _ in found] == [0, 0, 1]


def test_hosts_of_an_old_smtp_check_are_checks_of_their_own(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "SMTP_CHECK {\nhost {\nconnect_ip 10.0.0.7\n}\nhost {\nconnect_port 26\n}\n}")
    assert [(check.target.address, check.target.port) for _, _, check in found] == [
        (parse("10.0.0.7"), 80), (SERVER, 26),
    ]  # fmt: skip


def test_a_program(tmp_path: Path) -> None:
    found, _ = read(
        tmp_path, "MISC_CHECK {\nmisc_path /usr/bin/true\nmisc_dynamic\nmisc_timeout 3\nuser root\n}", "delay_loop 9"
    )
    ((_, _, check),) = found
    assert isinstance(check, MiscCheck)
    assert (check.command.argv, check.command.timeout_ns, check.dynamic) == (("/usr/bin/true",), 3 * SECOND, True)
    assert check.pace == Pace(delay_loop_ns=9 * SECOND, retry=0, warmup_ns=9 * SECOND)
    plain, _ = read(tmp_path, "MISC_CHECK {\nmisc_path /usr/bin/true\n}", "delay_loop 9")
    assert plain[0][2].command.timeout_ns == 9 * SECOND


def test_the_tls_material_and_the_global_word(tmp_path: Path) -> None:
    before = (
        "global_defs {\nchecker_log_all_failures\n}\nSSL {\nca /etc/ca.pem\ncertificate /etc/c.pem\nkey /etc/k.pem\n}"
    )
    found, _ = read(tmp_path, "SSL_GET {\nurl {\npath /\n}\n}", before=before)
    assert found[0][2].tls == Tls(ca="/etc/ca.pem", certificate="/etc/c.pem", key="/etc/k.pem")
    assert found[0][2].pace.log_all_failures is True


@pytest.mark.parametrize(
    ("inside", "port", "wanted"),
    [
        ("TCP_CHECK {\n}", 0, "TCP_CHECK has no port to ask"),
        ("HTTP_GET {\n}", 80, "HTTP_GET asks for no url"),
        ("HTTP_GET {\nurl {\nstatus_code 200\n}\n}", 80, "a url without a path"),
        ("MISC_CHECK {\n}", 80, "MISC_CHECK names no program"),
        ("TCP_CHECK {\nbindto 2001:db8::1\n}", 80, "bindto is of another family"),
        ("TCP_CHECK {\nconnect_ip fe80::1\n}", 80, "fe80::1 is link-local, it needs a device"),
        ("UDP_CHECK {\nmin_reply_length 9\nmax_reply_length 8\n}", 80, "min_reply_length 9 is above"),
        ("FILE_CHECK {\n}", 80, "FILE_CHECK names no track_file"),
        ("BFD_CHECK {\n}", 80, "BFD_CHECK names no bfd_instance"),
    ],
)
def test_a_checker_that_cannot_be_made_is_told_and_left_out(
    tmp_path: Path, inside: str, port: int, wanted: str
) -> None:
    found, told = read(tmp_path, inside, port=port)
    assert found == []
    assert any(one.startswith(wanted) for one in told), told
