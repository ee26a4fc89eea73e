"""VRRP adverts on the wire, both directions: versions 2 and 3, IPv4 and IPv6 (RFC 3768 §5, RFC 9568 §5).

The message begins `version/type, VRID, priority, count`; then v2 has auth type, interval in seconds, checksum,
addresses and 8 octets of authentication (IPv4 only), v3 the interval in centiseconds (12 bits), checksum and addresses.
"""

import struct
from enum import StrEnum

import msgspec

from holdfast.base.address import VRRP_GROUP_4, Address
from holdfast.base.checksum import internet_checksum
from holdfast.base.time import CENTISECOND, SECOND, Nanoseconds
from holdfast.vrrp.config import AuthType

VRRP_PROTOCOL = 112
ADVERTISEMENT = 1
AUTH_BYTES = 8
_HEAD = struct.Struct("!BBBB")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")


class ChecksumForm(StrEnum):
    """What a VRRPv3 checksum covers beside the message; v2 over IPv4 covers the message alone."""

    PSEUDO_HEADER = "pseudo_header"
    MESSAGE_ONLY = "no_pseudo_header"
    OLD_MULTICAST = "pseudo_header_with_dst_224.0.0.18"


class Malformed(ValueError):
    """Octets that are no advert; the text says what is wrong with them."""


class Advert(msgspec.Struct, frozen=True, kw_only=True):
    """One advert. The interval is in nanoseconds; on the wire v2 has whole seconds, v3 centiseconds."""

    version: int
    vrid: int
    priority: int
    addresses: tuple[Address, ...]
    adver_interval_ns: Nanoseconds
    auth_type: int = AuthType.NONE  # v2 only; a number, for it may be one nobody knows
    auth_data: bytes = bytes(AUTH_BYTES)  # v2 over IPv4 only
    type: int = ADVERTISEMENT
    reserved: int = 0  # the four bits before the v3 interval
    checksum: int = 0  # as received; ignored when encoding
    remarks: tuple[str, ...] = ()  # worth a line in the log; filled in by the receive checks
    counted: str = ""  # the counter of a fault that did not keep it out
    stranger: bool = False  # it names none of our addresses; as above


def message_bytes(version: int, ipv6: bool, count: int) -> int:
    """How long a message with `count` addresses is."""
    return 8 + count * (16 if ipv6 else 4) + (AUTH_BYTES if version == 2 and not ipv6 else 0)


def pseudo_header(source: Address, destination: Address, length: int) -> bytes:
    """What the checksum covers before the message: RFC 8200 §8.1 for IPv6, its likeness for IPv4."""
    if len(source) == 16:
        return source + destination + struct.pack("!IBBBB", length, 0, 0, 0, VRRP_PROTOCOL)
    return source + destination + struct.pack("!BBH", 0, VRRP_PROTOCOL, length)


def checksum_of(
    message: bytes, source: Address, destination: Address, form: ChecksumForm, length: int | None = None
) -> int:
    """The checksum a message should carry (its own field counts as zero)."""
    bare = message[:6] + b"\0\0" + message[8:]
    ipv6 = len(source) == 16
    if (message[0] >> 4 == 2 and not ipv6) or (form is ChecksumForm.MESSAGE_ONLY and not ipv6):
        return internet_checksum(bare)
    if form is ChecksumForm.OLD_MULTICAST and not ipv6:
        destination = VRRP_GROUP_4
    return internet_checksum(pseudo_header(source, destination, len(message) if length is None else length) + bare)


def encode_vrrp(
    advert: Advert,
    *,
    source: Address,
    destination: Address,
    checksum_form: ChecksumForm = ChecksumForm.PSEUDO_HEADER,
) -> bytes:
    """The VRRP message; `source` and `destination` are those of the IP header around it."""
    head = _HEAD.pack(advert.version << 4 | advert.type, advert.vrid, advert.priority, len(advert.addresses))
    if advert.version == 2:
        interval = bytes((advert.auth_type, advert.adver_interval_ns // SECOND & 0xFF))
        tail = advert.auth_data if len(source) == 4 else b""
    else:
        interval = struct.pack("!H", advert.reserved << 12 | advert.adver_interval_ns // CENTISECOND & 0x0FFF)
        tail = b""
    message = head + interval + b"\0\0" + b"".join(advert.addresses) + tail
    return message[:6] + struct.pack("!H", checksum_of(message, source, destination, checksum_form)) + message[8:]


def encode_ipv4(
    message: bytes,
    source: Address,
    destination: Address,
    ttl: int = 255,
    identification: int = 0,
    tos: int = 0xC0,
    dont_fragment: bool = False,
) -> bytes:
    """The whole IPv4 packet, header checksum included (RFC 791 §3.1)."""
    flags = 0x4000 if dont_fragment else 0
    total = 20 + len(message)
    fields = (0x45, tos, total, identification, flags, ttl, VRRP_PROTOCOL)
    header = _IPV4.pack(*fields, 0, source, destination)
    return _IPV4.pack(*fields, internet_checksum(header), source, destination) + message


def decode_vrrp(message: bytes, ipv6: bool) -> Advert:
    """The advert in a message, whatever its checksum; octets after its end are left aside. Malformed when too short."""
    if len(message) < 8:
        raise Malformed(f"too short for an advert: {len(message)} octets")
    first, vrid, priority, count = _HEAD.unpack_from(message)
    version, kind = first >> 4, first & 15
    if version not in (2, 3):
        raise Malformed(f"VRRP version {version} is neither 2 nor 3")
    need = message_bytes(version, ipv6, count)
    if len(message) < need:
        raise Malformed(f"too short: {len(message)} octets, {count} addresses need {need}")
    size = 16 if ipv6 else 4
    addresses = tuple(Address(message[8 + n * size : 8 + (n + 1) * size]) for n in range(count))
    checksum = message[6] << 8 | message[7]
    if version == 2:
        return Advert(
            version=2,
            vrid=vrid,
            priority=priority,
            addresses=addresses,
            adver_interval_ns=message[5] * SECOND,
            auth_type=message[4],
            auth_data=b"" if ipv6 else bytes(message[need - AUTH_BYTES : need]),
            type=kind,
            checksum=checksum,
        )
    interval = message[4] << 8 | message[5]
    return Advert(
        version=3,
        vrid=vrid,
        priority=priority,
        addresses=addresses,
        adver_interval_ns=(interval & 0x0FFF) * CENTISECOND,
        type=kind,
        reserved=interval >> 12,
        checksum=checksum,
    )
