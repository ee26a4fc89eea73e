"""Authentication that remembers, of one virtual router: AH with its one count, `auth_hmac` with a mark for each sender.

Pure but for what it remembers; whoever sends and receives owns it and says what time of day it is. Only whoever was
configured for one of the two imports this module: hashlib costs the daemon memory.

Sources: RFC 2402, RFC 2338 §5.3.6.3, draft-cassen-vrrp-auth-hmac.
"""

from collections.abc import Sequence
from hmac import compare_digest
from hmac import digest as digest_of

from holdfast.base.address import Address, text
from holdfast.base.time import SECOND
from holdfast.vrrp.ah import (
    AH_BYTES,
    ICV_BYTES,
    AuthenticationHeader,
    decode_ah,
    encode_ah,
    encode_ah_packet,
    icv_is_valid,
    icv_of,
)
from holdfast.vrrp.config import AuthMode, Family, InstanceConfig
from holdfast.vrrp.hmac_trailer import HMAC_BYTES, HMAC_SHA256_128, TRAILER_BYTES, TRAILER_HEAD
from holdfast.vrrp.packet import VRRP_PROTOCOL, Malformed, encode_ipv4
from holdfast.vrrp.receive import Guard, PacketRejected, ReceivedPacket, RejectReason

IPV4_BYTES = 20
NO_HMAC = bytes(HMAC_BYTES)
SENDERS = 4
"""So many senders of a multicast group are told apart; the one silent longest makes room."""


def make_guard(config: InstanceConfig) -> Guard:
    """The guard of an instance with AH or `auth_hmac`."""
    return HmacGuard(config) if config.auth_hmac is not None else AhGuard(config)


def fits(guard: Guard, config: InstanceConfig) -> bool:
    """Whether a guard is of the kind the instance needs now."""
    return isinstance(guard, HmacGuard) == (config.auth_hmac is not None)


class AhGuard:
    """AH. One count for all routers of a VRID, the number last sent or taken: a new master counts on from the old."""

    __slots__ = ("_identification", "_keep_ttl", "_password", "number")

    def __init__(self, config: InstanceConfig) -> None:
        self.number = 0
        self._identification = 0
        self.configure(config)

    def configure(self, config: InstanceConfig) -> None:
        """Go on with another configuration."""
        self._password = config.auth_pass.rstrip(b"\0")
        self._keep_ttl = not config.unicast

    def count_from(self, number: int) -> None:
        """Send above `number` from now on."""
        self.number = max(self.number, number)

    def judge(self, packet: ReceivedPacket, said: int, remarks: list[str]) -> PacketRejected | None:
        """The ICV, the SPI, then the count, which must grow."""
        source = text(packet.source)
        try:
            header = decode_ah(packet.ah)
        except Malformed as wrong:
            return PacketRejected(RejectReason.AUTH_FAILURE, f"IPSEC-AH : {wrong} from {source}")
        fits = len(header.icv) == ICV_BYTES and header.next_header == VRRP_PROTOCOL
        if not fits or not icv_is_valid(
            self._password, packet.ip_header, header, packet.payload, keep_ttl=self._keep_ttl
        ):
            line = f"IPSEC-AH : invalid IPSEC HMAC-MD5 value. Due to fields mutation or bad password ! (from {source})"
            return PacketRejected(RejectReason.AUTH_FAILURE, line)
        if header.spi != int.from_bytes(packet.source, "big"):
            line = f"IPSEC-AH : invalid IPSEC SPI value {header.spi:#010x} from {source}"
            return PacketRejected(RejectReason.AUTH_FAILURE, line)
        if header.sequence_number <= self.number:
            line = (
                f"IPSEC-AH : sequence number {header.sequence_number} already processed. Packet dropped. "
                f"Local({self.number}) (from {source})"
            )
            return PacketRejected(RejectReason.AH_REPLAY, line)
        self.number = header.sequence_number
        return None

    def enclose(self, message: bytes, source: Address, target: Address, hops: int) -> bytes:
        """The whole packet, its number, identification and ICV to be filled in."""
        return encode_ah_packet(
            message,
            source=source,
            destination=target,
            password=self._password,
            sequence_number=0,
            identification=1,
            keep_ttl=self._keep_ttl,
            ttl=hops,
        )

    def renew(self, packets: Sequence[memoryview], wall_ns: int) -> None:
        """One number and one identification (1..65535: the kernel replaces 0) for every copy, an ICV for each."""
        self.number = min(self.number + 1, 0xFFFFFFFF)
        self._identification = self._identification % 0xFFFF + 1
        for view in packets:
            view[4:6] = self._identification.to_bytes(2, "big")
            view[10:12] = b"\0\0"  # the kernel fills the header's checksum in
            header = AuthenticationHeader(
                spi=int.from_bytes(view[12:16], "big"), sequence_number=self.number
            )
            view[IPV4_BYTES : IPV4_BYTES + AH_BYTES] = encode_ah(header)
            message = bytes(view[IPV4_BYTES + AH_BYTES :])
            icv = icv_of(self._password, bytes(view[:IPV4_BYTES]), header, message, keep_ttl=self._keep_ttl)
            view[IPV4_BYTES + AH_BYTES - ICV_BYTES : IPV4_BYTES + AH_BYTES] = icv


