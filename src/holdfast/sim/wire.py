"""What travels in the simulated world: adverts as octets, addressed as the edge would, and the weather on their way."""

from random import Random

import msgspec

from holdfast.base.address import Address, text
from holdfast.base.time import Nanoseconds
from holdfast.carp.guard import message_of
from holdfast.vrrp.config import RESIGN, AuthType, Family, InstanceConfig, OldChecksum
from holdfast.vrrp.machine import Standing
from holdfast.vrrp.packet import Advert, ChecksumForm, encode_vrrp
from holdfast.vrrp.receive import ReceivedPacket

HOPS = 255


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to packets on their way, and how punctual the hosts are. Chances are from 0 to 1.

    A packet takes a time drawn evenly from `delay_ns`, and none overtakes another of its path, unless `reorder` is the
    chance that one takes `reorder_ns` longer. `late_ns`: a host handles a timer up to so much after it ran out.
    """

    loss: float = 0.0
    delay_ns: tuple[Nanoseconds, Nanoseconds] = (0, 0)
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ns: Nanoseconds = 50_000_000
    late_ns: Nanoseconds = 0

    def arrivals(self, chance: Random) -> tuple[Nanoseconds, ...]:
        """After how long the copies of one packet arrive; none when it is lost."""
        if self.loss and chance.random() < self.loss:
            return ()
        copies = 2 if self.duplicate and chance.random() < self.duplicate else 1
        return tuple(self._delay(chance) for _ in range(copies))

    def _delay(self, chance: Random) -> Nanoseconds:
        least, most = self.delay_ns
        delay = least if most <= least else chance.randint(least, most)
        if self.reorder and chance.random() < self.reorder:
            delay += self.reorder_ns
        return delay


CLEAR = Weather()
"""Packets arrive at once, timers are handled on the dot."""


class Frame:
    """One packet as it looks on the wire. Interned by `Frames`: the same octets are the same object."""

    __slots__ = ("packet", "vrid")

    def __init__(self, packet: ReceivedPacket) -> None:
        self.packet = packet
        self.vrid = packet.payload[1]

    def __repr__(self) -> str:
        packet = self.packet
        return f"<VRID {self.vrid} priority {packet.payload[2]} {text(packet.source)} > {text(packet.destination)}>"


class Frames:
    """Every frame ever sent in a world, so that comparing two is comparing identities."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, int, bytes], Frame] = {}

    def make(
        self, source: Address, target: Address, hops: int, octets: bytes, family: Family,
        ip_header: bytes = b"", ah: bytes = b"",
    ) -> Frame:  # fmt: skip
        """The frame that looks so."""
        key = (source, target, hops, ah + octets)
        found = self._known.get(key)
        if found is None:
            packet = ReceivedPacket(
                source=source, destination=target, ttl=hops, payload=octets, family=family, ip_header=ip_header, ah=ah
            )
            found = self._known[key] = Frame(packet)
        return found

    def of(self, config: InstanceConfig, standing: Standing) -> tuple[tuple[Frame, ...], tuple[Frame, ...]]:
        """A slot's frames, one a target: as it regularly advertises, and as it resigns. None without a source."""
        if standing.primary is None:
            return (), ()
        return self._to_all(config, standing.primary, standing.priority), self._to_all(config, standing.primary, RESIGN)

    def _to_all(self, config: InstanceConfig, source: Address, priority: int) -> tuple[Frame, ...]:
        advert = Advert(
            version=config.version,
            vrid=config.vrid,
            priority=priority,
            addresses=tuple(address.address for address in config.addresses),
            adver_interval_ns=config.adver_interval_ns,
            auth_type=config.auth_type,
            auth_data=config.auth_pass.ljust(8, b"\0") if config.auth_type is AuthType.PASS else bytes(8),
        )
        form = ChecksumForm.PSEUDO_HEADER
        if config.checksum_as_v2:
            form = ChecksumForm.MESSAGE_ONLY
        elif config.unicast and config.old_checksum is OldChecksum.ALWAYS:
            form = ChecksumForm.OLD_MULTICAST
        targets = [config.group] if config.group is not None else [peer.address for peer in config.unicast_peers]
        hops = HOPS if config.unicast_ttl is None or not config.unicast else config.unicast_ttl
        made = []
        for target in targets:
            octets = (
                encode_vrrp(advert, source=source, destination=target, checksum_form=form)
                if config.carp is None
                else message_of(config, priority)
            )
            header = ah = b""
            if config.guarded:
                from holdfast.sim.seal import sealed

                octets, header, ah = sealed(config, octets, source, target, hops)
            made.append(self.make(source, target, hops, octets, config.family, header, ah))
        return tuple(made)

    def one_hop_on(self, frame: Frame) -> Frame:
        """The frame after a router has passed it on."""
        packet = frame.packet
        about = packet.ip_header, packet.ah
        return self.make(packet.source, packet.destination, packet.ttl - 1, packet.payload, packet.family, *about)
