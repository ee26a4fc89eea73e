"""A CARP instance to try things on: 192.0.2.1 with vhid 7 and password `swordfish`, in the state a test wants."""

from typing import Any

import msgspec

from holdfast.base.address import Address, parse
from holdfast.carp.config import CarpTerms, interval_ns
from holdfast.carp.guard import CarpGuard, message_of
from holdfast.vrrp.config import Family, InstanceConfig, UnicastPeer, VirtualAddress
from holdfast.vrrp.receive import ReceivedPacket
from holdfast.vrrp.states import Backup, Standing

NOW = 1_000_000_000_000
WALL = 1_700_000_000_000_000_000
OURS, THEIRS, LOWER = parse("192.0.2.5"), parse("192.0.2.9"), parse("192.0.2.2")
GROUP = parse("224.0.0.18")
VIP = parse("192.0.2.77")
PASSWORD = b"swordfish"


def instance(*, advbase: int = 1, advskew: int = 100, preempt: bool = False, **more: Any) -> InstanceConfig:
    """The instance; what CarpTerms has a word for goes there, the rest to the instance."""
    names = {field.name for field in msgspec.structs.fields(CarpTerms)}
    terms = CarpTerms(
        advbase=advbase, advskew=advskew, **{"password": PASSWORD} | {n: v for n, v in more.items() if n in names}
    )
    rest: dict[str, Any] = {"group": GROUP} | {name: value for name, value in more.items() if name not in names}
    return InstanceConfig(
        name="gate", vrid=7, interface="eth0", family=Family.IPV4, version=2, priority=terms.priority, carp=terms,
        adver_interval_ns=interval_ns(terms, terms.priority), preempt=preempt, down_timer_adverts=terms.dead_ratio,
        addresses=(VirtualAddress(address=VIP, prefix_length=24),), **rest,
    )  # fmt: skip


def standing(config: InstanceConfig, **more: Any) -> Standing:
    return Standing(config.priority, OURS, **more)


def backup(master: Address | None = THEIRS) -> Backup:
    return Backup(NOW + 1_000_000_000, 1_000_000_000, master, 254)


def unicast(config: InstanceConfig) -> InstanceConfig:
    return msgspec.structs.replace(config, group=None, unicast_peers=(UnicastPeer(address=THEIRS),))


def said(sender: CarpGuard, config: InstanceConfig, wall_ns: int = WALL, priority: int = 254) -> ReceivedPacket:
    """An advert of somebody with that configuration, from 192.0.2.9, as it arrives at that time of day."""
    packet = bytearray(sender.enclose(message_of(config, priority), THEIRS, GROUP, 255))
    sender.renew([memoryview(packet)], wall_ns)
    return ReceivedPacket(
        source=THEIRS, destination=GROUP, ttl=255, payload=bytes(packet[20:]), family=Family.IPV4, wall_ns=wall_ns
    )
