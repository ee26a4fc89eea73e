"""Capture files of every byte order and resolution, cooked and raw frames, and files that are damaged."""

import io
import struct

import pytest

from holdfast.dissect.frame import dissect
from holdfast.dissect.pcap import Record, Unreadable, read_capture
from tests.decode.vectors import files, records

ADVERT = records("ka227_v2_mcast_noauth")[0].octets
ORDERS = ["<", ">"]


def classic(order: str, magic: int, link_type: int, *frames: tuple[int, int, bytes]) -> bytes:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    body = [struct.pack(order + "IIII", s, part, len(octets), len(octets)) + octets for s, part, octets in frames]
    return head + b"".join(body)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = 12 + len(body)
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def read(octets: bytes) -> list[Record]:
    return list(read_capture(io.BytesIO(octets)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("magic", "time_ns"), [(0xA1B2C3D4, 7_000_250_000), (0xA1B23C4D, 7_000_000_250)])
def test_byte_orders_and_resolutions(order: str, magic: int, time_ns: int) -> None:
    [record] = read(classic(order, magic, 1, (7, 250, ADVERT)))
    assert (record.frame, record.time_ns, record.octets) == (1, time_ns, ADVERT)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("option", "units", "time_ns"),
    [
        (b"", 5_000_000, 5_000_000_000),
        (b"\x09", 5_000_000_123, 5_000_000_123),  # 10^-9 s
        (b"\x8a", 1024 * 5 + 512, 5_500_000_000),  # 2^-10 s
    ],
)
def test_pcapng(order: str, option: bytes, units: int, time_ns: int) -> None:
    options = struct.pack(order + "HH", 9, 1) + option + bytes(3) + bytes(4) if option else b""
    octets = (
        section(order)
        + block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + options)
        + block(order, 5, bytes(12))  # statistics: passed over
        + block(order, 6, struct.pack(order + "IIIII", 0, units >> 32, units & 0xFFFFFFFF, len(ADVERT), 99) + ADVERT)
        + block(order, 3, struct.pack(order + "I", len(ADVERT)) + ADVERT)
    )
    whole, simple = read(octets)
    assert (whole.frame, whole.time_ns, whole.octets, whole.original_bytes) == (1, time_ns, ADVERT, 99)
    assert (simple.frame, simple.time_ns, simple.octets) == (2, 0, ADVERT)


def test_a_second_section_has_interfaces_of_its_own() -> None:
    interface = block("<", 1, struct.pack("<HHI", 101, 0, 0))
    packet = block("<", 6, struct.pack("<IIIII", 0, 0, 0, 4, 4) + b"abcd")
    assert [one.link_type for one in read(section("<") + interface + packet + section("<") + interface + packet)] == [101, 101]
    with pytest.raises(Unreadable, match="frame 2 names interface 0"):
        read(section("<") + interface + packet + section("<") + packet)


COOKED = struct.pack("!HHH8sH", 2, 1, 6, ADVERT[6:12], 0x0800)
COOKED_2 = struct.pack("!HHIHBB8s", 0x0800, 0, 3, 1, 2, 6, ADVERT[6:12])


@pytest.mark.parametrize(
    ("link_type", "octets"),
    [
        (1, ADVERT),
        (1, ADVERT + bytes(6)),  # padded to Ethernet's least length
        (1, ADVERT[:12] + bytes.fromhex("81000064") + ADVERT[12:]),
        (1, ADVERT[:12] + bytes.fromhex("88a8000181000064") + ADVERT[12:]),
        (113, COOKED + ADVERT[14:]),
        (276, COOKED_2 + ADVERT[14:]),
        (101, ADVERT[14:]),
        (12, ADVERT[14:]),
        (228, ADVERT[14:]),
    ],
)
def test_link_types(link_type: int, octets: bytes) -> None:
    frame = dissect(link_type, octets)
    assert (frame.kind, frame.problems) == ("vrrp", ())
    assert frame.vrrp is not None
    assert frame.vrrp.advert.vrid == 51
    assert frame.source_mac in (None, b"\x02\0\0\0\0\x01")


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "the file is empty"),
        (b"#!/bin/sh\n", "begins with 23 21 2f 62, which no capture file does: make one with `tcpdump"),
        (b"\x1f\x8b\x08\0\0", "compressed: use `zcat FILE | holdfast decode -`"),
        (files()["frr_v2_ipv4"][:20], "cut off inside the header of the file"),
        (classic("<", 0xA1B2C3D4, 127, (1, 1, ADVERT)), "its link type 127 is not known here"),
        (classic("<", 0xA1B2C3D4, 1, (1, 1, ADVERT))[:-1], "cut off inside frame 1"),
        (classic("<", 0xA1B2C3D4, 1, (1, 1, ADVERT)) + bytes(9), "cut off inside the head of frame 2"),
        (classic("<", 0xA1B2C3D4, 1) + struct.pack("<IIII", 1, 1, 1 << 31, 1), "frame 1 would have 2147483648 octets"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "without its byte-order magic"),
        (section(">")[:-4], "cut off inside a section header"),
        (section(">") + block(">", 6, bytes(20)), "frame 1 names interface 0"),
        (section("<") + struct.pack("<II", 6, 8), "would have 8 octets"),
    ],
)
def test_what_cannot_be_read_is_said(octets: bytes, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(octets)
    assert said in str(caught.value)


def test_whole_frames_before_the_damage_are_kept() -> None:
    octets = files()["ka227_v2_mcast_noauth"]
    stream, whole = read_capture(io.BytesIO(octets[:-1])), records("ka227_v2_mcast_noauth")
    assert [next(stream) for _ in whole[:-1]] == list(whole[:-1])
    with pytest.raises(Unreadable, match="cut off inside frame"):
        next(stream)


def test_a_file_cut_anywhere_raises_nothing_else() -> None:
    octets = files()["ka227_v2_advert_int_max_255"]
    for length in range(len(octets)):
        try:
            read(octets[:length])
        except Unreadable:
            continue
        assert (length == 24) or read(octets[:length])
