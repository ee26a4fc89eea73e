"""Capture files: classic pcap of both byte orders, µs and ns, and the basic blocks of pcapng.

A file is read as a stream, a record at a time, so its size doesn't matter. Sources: pcap-savefile(5), and
draft-ietf-opsawg-pcapng §4 (section header, interface description, enhanced and simple packet blocks).
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from holdfast.base.time import SECOND, Nanoseconds

ETHERNET, RAW_IP, COOKED, IPV4_ONLY, IPV6_ONLY, COOKED_2 = 1, 101, 113, 228, 229, 276
LINK_TYPES = {
    ETHERNET: "Ethernet",
    RAW_IP: "raw IP",
    12: "raw IP",  # the same, as BSD numbers it
    14: "raw IP",
    COOKED: "Linux cooked",
    COOKED_2: "Linux cooked 2",
    IPV4_ONLY: "raw IPv4",
    IPV6_ONLY: "raw IPv6",
}
"""What can be read, by the LINKTYPE_ number."""

LONGEST_RECORD_BYTES = 1 << 20
_CLASSIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""First four octets → byte order, and nanoseconds in a unit of the fraction."""
_NG = b"\x0a\x0d\x0d\x0a"
_COMPRESSED = {b"\x1f\x8b": "zcat", b"\xfd7": "xzcat", b"BZ": "bzcat", b"\x28\xb5": "zstdcat"}
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_OPTION_END, _OPTION_TSRESOL = 0, 9


class Unreadable(ValueError):
    """No capture file, or one that is damaged from some place on; the text says which, where, and the cure."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One frame of a file. `frame` counts from 1; `time_ns` since 1970 as the file has it; `original_bytes`: as it was
    on the wire, `octets` what was kept of it."""

    frame: int
    time_ns: Nanoseconds
    link_type: int
    octets: bytes
    original_bytes: int


class _Interface(msgspec.Struct, frozen=True):
    link_type: int
    units_per_second: int


def read_capture(stream: BinaryIO) -> Iterator[Record]:
    """Every record, in order. Unreadable where the file is none, or from where it is damaged or cut off."""
    magic = stream.read(4)
    if magic in _CLASSIC:
        order, unit_ns = _CLASSIC[magic]
        yield from _classic(stream, order, unit_ns)
    elif magic == _NG:
        yield from _next_generation(stream)
    elif not magic:
        raise Unreadable("the file is empty")
    elif magic[:2] in _COMPRESSED:
        raise Unreadable(f"it is compressed: use `{_COMPRESSED[magic[:2]]} FILE | holdfast decode -`")
    else:
        raise Unreadable(
            f"it begins with {magic.hex(' ')}, which no capture file does: "
            "make one with `tcpdump -i eth0 -w FILE.pcap ip proto 112 or ip6 proto 112 or arp`"
        )


def _classic(stream: BinaryIO, order: str, unit_ns: int) -> Iterator[Record]:
    header = stream.read(20)
    if len(header) < 20:
        raise Unreadable("it is cut off inside the header of the file")
    # the upper bits of the link type hold the length of the frame check sequence
    link_type = struct.unpack(order + "HHiIII", header)[5] & 0xFFFF
    _known(link_type)
    record = struct.Struct(order + "IIII")
    frame = 0
    while head := stream.read(16):
        frame += 1
        if len(head) < 16:
            raise Unreadable(f"it is cut off inside the head of frame {frame}")
        seconds, fraction, kept, original = record.unpack(head)
        yield Record(
            frame=frame,
            time_ns=seconds * SECOND + fraction * unit_ns,
            link_type=link_type,
            octets=_octets(stream, kept, frame),
            original_bytes=original,
        )


def _octets(stream: BinaryIO, length: int, frame: int) -> bytes:
    if length > LONGEST_RECORD_BYTES:
        raise Unreadable(f"it is damaged: frame {frame} would have {length} octets")
    octets = stream.read(length)
    if len(octets) < length:
        raise Unreadable(f"it is cut off inside frame {frame}")
    return octets


def _known(link_type: int) -> None:
    if link_type not in LINK_TYPES:
        names = ", ".join(dict.fromkeys(LINK_TYPES.values()))
        raise Unreadable(f"its link type {link_type} is not known here ({names} are): capture on another interface")


def _next_generation(stream: BinaryIO) -> Iterator[Record]:
    order = _section(stream)
    interfaces: list[_Interface] = []
    frame = 0
    while head := stream.read(8):
        if len(head) < 8:
            raise Unreadable(f"it is cut off behind frame {frame}")
        if head[:4] == _NG:
            order = _section(stream, head[4:])
            interfaces = []
            continue
        kind, length = struct.unpack(order + "II", head)
        if length < 12 or length > LONGEST_RECORD_BYTES or length % 4:
            raise Unreadable(f"it is damaged: the block behind frame {frame} would have {length} octets")
        body = stream.read(length - 8)
        if len(body) < length - 8:
            raise Unreadable(f"it is cut off behind frame {frame}")
        body = body[:-4]
        if kind == _INTERFACE:
            interfaces.append(_interface(body, order))
        elif kind in (_ENHANCED, _SIMPLE):
            frame += 1
            record = _packet(kind, body, order, interfaces, frame)
            _known(record.link_type)
            yield record


def _section(stream: BinaryIO, length_octets: bytes | None = None) -> str:
    length_octets = length_octets if length_octets is not None else stream.read(4)
    magic = stream.read(4)
    order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic)
    if order is None or len(length_octets) < 4:
        raise Unreadable("it is damaged: a pcapng section without its byte-order magic")
    (length,) = struct.unpack(order + "I", length_octets)
    if length < 28 or length > LONGEST_RECORD_BYTES or length % 4:
        raise Unreadable(f"it is damaged: a pcapng section header of {length} octets")
    if len(stream.read(length - 12)) < length - 12:
        raise Unreadable("it is cut off inside a section header")
    return order


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise Unreadable("it is damaged: an interface description of too few octets")
    (link_type,) = struct.unpack_from(order + "H", body)
    units = 1_000_000
    position = 8
    while position + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, position)
        if code == _OPTION_END:
            break
        if code == _OPTION_TSRESOL and length == 1 and position + 4 < len(body):
            exponent = body[position + 4]
            units = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10 ** (exponent & 0x7F)
        position += 4 + (length + 3) // 4 * 4
    return _Interface(link_type, units)


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface], frame: int) -> Record:
    head = 20 if kind == _ENHANCED else 4
    if len(body) < head:
        raise Unreadable(f"it is damaged: the block of frame {frame} has too few octets")
    if kind == _ENHANCED:
        number, high, low, kept, original = struct.unpack_from(order + "IIIII", body)
    else:  # a simple packet has no time and belongs to the first interface
        (original,) = struct.unpack_from(order + "I", body)
        number, high, low, kept = 0, 0, 0, min(original, len(body) - 4)
    if number >= len(interfaces):
        raise Unreadable(f"it is damaged: frame {frame} names interface {number}, which was not described")
    if kept > len(body) - head:
        raise Unreadable(f"it is damaged: frame {frame} would have {kept} octets")
    return Record(
        frame=frame,
        time_ns=(high << 32 | low) * SECOND // interfaces[number].units_per_second,
        link_type=interfaces[number].link_type,
        octets=body[head : head + kept],
        original_bytes=original,
    )
