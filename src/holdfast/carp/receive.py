"""The receive checks of CARP, and who speaks what: VRRP and CARP share IP protocol 112, and often the first octet.

An advert of CARP has 36 octets that begin 0x21 and say 7 words of authentication (`looks_like_carp`); no VRRP message
looks so. What an instance speaks stands in its configuration; the other protocol on its number is told by name.
"""

import msgspec

from holdfast.base.address import Address, is_multicast, text
from holdfast.base.time import Nanoseconds
from holdfast.carp.config import priority_of
from holdfast.carp.packet import CARP_BYTES, checksum_is_valid, decode_carp, looks_like_carp
from holdfast.vrrp.config import Family, InstanceConfig
from holdfast.vrrp.packet import Advert, message_bytes
from holdfast.vrrp.receive import Guard, PacketRejected, ReceivedPacket, ReceiveRules, RejectReason, receive


class CarpRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a CARP instance accepts; the HMAC is its guard's (`carp/guard.py`)."""

    vhid: int
    group: Address | None  # None: unicast
    peers: frozenset[Address]

    def meant_for(self, source: Address, destination: Address) -> bool:
        """Whether a packet belongs to this instance rather than to another one of the same number and interface."""
        if self.group is None:
            return not is_multicast(destination) and source in self.peers
        return destination == self.group


class CarpHeard(msgspec.Struct, frozen=True, kw_only=True):
    """An advert that passed: what VRRP's `Advert` says of one."""

    priority: int
    adver_interval_ns: Nanoseconds
    remarks: tuple[str, ...] = ()
    counted: str = ""
    stranger: bool = False


Rules = ReceiveRules | CarpRules


def rules_of(config: InstanceConfig) -> Rules:
    """What an instance accepts, by its protocol."""
    if config.carp is None:
        return ReceiveRules.from_config(config)
    peers = frozenset(peer.address for peer in config.unicast_peers)
    return CarpRules(vhid=config.vrid, group=config.group, peers=peers)


def concerns(rules: Rules, message: bytes, source: Address, destination: Address) -> bool:
    """Whether a packet belongs to this instance, where several on the interface have the number."""
    carp = isinstance(rules, CarpRules)
    return carp == looks_like_carp(message) and rules.meant_for(source, destination)


def receive_either(
    rules: Rules, packet: ReceivedPacket, guard: Guard | None = None
) -> Advert | CarpHeard | PacketRejected:
    """As `vrrp.receive.receive`, of an instance of either protocol. Never raises, whatever the octets."""
    if isinstance(rules, CarpRules):
        return _wrong_kind(packet) or receive_carp(rules, packet, guard)
    if looks_like_carp(packet.payload):
        number, source = packet.payload[1], text(packet.source)
        line = f"{source} speaks CARP (vhid {number}) on our VRID: give one of the two another number"
        return PacketRejected(RejectReason.CARP_HEARD, line)
    return receive(rules, packet, guard)


def _wrong_kind(packet: ReceivedPacket) -> PacketRejected | None:
    """Something that is no CARP: VRRP by name, else what is wrong with it."""
    message, source = packet.payload, text(packet.source)
    if looks_like_carp(message):
        return None
    version, kind = message[0] >> 4, message[0] & 15
    vrrp = version in (2, 3) and kind == 1
    if vrrp and len(message) >= message_bytes(version, packet.family == Family.IPV6, message[3]):
        line = f"{source} speaks VRRPv{version} (VRID {message[1]}) on our vhid: give one of the two another number"
        return PacketRejected(RejectReason.VRRP_HEARD, line)
    if len(message) != CARP_BYTES:
        line = f"CARP packet from {source} has {len(message)} octets and expect {CARP_BYTES}"
        return PacketRejected(RejectReason.LENGTH, line)
    if version != 2:
        return PacketRejected(RejectReason.VERSION, f"CARP version {version} from {source} and expect 2")
    line = f"CARP packet from {source}: type {kind}, {message[3]} words of authentication, and expect 1 and 7"
    return PacketRejected(RejectReason.TYPE, line)


def receive_carp(rules: CarpRules, packet: ReceivedPacket, guard: Guard | None) -> CarpHeard | PacketRejected:
    """The advert, if it passes every check: cheap ones first, so that a flood costs no HMAC."""
    source = text(packet.source)
    if packet.ttl != 255:
        line = f"invalid TTL/HL from {source}. Received {packet.ttl} and expect 255"
        return PacketRejected(RejectReason.TTL, line)
    if (rules.group is None) == is_multicast(packet.destination):
        got, want = ("multicast", "unicast") if rules.group is None else ("unicast", "multicast")
        return PacketRejected(RejectReason.DESTINATION, f"received a {got} advert from {source}, we speak {want}")
    if rules.group is not None and packet.destination != rules.group:
        line = f"received an advert for {text(packet.destination)} from {source}, we listen to another group"
        return PacketRejected(RejectReason.DESTINATION, line)
    if rules.group is None and packet.source not in rules.peers:
        return PacketRejected(RejectReason.UNICAST_SOURCE, f"unicast source address {source} not a unicast peer")
    if not checksum_is_valid(packet.payload):
        return PacketRejected(RejectReason.CHECKSUM, f"Invalid CARP checksum from {source}")
    advert = decode_carp(packet.payload)
    if advert.interval_ns == 0:
        return PacketRejected(RejectReason.INTERVAL, f"advbase 0 and advskew 0 from {source}: nobody can keep to that")
    if guard is None:
        line = f"advert from {source} cannot be judged: its password is not ready yet"
        return PacketRejected(RejectReason.AUTH_FAILURE, line)
    wrong = guard.judge(packet, CARP_BYTES, [])
    if wrong is not None:
        return wrong
    return CarpHeard(priority=priority_of(advert.advbase, advert.advskew), adver_interval_ns=advert.interval_ns)
