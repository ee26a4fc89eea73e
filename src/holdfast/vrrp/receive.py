"""The receive checks (RFC 3768 §7.1, RFC 9568 §7.1), in keepalived's order, each with a counter of its own."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from holdfast.base.address import Address, is_multicast, text
from holdfast.base.time import CENTISECOND, SECOND, Nanoseconds
from holdfast.vrrp.config import RESIGN, AuthType, Family, InstanceConfig, OldChecksum
from holdfast.vrrp.packet import (
    ADVERTISEMENT,
    AUTH_BYTES,
    Advert,
    ChecksumForm,
    Malformed,
    checksum_of,
    decode_vrrp,
    message_bytes,
)

TRAILER_BYTES = 28
"""What `auth_hmac` puts behind a message (`vrrp/hmac_trailer.py`)."""

KNOWN_AUTH = {AuthType.NONE, AuthType.PASS, AuthType.AH}


class RejectReason(StrEnum):
    """Why a packet was refused: the counter's name."""

    LENGTH = "packet_len_err"
    TTL = "ip_ttl_err"
    VERSION = "version_err"
    TYPE = "invalid_type_rcvd"
    INTERVAL = "advert_interval_err"
    AUTH_TYPE = "invalid_authtype"
    AUTH_MISMATCH = "authtype_mismatch"
    AUTH_FAILURE = "auth_failure"
    CHECKSUM = "checksum_err"
    DESTINATION = "destination_err"
    UNICAST_SOURCE = "unicast_src_err"
    OWNER = "owner_ignored"
    AH_REPLAY = "ah_replay"
    HMAC_MISSING = "auth_ext_missing"
    HMAC_MALFORMED = "auth_ext_malformed"
    HMAC_UNKNOWN_KEY = "auth_ext_unknown_key"
    HMAC_INVALID = "auth_ext_invalid_hmac"
    HMAC_STALE = "auth_ext_stale"
    HMAC_REPLAY = "auth_ext_replay"
    CARP_HEARD = "carp_on_vrid"  # CARP where VRRP is configured, and the other way round
    VRRP_HEARD = "vrrp_on_vhid"
    CARP_REPLAY = "carp_replay"
    CARP_STALE = "carp_stale"


class PacketRejected(msgspec.Struct, frozen=True):
    """A packet that takes no part; `text` has the source, what came and what was expected."""

    reason: RejectReason
    text: str


class ReceivedPacket(msgspec.Struct, frozen=True, kw_only=True):
    """A VRRP message and what its IP header said. `payload` ends where the IP header says it does.

    `ah` and `ip_header` are there when an Authentication Header stood before the message; `wall_ns` is the time of day
    of the arrival, ns since 1970, for those who look at signatures.
    """

    source: Address
    destination: Address
    ttl: int
    payload: bytes
    family: Family
    ah: bytes = b""
    ip_header: bytes = b""
    wall_ns: int = 0


class Guard(Protocol):
    """Authentication that remembers: of one virtual router, what it sent and took. `vrrp/guard.py` has both kinds."""

    @property
    def number(self) -> int:
        """The sequence number all routers of the VRID share (AH); 0 where there is no such thing."""

    def count_from(self, number: int) -> None:
        """Send above `number` from now on, where routers share a count."""

    def configure(self, config: InstanceConfig) -> None:
        """Go on with another configuration; what was sent and taken stays known."""

    def judge(self, packet: ReceivedPacket, said: int, remarks: list[str]) -> PacketRejected | None:
        """Why the packet, whose message has `said` octets, isn't authentic; None when it is, which is remembered."""

    def enclose(self, message: bytes, source: Address, target: Address, hops: int) -> bytes:
        """What leaves (IPv4: from the IP header on), with room for what `renew` fills in."""

    def renew(self, packets: Sequence[memoryview], wall_ns: int) -> None:
        """Make the packets of one advert, a copy a peer, authentic now, in place."""


_NOBODY: frozenset[Address] = frozenset()
_UNBOUNDED: dict[bytes, tuple[int, int]] = {}


