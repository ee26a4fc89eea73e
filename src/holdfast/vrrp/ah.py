"""The IP authentication header around VRRPv2 adverts, `auth_type AH` (RFC 2402 as RFC 2338 §5.3.6.3 uses it).

The header stands between IPv4 (protocol 51) and the message: next header, length in 32-bit words less 2, reserved, SPI,
sequence number, and an ICV: the first 12 octets of HMAC-MD5 over the IP header with its mutable fields zero, this
header with a zero ICV, and the message. Peers differ in one point from RFC 2402: for multicast the TTL stays in.

Only whoever was configured for AH imports this module: hashlib costs the daemon memory.
"""

import hashlib
import hmac
import struct

import msgspec

from holdfast.base.address import Address
from holdfast.base.checksum import internet_checksum
from holdfast.vrrp.packet import VRRP_PROTOCOL, Malformed

AH_PROTOCOL = 51
ICV_BYTES = 12
AH_BYTES = 24
KEY_BYTES = 8  # `auth_pass` is cut to this
_HEAD = struct.Struct("!BBHII")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")


class AuthenticationHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The header as it stands on the wire; `spi` is the sender's IPv4 address as a number, `payload_len` its own."""

    spi: int
    sequence_number: int
    icv: bytes = bytes(ICV_BYTES)
    next_header: int = VRRP_PROTOCOL
    payload_len: int = AH_BYTES // 4 - 2
    reserved: int = 0


def encode_ah(header: AuthenticationHeader) -> bytes:
    """The octets of the header: 24 with an ICV of 12."""
    fixed = (header.next_header, header.payload_len, header.reserved, header.spi, header.sequence_number)
    return _HEAD.pack(*fixed) + header.icv


def decode_ah(octets: bytes) -> AuthenticationHeader:
    """The header at the beginning of `octets`; Malformed when they are too short for what it says."""
    if len(octets) < _HEAD.size:
        raise Malformed(f"too short for an authentication header: {len(octets)} octets")
    next_header, payload_len, reserved, spi, sequence_number = _HEAD.unpack_from(octets)
    need = ah_bytes(payload_len)
    if need < _HEAD.size or len(octets) < need:
        raise Malformed(f"authentication header of {need} octets in {len(octets)}")
    return AuthenticationHeader(
        spi=spi,
        sequence_number=sequence_number,
        icv=bytes(octets[_HEAD.size : need]),
        next_header=next_header,
        payload_len=payload_len,
        reserved=reserved,
    )


def ah_bytes(payload_len: int) -> int:
    """How long a header is whose length field says `payload_len` (RFC 2402 §2.2)."""
    return (payload_len + 2) * 4


def icv_of(password: bytes, ip_header: bytes, header: AuthenticationHeader, message: bytes, *, keep_ttl: bool) -> bytes:
    """The 12 octets the ICV should be.

    `ip_header`: the IPv4 header as sent, options included. `keep_ttl`: true for multicast, false for unicast, which is
    what peers do; RFC 2402 §3.3.3.1.1.1 would always zero it. TOS, flags, fragment offset and checksum count as zero.
    """
    immutable = bytearray(ip_header)
    immutable[1] = 0
    immutable[6:8] = immutable[10:12] = b"\0\0"
    if not keep_ttl:
        immutable[8] = 0
    bare = encode_ah(msgspec.structs.replace(header, icv=bytes(len(header.icv))))
    return hmac.new(password[:KEY_BYTES], bytes(immutable) + bare + message, _md5).digest()[:ICV_BYTES]


def icv_is_valid(
    password: bytes, ip_header: bytes, header: AuthenticationHeader, message: bytes, *, keep_ttl: bool
) -> bool:
    """Whether the ICV is right for that password; takes the same time however much of it agrees."""
    return hmac.compare_digest(icv_of(password, ip_header, header, message, keep_ttl=keep_ttl), header.icv)


def encode_ah_packet(
    message: bytes,
    *,
    source: Address,
    destination: Address,
    password: bytes,
    sequence_number: int,
    identification: int,
    keep_ttl: bool,
    ttl: int = 255,
    tos: int = 0xC0,
) -> bytes:
    """The whole IPv4 packet around a message with auth type 2.

    `identification` is 1..65535 and must be sent as given (IP_HDRINCL): the ICV covers it, and the kernel replaces 0.
    """
    fields = (0x45, tos, 20 + AH_BYTES + len(message), identification, 0, ttl, AH_PROTOCOL)
    checksum = internet_checksum(_IPV4.pack(*fields, 0, source, destination))
    ip_header = _IPV4.pack(*fields, checksum, source, destination)
    header = AuthenticationHeader(spi=int.from_bytes(source, "big"), sequence_number=sequence_number)
    icv = icv_of(password, ip_header, header, message, keep_ttl=keep_ttl)
    return ip_header + encode_ah(msgspec.structs.replace(header, icv=icv)) + message


def _md5(octets: bytes = b"") -> "hashlib._Hash":
    # the protocol's choice, not ours: a host in FIPS mode would refuse it otherwise
    return hashlib.md5(octets, usedforsecurity=False)
