"""The advert filter on real sockets: what it absorbs, what it lets through, and that nobody is woken."""

import ctypes
import os
import socket
import time
from collections.abc import Iterator

import pytest

from holdfast.base.address import Address, parse
from holdfast.kernel import bpf
from holdfast.kernel.advert_sockets import destination, leave_by, open_receiver, open_sender
from holdfast.kernel.batches import ReceiveBatch, SendBatch
from holdfast.kernel.bpf import AdvertFilter, AdvertFilterUnavailable
from tests.kernel.adverts import GROUP_4, GROUP_6, SOURCE_4, SOURCE_6, message, packet
from tests.kernel.namespaces import Namespace, index_of, ip

VIP_6 = parse("fe80::10")


class Ends:
    """Senders at va, filtered receivers at vb."""

    def __init__(self, one: Namespace, other: Namespace) -> None:
        with one.entered():
            ip("address", "add", "192.0.2.77/24", "dev", "va")
            ip("address", "add", "fe80::77/64", "dev", "va", "nodad")
            self.index = index_of("va")
            self.sender_4 = open_sender(socket.AF_INET, "va", self.index)
            self.sender_6 = open_sender(socket.AF_INET6, "va", self.index)
        with other.entered():
            self.receiver_4 = open_receiver(socket.AF_INET, "vb", index_of("vb"), (GROUP_4,))
            self.receiver_6 = open_receiver(socket.AF_INET6, "vb", index_of("vb"), (GROUP_6,))
        self.filter_4 = AdvertFilter.attach(self.receiver_4, socket.AF_INET)
        self.filter_6 = AdvertFilter.attach(self.receiver_6, socket.AF_INET6)

    def send_4(self, octets: bytes, times: int = 1) -> int:
        """Send an IPv4 packet; how many the receiver got delivered."""
        batch = SendBatch(self.sender_4.fileno(), [(octets, destination(GROUP_4), b"")] * times)
        assert batch.send() == times
        return drained(self.receiver_4)

    def send_6(self, octets: bytes, source: Address = SOURCE_6, hop_limit: int = 255, times: int = 1) -> int:
        """Send an IPv6 message; how many the receiver got delivered."""
        control = leave_by(socket.AF_INET6, self.index, source, hop_limit)
        batch = SendBatch(self.sender_6.fileno(), [(octets, destination(GROUP_6, self.index), control)] * times)
        assert batch.send() == times
        return drained(self.receiver_6)


def drained(listening: socket.socket) -> int:
    """How many packets were waiting: a veth delivers while it sends, or within a moment on the other CPU."""
    arriving, got, until = ReceiveBatch(listening.fileno(), 64, 200), 0, time.monotonic() + 0.05
    while time.monotonic() < until:
        got += arriving.receive()
    return got


@pytest.fixture
def ends(pair: tuple[Namespace, Namespace]) -> Iterator[Ends]:
    made = Ends(*pair)
    yield made
    for one in (made.sender_4, made.sender_6, made.receiver_4, made.receiver_6):
        one.close()
    made.filter_4.close()
    made.filter_6.close()


ROUTINE_4 = packet(message())
ROUTINE_6 = message(vip=VIP_6)


def head_6(ends: Ends) -> bytes:
    """The routine IPv6 advert's first eight octets as they arrive: the kernel has put in the checksum."""
    control = leave_by(socket.AF_INET6, ends.index, SOURCE_6)
    SendBatch(ends.sender_6.fileno(), [(ROUTINE_6, destination(GROUP_6, ends.index), control)]).send()
    arriving, until = ReceiveBatch(ends.receiver_6.fileno(), 1, 200), time.monotonic() + 5
    while not arriving.receive():
        assert time.monotonic() < until
    return bytes(arriving.payload(0)[:8])


def watch_4(ends: Ends) -> None:
    ends.filter_4.watch(51, SOURCE_4, GROUP_4, 32, ROUTINE_4[20:28])


def watch_6(ends: Ends) -> None:
    ends.filter_6.watch(51, SOURCE_6, GROUP_6, 24, head_6(ends))


def test_nothing_is_absorbed_before_it_is_watched(ends: Ends) -> None:
    assert (ends.send_4(ROUTINE_4), ends.send_6(ROUTINE_6)) == (1, 1)
    assert (ends.filter_4.heard(51), ends.filter_6.heard(51)) == ((0, 0), (0, 0))


def test_ten_thousand_routine_adverts_wake_nobody(ends: Ends) -> None:
    watch_4(ends)
    watch_6(ends)
    before = time.monotonic_ns()
    delivered = [ends.send_4(ROUTINE_4, times=100) + ends.send_6(ROUTINE_6, times=100) for _ in range(2)]
    batch = SendBatch(ends.sender_4.fileno(), [(ROUTINE_4, destination(GROUP_4), b"")] * 200)
    for _ in range(49):
        batch.send()
    delivered.append(drained(ends.receiver_4))
    after = time.monotonic_ns()
    assert delivered == [0, 0, 0]
    heard_4, count_4 = ends.filter_4.heard(51)
    heard_6, count_6 = ends.filter_6.heard(51)
    assert (count_4, count_6) == (10_000, 200)
    assert before < heard_4 < after
    assert before < heard_6 < after