class HmacGuard:
    """`auth_hmac`. `marks` holds the highest sequence taken from each sender, the one heard last at the end."""

    __slots__ = ("_active", "_auth", "_front", "_keys", "_peers", "_skewed", "_source", "_unicast", "marks", "sequence")

    def __init__(self, config: InstanceConfig) -> None:
        self.sequence = 0  # the one sent last; 0: none yet
        self.marks: dict[Address, int] = {}
        self._source = Address(bytes(4))  # where our adverts come from
        self.configure(config)

    def configure(self, config: InstanceConfig) -> None:
        """Go on with other keys, another mode or window."""
        assert config.auth_hmac is not None
        auth = self._auth = config.auth_hmac
        self._keys = {key.id: key.secret for key in auth.keys}
        self._active = self._keys[auth.active_key]
        self._front = bytes((4 if config.family == Family.IPV4 else 6, config.version, config.vrid, 0))
        self._unicast = config.unicast
        self._peers = frozenset(peer.address for peer in config.unicast_peers)
        self._skewed: set[Address] = set()
        if self._unicast:
            self.marks = {sender: mark for sender, mark in self.marks.items() if sender in self._peers}

    @property
    def number(self) -> int:
        """Every sender has its own."""
        return 0

    def count_from(self, number: int) -> None:
        """The clock does that."""

    # ---- receiving --------------------------------------------------------------------------------------------------

    def judge(self, packet: ReceivedPacket, said: int, remarks: list[str]) -> PacketRejected | None:
        """Cheap checks first: a flood of old or foreign packets costs no HMAC."""
        source, auth = packet.source, self._auth
        if len(packet.payload) != said + TRAILER_BYTES:
            if auth.mode is not AuthMode.ENFORCE:
                return None
            line = f"missing authentication trailer from {text(source)}"
            return PacketRejected(RejectReason.HMAC_MISSING, line)
        if self._unicast and source not in self._peers:
            return PacketRejected(RejectReason.UNICAST_SOURCE, f"signed advert from {text(source)}, no unicast peer")
        kind, key_id, reserved, sequence = TRAILER_HEAD.unpack_from(packet.payload, said)
        if kind != HMAC_SHA256_128 or reserved:
            line = f"malformed authentication trailer from {text(source)}"
            return PacketRejected(RejectReason.HMAC_MALFORMED, line)
        now_s = packet.wall_ns // SECOND
        skew_s = _signed(now_s - (sequence >> 32), 32)
        if not auth.monotonic and abs(skew_s) > auth.time_window_s:
            line = (
                f"stale authentication trailer from {text(source)}, clock skew {skew_s} sec "
                f"exceeds window {auth.time_window_s} sec"
            )
            return PacketRejected(RejectReason.HMAC_STALE, line)
        key = self._keys.get(key_id)
        if key is None:
            line = f"unknown authentication key id {key_id} from {text(source)}"
            return PacketRejected(RejectReason.HMAC_UNKNOWN_KEY, line)
        digest = packet.payload[said + TRAILER_HEAD.size :]
        if not compare_digest(self._digest(key, source, packet.payload[: said + TRAILER_HEAD.size]), digest):
            return PacketRejected(RejectReason.HMAC_INVALID, f"invalid authentication HMAC from {text(source)}")
        if not self._grows(source, sequence, now_s):
            return PacketRejected(RejectReason.HMAC_REPLAY, f"replayed authentication trailer from {text(source)}")
        if not auth.monotonic and 2 * abs(skew_s) > auth.time_window_s and source not in self._skewed:
            self._skewed.add(source)
            remarks.append(
                f"authentication clock skew {skew_s} sec from {text(source)} "
                f"approaching window {auth.time_window_s} sec"
            )
        return None

    def _grows(self, source: Address, sequence: int, now_s: int) -> bool:
        """Whether `sequence` is above the sender's mark; then it is the mark."""
        mark = self.marks.get(source)
        # a mark from before a step of a clock is forgotten: nothing from then would pass the window
        forgotten = mark is None or (not self._auth.monotonic and self._outside(now_s, mark))
        if mark is not None and _signed(sequence - mark, 64) <= 0 and not forgotten:
            return False
        self.marks.pop(source, None)
        self.marks[source] = sequence
        if not self._unicast and len(self.marks) > SENDERS:
            gone = next(iter(self.marks))
            del self.marks[gone]
            self._skewed.discard(gone)
        return True

    def _digest(self, key: bytes, source: Address, octets: bytes) -> bytes:
        """The HMAC over a message and the trailer's head; family, version and VRID are the instance's own."""
        bare = b"".join((self._front, source.ljust(16, b"\0"), octets[:6], b"\0\0", octets[8:], NO_HMAC))
        return digest_of(key, bare, "sha256")[:HMAC_BYTES]

    def _outside(self, now_s: int, mark: int) -> bool:
        return abs(_signed(now_s - (mark >> 32), 32)) > self._auth.time_window_s

    # ---- sending ----------------------------------------------------------------------------------------------------

    def enclose(self, message: bytes, source: Address, target: Address, hops: int) -> bytes:
        """The message with room for a trailer where we sign; its checksum leaves the trailer out."""
        self._source = source
        octets = message + bytes(TRAILER_BYTES) if self._auth.signs else message
        return encode_ipv4(octets, source, target, ttl=hops) if len(source) == 4 else octets

    def renew(self, packets: Sequence[memoryview], wall_ns: int) -> None:
        """One trailer for every copy: it does not cover the destination."""
        if not self._auth.signs or not packets:
            return
        first = bytes(packets[0])
        message = first[IPV4_BYTES if len(self._source) == 4 else 0 : -TRAILER_BYTES]
        head = TRAILER_HEAD.pack(HMAC_SHA256_128, self._auth.active_key, 0, self.next_sequence(wall_ns))
        octets = head + self._digest(self._active, self._source, message + head)
        for view in packets:
            view[-TRAILER_BYTES:] = octets

    def next_sequence(self, wall_ns: int) -> int:
        """The number to send at that time of day: the clock's where it has moved on, else one more than the last."""
        seconds, rest = divmod(wall_ns, SECOND)
        clock = (seconds & 0xFFFFFFFF) << 32 | (rest << 16) // SECOND << 16
        last = self.sequence
        ahead_s = _signed((last >> 32) - seconds, 32)
        if not last or (not self._auth.monotonic and ahead_s > self._auth.time_window_s):
            self.sequence = clock  # the first, or the clock was put back: peers refuse what is so far ahead
        else:
            self.sequence = clock if _signed(clock - last, 64) > 0 else (last + 1) & 0xFFFFFFFFFFFFFFFF
        return self.sequence


def _signed(difference: int, bits: int) -> int:
    """A difference in serial number arithmetic (RFC 1982)."""
    half = 1 << bits - 1
    return (difference + half) % (1 << bits) - half
