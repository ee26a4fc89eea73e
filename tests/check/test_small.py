"""UDP, ping, programs, files and BFD; which kinds are asked over sockets, and what is loaded for them."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND
from holdfast.check.bfd import bfd_outcome
from holdfast.check.config import (
    BfdCheck,
    Check,
    FileCheck,
    GrpcCheck,
    HttpCheck,
    MiscCheck,
    PingCheck,
    Regex,
    TcpCheck,
    Tls,
    UdpCheck,
    Url,
)  # fmt: skip
from holdfast.check.conversation import NOTHING, Outcome
from holdfast.check.file import file_outcome
from holdfast.check.misc import misc_outcome
from holdfast.check.ping import PingConversation
from holdfast.check.prepare import prepare
from holdfast.check.udp import UdpConversation, parse_reply
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.loop import Loop
from holdfast.edge.scripts import RunResult, ScriptRunner
from holdfast.kernel.check_sockets import PING_GROUPS, allow_pings
from holdfast.kernel.sysctl import Sysctls
from tests.check.asking import ask, converse, datagrams, target, tools, unused_port
from tests.check.conftest import Papers

WHO = target(53)


@pytest.mark.parametrize(
    ("wanted", "length", "reply", "ok"),
    [
        ("", (0, 255), b"anything", True),
        ("", (4, 8), b"abc", False),
        ("", (4, 8), b"abcd", True),
        ("", (4, 8), b"abcdefghi", False),
        ("6162", (0, 255), b"abc", True),  # compared for the shorter of the two
        ("616263", (0, 255), b"ab", True),
        ("616263", (0, 255), b"aXc", False),
        ("61xx63", (0, 255), b"aXc", True),
        ("6x", (0, 255), b"\x6f", True),
        ("6x", (0, 255), b"\x7f", False),
    ],
)
def test_udp_replies(wanted: str, length: tuple[int, int], reply: bytes, ok: bool) -> None:
    octets, mask = parse_reply(wanted)
    check = UdpCheck(
        target=WHO, require_reply=True, reply=octets, reply_mask=mask, min_reply_length=length[0], max_reply_length=length[1]
    )
    said = UdpConversation(check, b"chance").received(reply)
    assert isinstance(said, Outcome)
    assert said.ok is ok


@pytest.mark.parametrize("digits", ["6", "6g", "é0"])
def test_a_reply_that_is_not_hexadecimal(digits: str) -> None:
    with pytest.raises(ValueError, match=r"hexadecimal|odd number"):
        parse_reply(digits)


def test_udp_over_a_socket() -> None:
    heard: list[bytes] = []

    def note(octets: bytes) -> list[bytes]:
        heard.append(octets)
        return [octets[::-1]] if octets == b"ping" else []

    with datagrams(note) as port:
        soon = target(port, timeout_ns=100 * MILLISECOND)
        assert ask(UdpCheck(target=soon)) == Outcome(True, "not refused within 100 ms")
        assert ask(UdpCheck(target=soon, require_reply=True)) == Outcome(False, "no reply within 100 ms")
        assert ask(UdpCheck(target=target(port), payload=b"ping", require_reply=True, reply=b"gnip", reply_mask=b"\xff" * 4)).ok
        assert ask(UdpCheck(target=target(port), payload=b"ping")) == Outcome(True, "replied with 4 octets")
    assert [len(octets) for octets in heard[:2]] == [16, 16]
    assert heard[0] != heard[1]
    nobody = unused_port(socket.SOCK_DGRAM)
    assert ask(UdpCheck(target=target(nobody))).detail == f"127.0.0.1:{nobody}: answered by ICMP: connection refused"


@pytest.fixture
def pings() -> Iterator[None]:
    sysctls = Sysctls()
    allow_pings(sysctls, 0)
    yield
    sysctls.restore()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "::1"])
def test_ping(address: str, pings: None) -> None:
    assert ask(PingCheck(target=target(0, address))) == Outcome(True, "echo answered")


def test_ping_without_an_answer(pings: None) -> None:
    outcome = ask(PingCheck(target=target(0, "240.0.0.1", 100 * MILLISECOND)))
    assert not outcome.ok


def test_only_our_own_echo_counts() -> None:
    ours, other = PingConversation(4, b"0123456789abcdef"), PingConversation(4, b"0123456789abcdeX")
    request = ours.begin()
    assert isinstance(request, bytes)
    reply = bytes(1) + request[1:4] + b"\x77\x77" + request[6:]
    assert other.received(reply) == NOTHING
    assert ours.received(request) == NOTHING  # a request is no reply
    assert ours.received(b"\3" + reply[1:]) == NOTHING
    assert ours.received(b"") == NOTHING
    assert ours.received(reply) == Outcome(True, "echo answered")


def test_the_group_range_of_pings_is_widened_and_put_back() -> None:
    with open(f"/proc/sys/{PING_GROUPS}") as setting:
        before = setting.read()
    with open(f"/proc/sys/{PING_GROUPS}", "w") as setting:
        setting.write("1 0")
    sysctls = Sysctls()
    refused = converse("ping", target(0), PingConversation(4, bytes(16)))
    assert "net.ipv4.ping_group_range" in refused.detail
    assert allow_pings(sysctls, 0) is True
    assert allow_pings(sysctls, 0) is False
    assert converse("ping", target(0), PingConversation(4, bytes(16))).ok
    sysctls.restore()
    with open(f"/proc/sys/{PING_GROUPS}") as setting:
        assert setting.read().split() == ["1", "0"]
    with open(f"/proc/sys/{PING_GROUPS}", "w") as setting:
        setting.write(before)


@pytest.mark.parametrize(
    ("status", "timed_out", "dynamic", "ok", "change"),
    [
        (0, False, False, True, 0), (0, False, True, True, 0), (1, False, False, False, 0), (1, False, True, False, 0),
        (2, False, False, False, 0), (2, False, True, True, -10), (12, False, True, True, 0), (255, False, True, True, 243),
        (-9, False, True, False, 0), (127, False, False, False, 0), (0, True, True, False, 0),
    ],
)  # fmt: skip
def test_programs(status: int, timed_out: bool, dynamic: bool, ok: bool, change: int) -> None:
    words = RunResult(status=status, timed_out=timed_out).outcome()
    outcome = misc_outcome(status, timed_out, dynamic, 10, words)
    assert (outcome.ok, outcome.weight_change) == (ok, change)
    assert outcome.detail.startswith(words)


@pytest.mark.parametrize(
    ("weight", "reverse", "value", "ok", "change"),
    [
        (0, False, 0, True, 0), (0, False, 3, False, 0), (2, False, 3, True, 6), (2, True, 3, True, -6),
        (-2, True, 3, True, 6), (1, False, -(2**31) + 1, True, -(2**31) + 1), (1, False, -(2**31), False, 0),
        (2**31 - 1, False, 2**31 - 1, True, 2**31 - 1), (2**31 - 1, True, 2, False, 0),
    ],
)  # fmt: skip
def test_files(weight: int, reverse: bool, value: int, ok: bool, change: int) -> None:
    outcome = file_outcome(FileCheck(track_file="load", weight=weight, reverse=reverse), value)
    assert (outcome.ok, outcome.weight_change) == (ok, change)


def test_bfd_says_what_its_session_says() -> None:
    said = [bfd_outcome(BfdCheck(name="b1"), up, "why") for up in (None, True, False)]
    assert [(one.made, one.ok, one.detail) for one in said] == [
        (False, False, "nothing is known of BFD session b1 yet"),
        (True, True, "BFD session b1 is up (why)"),
        (True, False, "BFD session b1 is down (why)"),
    ]


def test_kinds_that_ask_nobody() -> None:
    for check in (
        MiscCheck(command=Command(argv=("/bin/true",))), FileCheck(track_file="f", weight=1), BfdCheck(name="b"),
    ):  # fmt: skip
        assert prepare(check, tools()) is None


@pytest.mark.parametrize(
    "check",
    [
        HttpCheck(target=WHO, urls=(Url(path="/", host="x"),), tls=Tls(server_name="a..b")),
        HttpCheck(target=WHO, urls=(Url(path="/", host="x"),), tls=Tls(server_name="a" * 300)),
        HttpCheck(target=WHO, urls=(Url(path="/", host="x", regex=Regex(expression="(")),)),
        GrpcCheck(target=WHO, host="x", tls=Tls(server_name=".")),
    ],
)
def test_what_cannot_be_asked_is_told_before_it_is(check: Check) -> None:
    with pytest.raises(ValueError, match=r"."):
        prepare(check, tools())


def test_certificates_that_are_not_there_are_told_before(papers: Papers) -> None:
    secure = HttpCheck(target=WHO, urls=(Url(path="/", host="x"),), tls=Tls(ca="/nowhere.pem"))
    with pytest.raises(ValueError, match=r"ca /nowhere.pem: no such file"):
        prepare(secure, tools())
    assert prepare(msgspec.structs.replace(secure, tls=Tls(ca=papers.ca)), tools()) is not None


LIBRARIES = {"httptools", "h2", "dns", "ssl", "hashlib", "email", "http"}
PROBE = """
import sys
from holdfast.base.address import parse
import holdfast.{module}
{then}
print(*sys.modules, sep="\\n")
"""


@pytest.mark.parametrize(
    ("module", "then"),
    [
        ("edge.worker", ""),
        ("check.config", ""),
        ("check.machine", ""),
        ("edge.conversations", ""),
        ("check.prepare", "from holdfast.check.config import *; "
         "holdfast.check.prepare.prepare(TcpCheck(target=Target(address=parse('::1'))), None)"),
    ],
)  # fmt: skip
def test_what_needs_no_library_loads_none(module: str, then: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module, then=then)], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert loaded & LIBRARIES == set()
    if module == "edge.worker":
        assert not [name for name in ran.stdout.split() if name.startswith("holdfast.check")]
    assert isinstance(TcpCheck(target=WHO), TcpCheck)


@pytest.mark.parametrize(
    ("program", "ok", "detail"),
    [
        ("exit 0", True, "exited with status 0"),
        ("exit 3", False, "exited with status 3"),
        ("trap '' TERM; while :; do sleep 0.05; done", False, "timed out and was ended"),
        # what it leaves behind in the background neither holds the check nor its output
        ("sleep 3 & exit 0", True, "exited with status 0"),
    ],
)
def test_programs_that_hang_or_fork(program: str, ok: bool, detail: str) -> None:
    runner, loop = ScriptRunner(), Loop()
    told: list[RunResult] = []
    loop.watch(runner.fileno(), lambda: runner.on_readable(monotonic_ns()))
    command = Command(argv=("/bin/sh", "-c", program), timeout_ns=300 * MILLISECOND)
    runner.start(
        command, now=monotonic_ns(), on_finished=lambda result, now: told.append(result), kill_after_ns=100 * MILLISECOND
    )
    until = monotonic_ns() + 5_000 * MILLISECOND
    while not told and monotonic_ns() < until:
        loop.wait(min(until, runner.due_at() or until))
        runner.on_due(monotonic_ns())
    [result] = told
    outcome = misc_outcome(result.status, result.timed_out, False, 1, result.outcome())
    assert (outcome.ok, outcome.detail) == (ok, detail)
    assert result.spent_ns < 2_500 * MILLISECOND
    loop.unwatch(runner.fileno())
    runner.close()
    loop.close()