@pytest.mark.parametrize(
    ("what", "octets"),
    [
        ("priority 0", packet(message(priority=0))),
        ("another priority", packet(message(priority=101))),
        ("another VRID", packet(message(vrid=52))),
        ("another interval", packet(message(interval_cs=101))),
        ("another address", packet(message(vip=parse("192.0.2.11")))),
        ("another source", packet(message(), source=parse("192.0.2.77"))),
        ("TTL 254", packet(message(), ttl=254)),
        ("a longer one", packet(message() + bytes(4))),
        ("a shorter one", packet(message()[:8])),
        ("another checksum", ROUTINE_4[:26] + b"\x12\x34" + ROUTINE_4[28:]),
        ("no message at all", packet(b"")),
        ("seven octets", packet(message()[:7])),
    ],
)
def test_ipv4_anything_else_is_delivered(ends: Ends, what: str, octets: bytes) -> None:
    watch_4(ends)
    assert (ends.send_4(octets), ends.send_4(ROUTINE_4)) == (1, 0), what
    assert ends.filter_4.heard(51)[1] == 1


@pytest.mark.parametrize(
    ("what", "octets", "source", "hop_limit"),
    [
        ("priority 0", message(priority=0, vip=VIP_6), SOURCE_6, 255),
        ("another priority", message(priority=101, vip=VIP_6), SOURCE_6, 255),
        ("another VRID", message(vrid=52, vip=VIP_6), SOURCE_6, 255),
        ("another address", message(vip=parse("fe80::11")), SOURCE_6, 255),
        ("another source", ROUTINE_6, parse("fe80::77"), 255),
        ("hop limit 254", ROUTINE_6, SOURCE_6, 254),
        ("a longer one", ROUTINE_6 + bytes(16), SOURCE_6, 255),
    ],
)
def test_ipv6_anything_else_is_delivered(ends: Ends, what: str, octets: bytes, source: Address, hop_limit: int) -> None:
    watch_6(ends)
    assert (ends.send_6(octets, source, hop_limit), ends.send_6(ROUTINE_6)) == (1, 0), what
    assert ends.filter_6.heard(51)[1] == 1


def test_a_unicast_copy_is_delivered(ends: Ends) -> None:
    watch_4(ends)
    to = parse("192.0.2.2")
    SendBatch(ends.sender_4.fileno(), [(packet(message(), to=to), destination(to), b"")]).send()
    assert drained(ends.receiver_4) == 1


def test_it_changes_while_packets_come(ends: Ends) -> None:
    watch_4(ends)
    other = packet(message(priority=150))
    assert (ends.send_4(ROUTINE_4), ends.send_4(other)) == (0, 1)
    ends.filter_4.watch(51, SOURCE_4, GROUP_4, 32, other[20:28])
    assert ends.filter_4.heard(51) == (0, 0)
    assert (ends.send_4(ROUTINE_4), ends.send_4(other)) == (1, 0)
    ends.filter_4.unwatch(51)
    assert not ends.filter_4.watching(51)
    assert (ends.send_4(ROUTINE_4), ends.send_4(other)) == (1, 1)
    assert ends.filter_4.heard(51)[1] == 1


def test_each_vrid_has_its_own_entry(ends: Ends) -> None:
    for vrid in (1, 51, 255):
        ends.filter_4.watch(vrid, SOURCE_4, GROUP_4, 32, message(vrid=vrid)[:8])
    assert [ends.send_4(packet(message(vrid=vrid))) for vrid in (1, 51, 255, 2)] == [0, 0, 0, 1]
    assert [ends.filter_4.heard(vrid)[1] for vrid in (1, 51, 255, 2)] == [1, 1, 1, 0]


def test_closing_it_lets_everything_through(pair: tuple[Namespace, Namespace]) -> None:
    ends = Ends(*pair)
    watch_4(ends)
    ends.filter_4.close()
    assert ends.send_4(ROUTINE_4) == 1


def test_the_programs_stay_small() -> None:
    assert len(bpf.advert_program(socket.AF_INET, 3)) // 8 == 41
    assert len(bpf.advert_program(socket.AF_INET6, 3)) // 8 == 58


def test_without_privilege_it_says_why() -> None:
    listening = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
    child = os.fork()
    if child == 0:  # a child drops its privileges, ours stay
        status = 1
        try:
            ctypes.CDLL(None).setresuid(65534, 65534, 65534)
            AdvertFilter.attach(listening, socket.AF_INET)
        except AdvertFilterUnavailable as refused:
            status = 0 if "operation not permitted; grant CAP_BPF" in str(refused) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    listening.close()
