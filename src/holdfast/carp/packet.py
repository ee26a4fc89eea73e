"""CARP adverts on the wire, both directions: version 2 as OpenBSD, FreeBSD and ucarp send it.

36 octets, IP protocol 112 like VRRP: version/type (0x21, like VRRPv2), vhid, advskew, authlen (7 words), demotion,
advbase, checksum over these 36 octets alone, a 64-bit counter, and HMAC-SHA-1. The HMAC covers version, type, vhid, the
virtual addresses and the counter; advskew, advbase and demotion are not protected.
"""

import struct
from collections.abc import Iterable

import msgspec

from holdfast.base.address import Address
from holdfast.base.checksum import internet_checksum
from holdfast.base.time import SECOND, Nanoseconds

CARP_PROTOCOL = 112
CARP_BYTES = 36
AUTH_WORDS = 7  # counter and HMAC, in 32-bit words
HMAC_BYTES = 20
KEY_BYTES = 20
BOW_OUT = 255  # advbase and advskew of a master that leaves (OpenBSD)
_FORMAT = struct.Struct("!BBBBBBHQ20s")


class MalformedCarp(ValueError):
    """Octets that are no CARP advert; the text says what is wrong with them."""


class CarpAdvert(msgspec.Struct, frozen=True, kw_only=True):
    """One advert. `advbase` is in seconds, `advskew` in 1/256 s; smaller is better."""

    vhid: int
    advbase: int
    advskew: int
    counter: int
    hmac: bytes
    demotion: int = 0  # reserved with ucarp
    version: int = 2
    type: int = 1
    authlen: int = AUTH_WORDS
    checksum: int = 0  # as received; ignored when encoding

    @property
    def interval_ns(self) -> Nanoseconds:
        """How often it is sent: advbase + advskew/256 seconds, which is also its rank."""
        return self.advbase * SECOND + self.advskew * SECOND // 256


def encode_carp(advert: CarpAdvert) -> bytes:
    """The 36 octets, checksum included."""
    octets = _pack(advert, 0)
    return octets[:6] + internet_checksum(octets).to_bytes(2, "big") + octets[8:]


def _pack(advert: CarpAdvert, checksum: int) -> bytes:
    first = advert.version << 4 | advert.type
    fixed = (first, advert.vhid, advert.advskew, advert.authlen, advert.demotion, advert.advbase, checksum)
    return _FORMAT.pack(*fixed, advert.counter, advert.hmac)


def decode_carp(octets: bytes) -> CarpAdvert:
    """The advert in `octets`, whatever its checksum and HMAC; MalformedCarp when they are not 36."""
    if len(octets) != CARP_BYTES:
        raise MalformedCarp(f"a CARP advert has {CARP_BYTES} octets, not {len(octets)}")
    first, vhid, advskew, authlen, demotion, advbase, checksum, counter, digest = _FORMAT.unpack(octets)
    return CarpAdvert(
        vhid=vhid,
        advbase=advbase,
        advskew=advskew,
        counter=counter,
        hmac=digest,
        demotion=demotion,
        version=first >> 4,
        type=first & 15,
        authlen=authlen,
        checksum=checksum,
    )


def looks_like_carp(payload: bytes) -> bool:
    """Whether a payload of protocol 112 is CARP: no VRRP message with a count of 7 addresses has 36 octets."""
    return len(payload) == CARP_BYTES and payload[0] == 0x21 and payload[3] == AUTH_WORDS


def checksum_is_valid(octets: bytes) -> bool:
    """Whether the checksum of an advert is right."""
    return internet_checksum(octets) == 0


def carp_hmac(password: bytes, vhid: int, addresses: Iterable[Address], counter: int) -> bytes:
    """The 20 octets of the HMAC: `addresses` are the virtual ones, sorted here as the protocol wants them."""
    virtual = list(addresses)
    ordered = sorted(a for a in virtual if len(a) == 4) + sorted(a for a in virtual if len(a) == 16)
    covered = bytes((2, 1, vhid)) + b"".join(ordered) + counter.to_bytes(8, "big")
    from hmac import digest  # brings OpenSSL along, which a daemon without CARP need not have in memory

    return digest(password[:KEY_BYTES].ljust(KEY_BYTES, b"\0"), covered, "sha1")


def hmac_is_valid(advert: CarpAdvert, password: bytes, addresses: Iterable[Address]) -> bool:
    """Whether the HMAC is right for that password and those virtual addresses."""
    from hmac import compare_digest

    return compare_digest(carp_hmac(password, advert.vhid, addresses, advert.counter), advert.hmac)
