"""Advert sockets over a cable between two namespaces."""

import ctypes
import os
import select
import socket
import sys

import pytest

from holdfast.base.address import Address, parse
from holdfast.kernel.advert_sockets import destination, leave_by, open_receiver, open_sender
from holdfast.kernel.batches import ReceiveBatch, SendBatch
from holdfast.kernel.errors import KernelRefused
from tests.kernel.adverts import GROUP_4, GROUP_6, SOURCE_6, message, packet
from tests.kernel.namespaces import Namespace, index_of, ip


def take(listening: socket.socket, count: int = 1) -> tuple[ReceiveBatch, int]:
    """At least `count` packets, or as many as come within 5 s."""
    arriving = ReceiveBatch(listening.fileno(), 64, 1500)
    got = 0
    while got < count and select.select([listening], [], [], 5)[0]:
        got += arriving.receive()
    return arriving, got


def test_ipv4_adverts_cross_and_do_not_come_back(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        index = index_of("va")
        sending = open_sender(socket.AF_INET, "va", index)
        own = open_receiver(socket.AF_INET, "va", index, (GROUP_4,))
    with other.entered():
        listening = open_receiver(socket.AF_INET, "vb", index_of("vb"), (GROUP_4,))
    octets = packet(message())
    batch = SendBatch(sending.fileno(), [(octets, destination(GROUP_4), b"")] * 3)
    assert batch.send() == 3
    arriving, got = take(listening, 3)
    assert got == 3
    heard = bytes(arriving.payload(0))
    assert (heard[:4], heard[8:10], heard[12:]) == (octets[:4], octets[8:10], octets[12:])
    assert (heard[8], heard[1]) == (255, 0xC0)
    assert arriving.source(0) == parse("192.0.2.1")
    assert ReceiveBatch(own.fileno(), 1, 64).receive() == 0
    assert "224.0.0.18" in _groups(other, "vb")


def _groups(place: Namespace, name: str) -> str:
    with place.entered():
        return ip("maddress", "show", "dev", name)


def test_one_socket_serves_every_interface(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        ip("link", "add", "elsewhere", "type", "veth", "peer", "name", "unused")
        ip("link", "set", "elsewhere", "up")
        sending, sending6 = open_sender(socket.AF_INET), open_sender(socket.AF_INET6)
        index = index_of("va")
    with other.entered():
        listening = open_receiver(socket.AF_INET, "vb", index_of("vb"), (GROUP_4,))
        listening6 = open_receiver(socket.AF_INET6, "vb", index_of("vb"), (GROUP_6,))
    batch = SendBatch(sending.fileno(), [(packet(message()), destination(GROUP_4), leave_by(socket.AF_INET, index))])
    assert (batch.send(), list(batch.errors)) == (1, [])
    assert take(listening)[1] == 1
    control = leave_by(socket.AF_INET6, index, SOURCE_6, hop_limit=255)
    batch = SendBatch(sending6.fileno(), [(message(vip=SOURCE_6), destination(GROUP_6, index), control)])
    assert (batch.send(), list(batch.errors)) == (1, [])
    assert take(listening6)[1] == 1


def test_ipv6_adverts_cross_with_the_kernels_checksum(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        index = index_of("va")
        sending = open_sender(socket.AF_INET6, "va", index)
        own = open_receiver(socket.AF_INET6, "va", index, (GROUP_6,))
    with other.entered():
        listening = open_receiver(socket.AF_INET6, "vb", index_of("vb"), (GROUP_6,))
    octets = message(vip=parse("fe80::10"))
    SendBatch(sending.fileno(), [(octets, destination(GROUP_6, index), b"")]).send()
    arriving, got = take(listening)
    assert got == 1
    heard = bytes(arriving.payload(0))
    assert (heard[:6], heard[8:]) == (octets[:6], octets[8:])
    assert heard[6:8].hex() == "6db7"  # by hand: fe80::1, ff02::12, 24 octets, 112 and the message add up to 9248
    assert (arriving.hop_limit(0), arriving.source(0)) == (255, SOURCE_6)
    told = arriving.arrival(0)
    assert told is not None
    assert told[1] == GROUP_6
    assert ReceiveBatch(own.fileno(), 1, 64).receive() == 0


def test_an_ipv6_advert_with_a_wrong_checksum_is_dropped_by_the_kernel(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        index = index_of("va")
        sending = open_sender(socket.AF_INET6, "va", index)
        sending.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, -1)  # as written
    with other.entered():
        listening = open_receiver(socket.AF_INET6, "vb", index_of("vb"), (GROUP_6,))
    wrong = bytearray(message(vip=parse("fe80::10")))
    wrong[6:8] = bytes.fromhex("6db8")
    right = wrong[:6] + bytes.fromhex("6db7") + wrong[8:]
    to = destination(GROUP_6, index)
    SendBatch(sending.fileno(), [(bytes(wrong), to, b""), (bytes(right), to, b"")]).send()
    arriving, got = take(listening)
    assert (got, bytes(arriving.payload(0))) == (1, bytes(right))


@pytest.mark.parametrize(("hops", "expected"), [(None, 64), (255, 255), (3, 3)])
def test_unicast_hop_limit(pair: tuple[Namespace, Namespace], hops: int | None, expected: int) -> None:
    one, other = pair
    with one.entered():
        index = index_of("va")
        sending = open_sender(socket.AF_INET6, "va", index, unicast_hops=hops)
    with other.entered():
        listening = open_receiver(socket.AF_INET6, "vb", index_of("vb"), ())
    SendBatch(sending.fileno(), [(message(vip=SOURCE_6), destination(parse("fe80::2"), index), b"")]).send()
    arriving, got = take(listening)
    assert (got, arriving.hop_limit(0)) == (1, expected)


def test_unicast_without_an_interface(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        sending = open_sender(socket.AF_INET)
    with other.entered():
        listening = open_receiver(socket.AF_INET, "", 0, ())
        index = index_of("vb")
    octets = packet(message(), to=parse("192.0.2.2"), ttl=64)
    SendBatch(sending.fileno(), [(octets, destination(parse("192.0.2.2")), b"")]).send()
    arriving, got = take(listening)
    assert (got, arriving.arrival(0)) == (1, (index, parse("192.0.2.2")))
    assert arriving.payload(0)[8] == 64


def test_another_group_is_not_heard(pair: tuple[Namespace, Namespace]) -> None:
    """A group some other program joined is not ours; an IPv6 raw socket hears it, and says where it went."""
    one, other = pair
    foreign, foreign6 = Address(bytes((224, 0, 0, 181))), parse("ff02::181")
    with other.entered():
        index = hearing_index = index_of("vb")
        listening = open_receiver(socket.AF_INET, "vb", index, (GROUP_4,))
        listening6 = open_receiver(socket.AF_INET6, "vb", index, (GROUP_6,))
        others = [
            open_receiver(socket.AF_INET, "vb", index, (foreign,)),
            open_receiver(socket.AF_INET6, "vb", index, (foreign6,)),
        ]
    with one.entered():
        index = index_of("va")
        sending, sending6 = open_sender(socket.AF_INET, "va", index), open_sender(socket.AF_INET6, "va", index)
    SendBatch(sending.fileno(), [(packet(message(), to=foreign), destination(foreign), b"")]).send()
    SendBatch(sending6.fileno(), [(message(vip=SOURCE_6), destination(foreign6, index), b"")]).send()
    assert [take(one)[1] for one in others] == [1, 1]
    assert ReceiveBatch(listening.fileno(), 1, 64).receive() == 0
    arriving, got = take(listening6)
    assert (got, arriving.arrival(0)) == (1, (hearing_index, foreign6))


def test_traffic_class_priority_and_buffer(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        index = index_of("va")
        sending = open_sender(socket.AF_INET6, "va", index)
    with other.entered():
        seeing = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86DD))
        seeing.settimeout(5)
        listening = open_receiver(socket.AF_INET6, "vb", index_of("vb"), (GROUP_6,), buffer_bytes=3_000_000)
    SendBatch(sending.fileno(), [(message(vip=SOURCE_6), destination(GROUP_6, index), b"")]).send()
    header = seeing.recv(100)
    while header[6] != 112:  # a multicast listener report may come first
        header = seeing.recv(100)
    assert header[:2].hex()[:3] == "6c0"  # traffic class 0xc0; a flow label of the kernel's follows
    assert header[4:8].hex() == "001870ff"  # 24 octets, protocol 112, hop limit 255
    assert sending.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 6
    assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 6_000_000  # the kernel doubles it


def test_refusals_name_the_cure(alone: Namespace) -> None:
    with pytest.raises(
        KernelRefused, match="cannot bind a raw socket to the interface on nosuch: no such device; the interface"
    ):
        open_receiver(socket.AF_INET, "nosuch", 9, (GROUP_4,))
    with pytest.raises(
        KernelRefused, match=r"cannot join 224\.0\.0\.18 on d0: no such device; the interface does not exist"
    ):
        open_receiver(socket.AF_INET, "d0", 4242, (GROUP_4,))


def test_without_privilege_it_says_what_to_grant() -> None:
    child = os.fork()
    if child == 0:  # a child drops its privileges, ours stay
        status = 1
        try:
            ctypes.CDLL(None).setresuid(65534, 65534, 65534)
            open_sender(socket.AF_INET)
        except KernelRefused as refused:
            status = 0 if "operation not permitted; grant CAP_NET_RAW" in str(refused) else 2
        finally:
            sys.stdout.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
