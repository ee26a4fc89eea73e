"""The passive socket: what passes its filter, what it sees of its own host, and that nothing leaves because of it."""

import select
import socket
import time
from pathlib import Path

import pytest

from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.frames import PacketSender
from holdfast.kernel.packet_listener import PacketListener
from tests.decode.vectors import cases, records
from tests.kernel.namespaces import Namespace, index_of, ip

FRAMES = {packet["kind"]: records(name)[packet["frame"] - 1].octets for name, packet in cases()}
V4, V6 = records("ka227_v2_mcast_noauth")[0].octets, records("ka227_v2_ipv6")[0].octets


def changed(octets: bytes, *changes: tuple[int, int]) -> bytes:
    copy = bytearray(octets)
    for position, value in changes:
        copy[position] = value
    return bytes(copy)


def with_options(octets: bytes) -> bytes:
    """The same packet with 8 octets of IP options."""
    return octets[:14] + bytes((0x47,)) + octets[15:34] + bytes(8) + octets[34:]


AH = next(record.octets for record in records("ka227_v2_mcast_auth_ah") if record.octets[23] == 51)
BFD = next(record.octets for record in records("frr_bfd_ipv4") if record.octets[23] == 17)
BFD_6 = next(record.octets for record in records("frr_bfd_ipv6") if record.octets[20] == 17)
PASSED = {
    "vrrp": V4,
    "vrrp ipv6": V6,
    "ah": AH,
    "carp": FRAMES["carp"],
    "bfd": BFD,
    "bfd ipv6": BFD_6,
    "bfd multihop": changed(BFD, (36, 4784 >> 8), (37, 4784 & 255)),
    "bfd multihop ipv6": changed(BFD_6, (56, 4784 >> 8), (57, 4784 & 255)),
    "bfd with options": with_options(BFD),
}
DROPPED = {
    "arp": FRAMES["garp"],
    "na": FRAMES["na"],
    "tcp": changed(V4, (23, 6)),
    "udp": changed(BFD, (37, 53)),
    "udp ipv6": changed(BFD_6, (57, 53)),
    "esp ipv6": changed(V6, (20, 50)),
    "another ethertype": changed(V4, (12, 0x88), (13, 0xCC)),
    "short": V4[:20],
}


def heard_of(listener: PacketListener, seconds: float = 2) -> list[bytes]:
    select.select([listener], [], [], seconds)
    return [octets for _, octets in listener.receive()]


def test_the_filter(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        listener = PacketListener("va")
    with other.entered():
        sender = PacketSender(index_of("vb"))
        for octets in (*DROPPED.values(), *PASSED.values()):
            assert sender.send_one(octets) == 0
    got: list[bytes] = []
    while len(got) < len(PASSED) and (more := heard_of(listener)):
        got += more
    names = {octets: name for name, octets in (PASSED | DROPPED).items()}
    assert [names.get(octets, octets.hex()) for octets in got] == list(PASSED)
    assert listener.lost() == 0
    sender.close()
    listener.close()


def test_the_vlan_tag_that_the_kernel_took_out_is_put_back(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with one.entered():
        listener = PacketListener("va")
    tagged = V4[:12] + b"\x81\x00\x00\x07" + V4[12:]
    with other.entered():
        sender, itself = PacketSender(index_of("vb")), PacketListener("vb")
        assert sender.send_one(tagged) == 0
    assert heard_of(listener) == [tagged]
    assert heard_of(itself) == [tagged]
    sender.close()
    itself.close()
    listener.close()


def test_it_hears_what_its_own_host_sends_and_when(alone: Namespace) -> None:
    listener, sender = PacketListener("d0"), PacketSender(index_of("d0"))
    before = time.time_ns()
    sender.send_one(V4)
    select.select([listener], [], [], 2)
    [(at, octets)] = listener.receive()
    assert (octets, before <= at <= time.time_ns()) == (V4, True)
    sender.close()
    listener.close()


def test_on_the_loopback_interface_each_frame_is_there_once(alone: Namespace) -> None:
    listener, sender = PacketListener("lo"), PacketSender(index_of("lo"))
    sender.send_one(V4)
    assert heard_of(listener) == [V4]
    assert heard_of(listener, 0.05) == []
    sender.close()
    listener.close()


def test_a_tunnel_has_no_ethernet(alone: Namespace) -> None:
    ip("tuntap", "add", "dev", "t0", "mode", "tun")
    ip("link", "set", "t0", "up")
    listener = PacketListener("t0")
    assert listener.link_type == 101
    listener.close()


def test_nothing_leaves_because_of_it(alone: Namespace) -> None:
    """No group is joined: no IGMP or MLD report, nothing in the tables, and the interface's counter stands still."""
    Path("/proc/sys/net/ipv6/conf/d0/disable_ipv6").write_text("1")
    sent = "/proc/self/net/dev"

    def transmitted() -> list[str]:
        with open(sent) as file:
            return next(line for line in file if line.strip().startswith("d0:")).split()[9:11]

    before: list[str] = []
    while before != transmitted():  # what IPv6 still says as it leaves the interface
        before = transmitted()
        time.sleep(0.2)
    groups = Path("/proc/self/net/dev_mcast").read_text()
    listener = PacketListener("d0")
    assert "allmulti" in ip("-d", "link", "show", "d0")
    assert Path("/proc/self/net/dev_mcast").read_text() == groups
    assert heard_of(listener, 0.3) == []
    listener.close()
    assert transmitted() == before


def test_an_interface_that_goes_down_and_away(alone: Namespace) -> None:
    listener = PacketListener("d0")
    ip("link", "set", "d0", "down")
    assert heard_of(listener) == []
    ip("link", "set", "d0", "up")
    sender = PacketSender(index_of("d0"))
    sender.send_one(V4)
    assert heard_of(listener) == [V4]
    sender.close()
    ip("link", "del", "d0")
    select.select([listener], [], [], 2)
    with pytest.raises(KernelRefused, match="cannot listen on d0: no such device; the interface does not exist"):
        listener.receive()
    listener.close()


def test_an_interface_that_is_not_there(alone: Namespace) -> None:
    with pytest.raises(KernelRefused, match=r"cannot listen on eth9: no such device; there are .*\bd0\b"):
        PacketListener("eth9")


def test_without_the_capability(alone: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(KernelRefused, match="cannot open a packet socket: operation not permitted; grant CAP_NET_RAW"):
        PacketListener("d0")