class ReceiveRules(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance accepts, worked out from its configuration once."""

    vrid: int
    version: int
    family: Family
    unicast: bool
    adver_interval_ns: Nanoseconds
    auth_type: AuthType
    auth_pass: bytes
    signed: bool  # `auth_hmac`: a trailer is looked at
    addresses: tuple[Address, ...]
    peers: frozenset[Address]
    ttl_bounds: dict[bytes, tuple[int, int]]
    group: Address | None
    check_unicast_source: bool
    checksum_as_v2: bool
    old_checksum: OldChecksum
    skip_check_adv_addr: bool
    owner_ignores: bool

    @classmethod
    def from_config(cls, config: InstanceConfig) -> "ReceiveRules":
        """The rules of an instance."""
        addresses = tuple(address.address for address in config.addresses)
        bounds = {
            bytes(peer.address): (peer.min_ttl or 0, 255 if peer.max_ttl is None else peer.max_ttl)
            for peer in config.unicast_peers
            if peer.min_ttl is not None or peer.max_ttl is not None
        }
        return cls(
            vrid=config.vrid,
            version=config.version,
            family=config.family,
            unicast=config.unicast,
            adver_interval_ns=config.adver_interval_ns,
            auth_type=config.auth_type,
            auth_pass=config.auth_pass,
            signed=config.auth_hmac is not None,
            addresses=addresses,
            peers=frozenset(peer.address for peer in config.unicast_peers) if config.unicast_peers else _NOBODY,
            ttl_bounds=bounds or _UNBOUNDED,
            group=config.group,
            check_unicast_source=config.check_unicast_source or bool(bounds),
            checksum_as_v2=config.checksum_as_v2,
            old_checksum=config.old_checksum,
            skip_check_adv_addr=config.skip_check_adv_addr,
            owner_ignores=config.owner_ignore_adverts and config.priority == 255,
        )

    def meant_for(self, source: Address, destination: Address) -> bool:
        """Whether a packet belongs to this instance rather than to another one of the same VRID and interface."""
        if self.unicast:
            return not is_multicast(destination) and source in self.peers
        return destination == self.group


def receive(rules: ReceiveRules, packet: ReceivedPacket, guard: Guard | None = None) -> Advert | PacketRejected:
    """The advert, if the packet passes every check; else why not. Never raises, whatever the octets.

    `guard` is the instance's, without which nothing passes where AH or `auth_hmac` is configured.
    """
    payload = packet.payload
    remarks: list[str] = []
    problem = _length(rules, packet) or _header(rules, packet)
    if problem is None and rules.signed:
        problem = _guarded(guard, packet, remarks)
    if problem is not None:
        return problem
    try:
        advert = decode_vrrp(payload, packet.family == Family.IPV6)
    except Malformed as wrong:
        return PacketRejected(RejectReason.LENGTH, f"{wrong} (from {text(packet.source)})")
    if advert.version == 2:
        problem = _authentication(rules, packet, advert, guard, remarks) or _interval(rules, packet, advert)
    if problem is None and advert.type != ADVERTISEMENT:
        line = f"Invalid packet type from {text(packet.source)}. {advert.type} and expect 1"
        problem = PacketRejected(RejectReason.TYPE, line)
    if problem is None and advert.version == 3:
        problem = _interval(rules, packet, advert)
    if problem is not None:
        return problem
    return _checksum(rules, packet, advert, remarks) or _sender(rules, packet) or _addresses(
        rules, packet, advert, remarks
    )


def _length(rules: ReceiveRules, packet: ReceivedPacket) -> PacketRejected | None:
    size = len(packet.payload)
    if size < 8:
        line = f"vrrp packet from {text(packet.source)} too short, {size} octets of VRRP and expect 8 or more"
        return PacketRejected(RejectReason.LENGTH, line)
    ipv6 = packet.family == Family.IPV6
    said = said_bytes(packet)
    header = 40 if ipv6 else 20 + len(packet.ah)
    if rules.signed and size == said + TRAILER_BYTES:
        return None
    if size < said:
        line = f"vrrp packet from {text(packet.source)} too short, length {size + header} and expect {said + header}"
        return PacketRejected(RejectReason.LENGTH, line)
    # Ethernet pads to 46 octets, and some senders count the padding into the IP length
    if size > said and size + header > 46:
        line = f"vrrp packet from {text(packet.source)} too long, length {size + header} and expect {said + header}"
        return PacketRejected(RejectReason.LENGTH, line)
    return None


def _header(rules: ReceiveRules, packet: ReceivedPacket) -> PacketRejected | None:
    source = packet.source
    if packet.ttl != 255 and not rules.unicast:
        line = f"invalid TTL/HL from {text(source)}. Received {packet.ttl} and expect 255"
        return PacketRejected(RejectReason.TTL, line)
    version = packet.payload[0] >> 4
    if version != rules.version:
        line = f"wrong VRRP version from {text(source)}. Received {version} and expect {rules.version}"
        return PacketRejected(RejectReason.VERSION, line)
    return None


def said_bytes(packet: ReceivedPacket) -> int:
    """How long the message in a packet of 8 octets or more says it is."""
    return message_bytes(packet.payload[0] >> 4, packet.family == Family.IPV6, packet.payload[3])


def _guarded(guard: Guard | None, packet: ReceivedPacket, remarks: list[str]) -> PacketRejected | None:
    if guard is None:
        line = f"advert from {text(packet.source)} cannot be judged: its authentication is not ready yet"
        return PacketRejected(RejectReason.AUTH_FAILURE, line)
    return guard.judge(packet, said_bytes(packet), remarks)


def _authentication(
    rules: ReceiveRules, packet: ReceivedPacket, advert: Advert, guard: Guard | None, remarks: list[str]
) -> PacketRejected | None:
    if packet.family == Family.IPV6:
        return None
    source = text(packet.source)
    if advert.auth_type not in KNOWN_AUTH:
        return PacketRejected(RejectReason.AUTH_TYPE, f"Invalid auth type from {source}: {advert.auth_type}")
    if advert.auth_type != rules.auth_type:
        line = f"received a {advert.auth_type} auth from {source}, expecting {int(rules.auth_type)}!"
        return PacketRejected(RejectReason.AUTH_MISMATCH, line)
    if rules.auth_type is AuthType.AH:
        if packet.ah:
            return _guarded(guard, packet, remarks)
        line = f"advert from {source} says auth type 2 and has no Authentication Header"
        return PacketRejected(RejectReason.AUTH_FAILURE, line)
    if rules.auth_type is AuthType.PASS and not _same(advert.auth_data, rules.auth_pass.ljust(AUTH_BYTES, b"\0")):
        return PacketRejected(RejectReason.AUTH_FAILURE, f"received an invalid passwd from {source}!")
    return None


def _same(left: bytes, right: bytes) -> bool:
    """Equality in constant time."""
    difference = len(left) ^ len(right)
    for a, b in zip(left, right, strict=False):
        difference |= a ^ b
    return difference == 0


def _interval(rules: ReceiveRules, packet: ReceivedPacket, advert: Advert) -> PacketRejected | None:
    if advert.version == 2 and advert.adver_interval_ns != rules.adver_interval_ns:
        mine, theirs = rules.adver_interval_ns // SECOND, advert.adver_interval_ns // SECOND
        line = f"advertisement interval mismatch with {text(packet.source)} mine={mine} sec rcv'd={theirs} sec"
        return PacketRejected(RejectReason.INTERVAL, line)
    if advert.adver_interval_ns == 0:
        line = f"advertisement interval 0 from {text(packet.source)}: a backup cannot wait for it"
        return PacketRejected(RejectReason.INTERVAL, line)
    return None


def _checksum(
    rules: ReceiveRules, packet: ReceivedPacket, advert: Advert, remarks: list[str]
) -> PacketRejected | None:
    """IPv4 only: the kernel has checked IPv6's. Both v3 forms count, and for unicast the old one with 224.0.0.18."""
    if packet.family == Family.IPV6:
        return None
    size = message_bytes(advert.version, False, len(advert.addresses))
    message = packet.payload[:size]
    source = text(packet.source)

    def fits(form: ChecksumForm) -> bool:
        # in one's complement ffff is 0 too, and the sum over all comes out right with either (RFC 1071 §1)
        return (checksum_of(message, packet.source, packet.destination, form) - advert.checksum) % 0xFFFF == 0

    if advert.version == 2:
        if fits(ChecksumForm.MESSAGE_ONLY):
            return None
        return PacketRejected(RejectReason.CHECKSUM, f"Invalid VRRPv2 checksum from {source}")
    if fits(ChecksumForm.PSEUDO_HEADER):
        if rules.checksum_as_v2:
            remarks.append(f"{source} sends checksums with the pseudo header, we without (v3_checksum_as_v2)")
        return None
    if fits(ChecksumForm.MESSAGE_ONLY):
        if not rules.checksum_as_v2:
            remarks.append(f"{source} sends VRRPv3 checksums without the pseudo header (RFC 9568); accepted")
        return None
    if rules.unicast and rules.old_checksum is not OldChecksum.NEVER and fits(ChecksumForm.OLD_MULTICAST):
        remarks.append(f"{source} sends the old unicast VRRPv3 checksum (with 224.0.0.18); accepted")
        return None
    return PacketRejected(RejectReason.CHECKSUM, f"Invalid VRRPv3 checksum from {source}")


def _sender(rules: ReceiveRules, packet: ReceivedPacket) -> PacketRejected | None:
    source = text(packet.source)
    if rules.unicast == is_multicast(packet.destination):
        got, want = ("multicast", "unicast") if rules.unicast else ("unicast", "multicast")
        return PacketRejected(RejectReason.DESTINATION, f"received a {got} advert from {source}, we speak {want}")
    if not rules.unicast and packet.destination != rules.group:
        line = f"received an advert for {text(packet.destination)} from {source}, we listen to another group"
        return PacketRejected(RejectReason.DESTINATION, line)
    if rules.owner_ignores:
        line = f"advert from {source} ignored: we own the addresses (priority 255)"
        return PacketRejected(RejectReason.OWNER, line)
    if rules.unicast and rules.check_unicast_source:
        if packet.source not in rules.peers:
            return PacketRejected(RejectReason.UNICAST_SOURCE, f"unicast source address {source} not a unicast peer")
        least, most = rules.ttl_bounds.get(bytes(packet.source), (0, 255))
        if not least <= packet.ttl <= most:
            line = f"TTL {packet.ttl} of {source} is not within {least} to {most} (min_ttl, max_ttl)"
            return PacketRejected(RejectReason.TTL, line)
    return None


def _addresses(rules: ReceiveRules, packet: ReceivedPacket, advert: Advert, remarks: list[str]) -> Advert:
    """The address list may differ, but somebody should hear of it. Resigning adverts are not held to it."""
    before = len(remarks)
    if advert.addresses != rules.addresses and not rules.skip_check_adv_addr and advert.priority != RESIGN:
        source = text(packet.source)
        if len(advert.addresses) != len(rules.addresses):
            remarks.append(f"expected {len(rules.addresses)} VIPs but received {len(advert.addresses)} from {source}")
        for missing in [address for address in rules.addresses if address not in advert.addresses]:
            remarks.append(
                f"ip address associated with VRID {rules.vrid} not present in advert from {source}: {text(missing)}"
            )
    counted = "addr_list_err" if len(remarks) > before else ""
    if advert.version == 3 and advert.adver_interval_ns != rules.adver_interval_ns:
        ours, theirs = rules.adver_interval_ns // CENTISECOND, advert.adver_interval_ns // CENTISECOND
        remarks.append(
            f"advertisement interval mismatch ours = {ours} centi-sec rcv'd={theirs} centi-sec "
            f"from {text(packet.source)}; taking theirs while it is master"
        )
    if not remarks:
        return advert
    strange = bool(counted) and is_strange(rules, advert)
    return msgspec.structs.replace(advert, remarks=tuple(remarks), counted=counted, stranger=strange)


def is_strange(rules: ReceiveRules, advert: Advert) -> bool:
    """Whether an advert names addresses, and none of them is ours: another group of routers uses our VRID."""
    return bool(advert.addresses and rules.addresses) and set(rules.addresses).isdisjoint(advert.addresses)


def strange_though_refused(rules: ReceiveRules, packet: ReceivedPacket) -> bool:
    """The same of a packet that was refused, as far as it can be read."""
    try:
        return is_strange(rules, decode_vrrp(packet.payload, packet.family == Family.IPV6))
    except Malformed:
        return False
