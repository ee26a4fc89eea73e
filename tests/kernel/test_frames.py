"""Announcements, octet by octet as keepalived sends them, and over a cable."""

import socket

import pytest

from holdfast.base.address import Mac, parse
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.frames import (
    Announcement,
    PacketSender,
    announcement,
    decode_announcement,
    gratuitous_arp,
    unsolicited_na,
)
from tests.kernel.namespaces import Namespace, index_of, ip

MAC = Mac(bytes.fromhex("020000000001"))

# captured from keepalived 2.2.7
ARPS = [
    ("192.0.2.100", "ffffffffffff02000000000108060001080006040001020000000001c0000264ffffffffffffc0000264"),
    ("192.0.2.200", "ffffffffffff02000000000108060001080006040001020000000001c00002c8ffffffffffffc00002c8"),
]
ADVERTS = [
    (
        "fe80::100",
        "33330000000102000000000186dd6000000000203afffe800000000000000000000000000100ff0200000000000000000000000000018800559d20000000fe8000000000000000000000000001000201020000000001",
    ),
    (
        "2001:db8:1::60",
        "33330000000102000000000186dd6000000000203aff20010db8000100000000000000000060ff0200000000000000000000000000018800f86a2000000020010db80001000000000000000000600201020000000001",
    ),
]


@pytest.mark.parametrize(("address", "frame"), ARPS)
def test_gratuitous_arp_is_keepaliveds(address: str, frame: str) -> None:
    assert gratuitous_arp(MAC, parse(address)).hex() == frame
    assert decode_announcement(bytes.fromhex(frame)) == Announcement(
        address=parse(address), mac=MAC, ethernet_source=MAC, ethernet_destination=Mac(b"\xff" * 6)
    )


@pytest.mark.parametrize(("address", "frame"), ADVERTS)
def test_unsolicited_na_is_keepaliveds(address: str, frame: str) -> None:
    assert unsolicited_na(MAC, parse(address), router=False).hex() == frame
    assert decode_announcement(bytes.fromhex(frame)) == Announcement(
        address=parse(address), mac=MAC, ethernet_source=MAC, ethernet_destination=Mac(bytes.fromhex("333300000001"))
    )


def test_the_router_flag_and_its_checksum() -> None:
    frame = unsolicited_na(MAC, parse("fe80::100"), router=True)
    assert frame[54:62].hex() == "8800d59ca0000000"  # 0x559d less 0x8000, end-around: RFC 1624
    said = decode_announcement(frame)
    assert said is not None
    assert (said.router, said.override) == (True, True)


@pytest.mark.parametrize("text", [ARPS[0][1], ADVERTS[0][1]])
def test_cut_short_it_announces_nothing(text: str) -> None:
    frame = bytes.fromhex(text)
    assert all(decode_announcement(frame[:size]) is None for size in range(len(frame)))


def test_other_frames_announce_nothing() -> None:
    question = bytearray.fromhex(ARPS[0][1])
    question[41] ^= 1  # asks for another address
    assert decode_announcement(bytes(question)) is None
    from_afar = bytearray.fromhex(ADVERTS[0][1])
    from_afar[21] = 254  # hop limit
    assert decode_announcement(bytes(from_afar)) is None


def test_frames_cross_the_cable_and_the_neighbour_learns(pair: tuple[Namespace, Namespace]) -> None:
    one, other = pair
    with other.entered():
        hearing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        hearing.settimeout(5)
    with one.entered():
        sender = PacketSender(index_of("va"))
    frames = [announcement(MAC, parse(f"192.0.2.{n}")) for n in range(10, 15)]
    assert sender.send(frames) == []
    assert [hearing.recv(200) for _ in frames] == frames
    batch = sender.batch(frames)
    assert (batch.send(), batch.send()) == (5, 5)
    assert [hearing.recv(200) for _ in range(10)] == frames * 2
    hearing.close()
    sender.close()


def test_an_interface_that_never_was_is_named(alone: Namespace) -> None:
    with pytest.raises(KernelRefused, match=r"bind a packet socket on interface 4242.*the interface is gone"):
        PacketSender(4242)


def test_an_interface_that_is_gone_is_reported_frame_by_frame(alone: Namespace) -> None:
    ip("link", "add", "gone", "type", "veth", "peer", "name", "other")
    sender = PacketSender(socket.if_nametoindex("gone"))
    ip("link", "delete", "gone")
    frame = announcement(MAC, parse("192.0.2.1"))
    assert [position for position, _ in sender.send([frame] * 2)] == [0, 1]
    assert sender.send_one(frame) != 0
    sender.close()
