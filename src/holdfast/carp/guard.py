"""The counter and the HMAC of one CARP instance: made just before an advert leaves, judged when one arrives.

*The counter.* 64 bits that the receivers of ucarp and BSD only hash: BSD sends one number for ever, ucarp random ones.
Ours is the time of day in nanoseconds, and at least one more than the last: it grows across restarts with nothing
kept on a disk, and whoever wants can tell an old advert by it. That is `anti_replay`, for peers that are all holdfast:
a counter further than WINDOW_S from our clock, seen before, or not above the sender's last is refused.

*Without* `anti_replay` an advert of our own that somebody sends back is still known and refused, as BSD does. Nothing
else can be: a captured advert of a peer counts again, and its advskew and advbase are under no protection (CARP's own
weakness; ucarp has the same).
"""

from collections.abc import Sequence

from holdfast.base.address import Address, text
from holdfast.base.checksum import internet_checksum
from holdfast.base.time import SECOND, span_text
from holdfast.carp.config import advertised
from holdfast.carp.packet import CARP_BYTES, CarpAdvert, carp_hmac, decode_carp, encode_carp, hmac_is_valid
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.packet import encode_ipv4
from holdfast.vrrp.receive import Guard, PacketRejected, ReceivedPacket, RejectReason

WINDOW_S = 5
KEPT = 64
"""So many counters of our own, and as many of others, are remembered."""

LINK_LOCAL = b"\xfe\x80"
LOW_DELAY = 0x10
"""The type of service CARP's adverts have."""

_COUNTER, _HMAC, _CHECKSUM = slice(8, 16), slice(16, 36), slice(6, 8)


class CarpGuard:
    """What one CARP instance sent and took."""

    __slots__ = ("_addresses", "_anti_replay", "_every", "_marks", "_own", "_password", "_taken", "_vhid", "counter")

    def __init__(self, config: InstanceConfig) -> None:
        self.counter = 0  # the one sent last
        self._own: dict[int, None] = {}
        self._taken: dict[int, None] = {}
        self._marks: dict[Address, int] = {}
        self.configure(config)

    @property
    def number(self) -> int:
        """Every sender has its own."""
        return 0

    def count_from(self, number: int) -> None:
        """The clock does that."""

    def configure(self, config: InstanceConfig) -> None:
        """Go on with another password, other addresses."""
        assert config.carp is not None
        self._vhid = config.vrid
        self._password = config.carp.password
        self._anti_replay = config.carp.anti_replay
        self._every = tuple(address.address for address in config.addresses)
        # BSD signs without link-local addresses and believes either
        self._addresses = tuple(address for address in self._every if address[:2] != LINK_LOCAL)

    # ---- receiving --------------------------------------------------------------------------------------------------

    def judge(self, packet: ReceivedPacket, said: int, remarks: list[str]) -> PacketRejected | None:
        """The counter where it counts, then the HMAC; `said` is always 36."""
        advert, source = decode_carp(packet.payload), packet.source
        counter = advert.counter
        if counter in self._own:
            line = f"{text(source)} sent back an advert of our own: a loop, or a replay"
            return PacketRejected(RejectReason.CARP_REPLAY, line)
        skew_ns = counter - packet.wall_ns
        if self._anti_replay and abs(skew_ns) > WINDOW_S * SECOND:
            line = (
                f"stale CARP counter from {text(source)}: its clock and ours are {span_text(abs(skew_ns))} apart, "
                f"more than {WINDOW_S} s (anti_replay is for peers that are all holdfast)"
            )
            return PacketRejected(RejectReason.CARP_STALE, line)
        if not hmac_is_valid(advert, self._password, self._addresses) and (
            self._every == self._addresses or not hmac_is_valid(advert, self._password, self._every)
        ):
            line = f"wrong HMAC from {text(source)}: its password or its virtual addresses differ from ours"
            return PacketRejected(RejectReason.AUTH_FAILURE, line)
        if self._anti_replay and (counter in self._taken or counter <= self._marks.get(source, 0)):
            return PacketRejected(RejectReason.CARP_REPLAY, f"replayed CARP advert from {text(source)}")
        if self._anti_replay:
            _remember(self._taken, counter)
            self._marks.pop(source, None)
            self._marks[source] = counter
            if len(self._marks) > KEPT:
                del self._marks[next(iter(self._marks))]
        return None

    # ---- sending ----------------------------------------------------------------------------------------------------

    def enclose(self, message: bytes, source: Address, target: Address, hops: int) -> bytes:
        """The whole packet (IPv6: without its header, which the kernel makes), counter and HMAC to be filled in."""
        if len(target) == 16:
            return message
        return encode_ipv4(message, source, target, ttl=hops, tos=LOW_DELAY, dont_fragment=True)

    def renew(self, packets: Sequence[memoryview], wall_ns: int) -> None:
        """One counter and one HMAC for every copy, a checksum for each."""
        counter = self.counter = max(self.counter + 1, wall_ns) & 0xFFFFFFFFFFFFFFFF
        _remember(self._own, counter)
        digest = carp_hmac(self._password, self._vhid, self._addresses, counter)
        for view in packets:
            message = view[-CARP_BYTES:]
            message[_COUNTER] = counter.to_bytes(8, "big")
            message[_HMAC] = digest
            message[_CHECKSUM] = b"\0\0"
            message[_CHECKSUM] = internet_checksum(bytes(message)).to_bytes(2, "big")


def _remember(seen: dict[int, None], counter: int) -> None:
    seen[counter] = None
    if len(seen) > KEPT:
        del seen[next(iter(seen))]


def guard_of(known: Guard | None, config: InstanceConfig) -> Guard:
    """The guard of a CARP instance: the one known, if it is of this kind, with its new configuration."""
    if isinstance(known, CarpGuard):
        known.configure(config)
        return known
    return CarpGuard(config)


def message_of(config: InstanceConfig, priority: int) -> bytes:
    """The 36 octets that a router of that priority sends; a guard fills in what changes."""
    assert config.carp is not None
    advbase, advskew = advertised(config.carp, priority)
    return encode_carp(CarpAdvert(vhid=config.vrid, advbase=advbase, advskew=advskew, counter=0, hmac=bytes(20)))
