"""The `auth_hmac` trailer behind a VRRP message, versions 2 and 3 (draft-cassen-vrrp-auth-hmac).

28 octets: extension type 1, key id, two zero octets, a 64-bit sequence (UTC seconds, 1/65536 s, a counter), and the
first 16 octets of HMAC-SHA-256 over a pseudo header, the message with a zero checksum, the trailer with a zero HMAC.
Over IPv4 the message's checksum leaves the trailer out; over IPv6 it covers it.

Only whoever was configured for it imports this module: hashlib costs the daemon memory.
"""

import hmac
import struct

import msgspec

from holdfast.base.address import Address
from holdfast.vrrp.packet import ChecksumForm, Malformed, checksum_of

TRAILER_BYTES = 28
HMAC_SHA256_128 = 1
HMAC_BYTES = 16
KEY_BYTES = range(32, 65)
TRAILER_HEAD = struct.Struct("!BBHQ")


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """The trailer as it stands on the wire; `sequence` holds seconds << 32 | subseconds << 16 | counter."""

    key_id: int
    sequence: int
    hmac: bytes = bytes(HMAC_BYTES)
    ext_type: int = HMAC_SHA256_128
    reserved: int = 0

    @property
    def seconds(self) -> int:
        """UTC seconds since 1970, the low 32 bits."""
        return self.sequence >> 32

    @property
    def subseconds(self) -> int:
        """The fraction of the second, in 1/65536 s."""
        return self.sequence >> 16 & 0xFFFF

    @property
    def counter(self) -> int:
        """Tells apart what was sent in the same 1/65536 s."""
        return self.sequence & 0xFFFF

    @property
    def well_formed(self) -> bool:
        """Whether a receiver would look at it at all: known type, nothing in the reserved octets."""
        return self.ext_type == HMAC_SHA256_128 and self.reserved == 0


def encode_trailer(trailer: Trailer) -> bytes:
    """The 28 octets."""
    return TRAILER_HEAD.pack(trailer.ext_type, trailer.key_id, trailer.reserved, trailer.sequence) + trailer.hmac


def decode_trailer(octets: bytes) -> Trailer:
    """The trailer in exactly 28 octets, well formed or not; Malformed when they are not 28."""
    if len(octets) != TRAILER_BYTES:
        raise Malformed(f"an authentication trailer has {TRAILER_BYTES} octets, not {len(octets)}")
    ext_type, key_id, reserved, sequence = TRAILER_HEAD.unpack_from(octets)
    return Trailer(
        key_id=key_id, sequence=sequence, hmac=bytes(octets[TRAILER_HEAD.size :]), ext_type=ext_type, reserved=reserved
    )


def hmac_pseudo_header(version: int, vrid: int, source: Address) -> bytes:
    """The 20 octets authenticated before the message: family 4 or 6, version, VRID, 0, source padded to 16."""
    return bytes((4 if len(source) == 4 else 6, version, vrid, 0)) + source.ljust(16, b"\0")


def hmac_of(key: bytes, message: bytes, trailer: Trailer, source: Address) -> bytes:
    """The 16 octets the HMAC should be; `message` is the VRRP message, whatever its checksum, of 8 octets or more."""
    pseudo = hmac_pseudo_header(message[0] >> 4, message[1], source)
    bare = message[:6] + b"\0\0" + message[8:]
    head = TRAILER_HEAD.pack(trailer.ext_type, trailer.key_id, trailer.reserved, trailer.sequence)
    return hmac.digest(key, pseudo + bare + head + bytes(HMAC_BYTES), "sha256")[:HMAC_BYTES]


def hmac_is_valid(key: bytes, message: bytes, trailer: Trailer, source: Address) -> bool:
    """Whether the HMAC is right for that key; takes the same time however much of it agrees."""
    return hmac.compare_digest(hmac_of(key, message, trailer, source), trailer.hmac)


def sign(message: bytes, *, key: bytes, key_id: int, sequence: int, source: Address, destination: Address) -> bytes:
    """`message` with its trailer. Over IPv6 its checksum is made anew, for there it covers the trailer too.

    The HMAC does not cover the destination: copies to several peers share `sequence` and HMAC.
    """
    unsigned = Trailer(key_id=key_id, sequence=sequence)
    trailer = encode_trailer(msgspec.structs.replace(unsigned, hmac=hmac_of(key, message, unsigned, source)))
    if len(source) == 4:
        return message + trailer
    whole = message + trailer
    checksum = checksum_of(whole, source, destination, ChecksumForm.PSEUDO_HEADER)
    return whole[:6] + checksum.to_bytes(2, "big") + whole[8:]
