"""Adverts written out, for tests of sockets and filters."""

import struct

from holdfast.base.address import Address, parse
from holdfast.base.checksum import internet_checksum

SOURCE_4, GROUP_4 = parse("192.0.2.1"), parse("224.0.0.18")
SOURCE_6, GROUP_6 = parse("fe80::1"), parse("ff02::12")


def message(vrid: int = 51, priority: int = 100, interval_cs: int = 100, vip: Address | None = None) -> bytes:
    """A VRRPv3 message; the checksum is right for IPv4 as RFC 9568 has it (IPv6: the kernel's task)."""
    vip = parse("192.0.2.10") if vip is None else vip
    octets = struct.pack("!BBBBHH", 0x31, vrid, priority, 1, interval_cs, 0) + vip
    return octets[:6] + internet_checksum(octets).to_bytes(2, "big") + octets[8:]


def packet(octets: bytes, source: Address = SOURCE_4, to: Address = GROUP_4, ttl: int = 255) -> bytes:
    """An IPv4 packet with a VRRP message, as handed to an IP_HDRINCL socket."""
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0xC0, 20 + len(octets), 0, 0, ttl, 112, 0, source, to) + octets
