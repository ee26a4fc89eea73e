"""What a slot sends: packets made ready, and made authentic just before they leave where that must be."""

import socket
from collections.abc import Iterable, Sequence
from enum import Enum

from holdfast.base.address import Address
from holdfast.config.plan import Settings
from holdfast.edge.clock import wall_ns
from holdfast.kernel.advert_sockets import broadcast_on, destination, leave_by, open_broadcaster, open_sender
from holdfast.kernel.batches import JoinedBatch, SendBatch
from holdfast.vrrp.config import RESIGN, AuthType, Family, InstanceConfig, OldChecksum
from holdfast.vrrp.packet import Advert, ChecksumForm, encode_ipv4, encode_vrrp
from holdfast.vrrp.receive import Guard

TOGETHER = 64  # so many slots are signed before they leave, so that the first of a thousand need not wait
SOCKET_FAMILY = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}

Messages = list[tuple[bytes, bytes, bytes]]


class Sender(Enum):
    """A socket adverts leave through; each serves every interface."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"
    CARP_IPV6 = "CARP over IPv6"  # its checksum leaves the pseudo header out
    BROADCAST = "broadcast frames"


def sender_of(config: InstanceConfig) -> Sender:
    """Through which socket the adverts of an instance leave."""
    if config.family == Family.IPV4:
        return Sender.BROADCAST if config.carp is not None and config.carp.broadcast else Sender.IPV4
    return Sender.IPV6 if config.carp is None else Sender.CARP_IPV6


def open_for(sender: Sender) -> socket.socket:
    """The socket; KernelRefused on refusal."""
    if sender is Sender.BROADCAST:
        return open_broadcaster()
    family = socket.AF_INET if sender is Sender.IPV4 else socket.AF_INET6
    return open_sender(family, covers_header=sender is not Sender.CARP_IPV6)


class Outgoing:
    """The packets of a slot: as it regularly advertises, and as it resigns."""

    __slots__ = ("batch", "guard", "resign", "views")

    def __init__(self, fd: int, regular: Messages, resign: Messages, guard: Guard | None) -> None:
        self.batch = SendBatch(fd, regular)
        self.resign = resign
        self.guard = guard
        self.views = views_of(self.batch) if guard is not None else []

    def to_send(self, priority: int) -> SendBatch:
        """The packets of one advert, authentic if they must be. Any priority but RESIGN is the router's own."""
        if priority != RESIGN:
            if self.guard is not None:
                self.guard.renew(self.views, wall_ns())
            return self.batch
        batch = SendBatch(self.batch.fd, self.resign)
        if self.guard is not None:
            self.guard.renew(views_of(batch), wall_ns())
        return batch


def views_of(batch: SendBatch) -> list[memoryview]:
    """The octets of each message of a batch, to be changed in place."""
    return [batch.payload(number) for number in range(batch.count)]


class Together:
    """Part of a beat: what leaves in one system call, whose adverts they are, and which must be made authentic."""

    __slots__ = ("guarded", "joined", "slots")

    def __init__(self, members: Sequence[tuple[int, Outgoing]]) -> None:
        self.slots = [slot for slot, _ in members]
        self.joined = JoinedBatch([outgoing.batch for _, outgoing in members])
        self.guarded = [(outgoing.guard, outgoing.views) for _, outgoing in members if outgoing.guard is not None]

    def send(self) -> list[tuple[int, int]]:
        """(slot, errno) of what failed."""
        if self.guarded:
            wall = wall_ns()
            for guard, views in self.guarded:
                guard.renew(views, wall)
        return [(self.slots[position], errno) for position, errno in self.joined.send()]


def in_parts(sockets: Iterable[list[tuple[int, Outgoing]]]) -> Iterable[list[tuple[int, Outgoing]]]:
    """What leaves together: all of a socket, but where many must be made authentic, so many at a time."""
    for members in sockets:
        few = TOGETHER if any(outgoing.guard is not None for _, outgoing in members) else len(members)
        for start in range(0, len(members), few):
            yield members[start : start + few]


def messages_of(
    config: InstanceConfig, source: Address, priority: int, index: int, guard: Guard | None
) -> Messages:
    """One advert, a copy a target: octets, destination and ancillary octets, as `SendBatch` wants them."""
    if config.carp is not None and guard is not None:
        return _carp_messages(config, source, priority, index, guard)
    advert = Advert(
        version=config.version,
        vrid=config.vrid,
        priority=priority,
        addresses=tuple(address.address for address in config.addresses),
        adver_interval_ns=config.adver_interval_ns,
        auth_type=config.auth_type,
        auth_data=config.auth_pass if config.auth_type is AuthType.PASS else bytes(8),
    )
    if config.checksum_as_v2:
        form = ChecksumForm.MESSAGE_ONLY
    elif config.unicast and config.old_checksum is OldChecksum.ALWAYS:
        form = ChecksumForm.OLD_MULTICAST
    else:
        form = ChecksumForm.PSEUDO_HEADER
    targets = _targets(config)
    family = SOCKET_FAMILY[config.family]
    hops = 255 if config.unicast_ttl is None or not config.unicast else config.unicast_ttl
    messages = []
    for target in targets:
        octets = encode_vrrp(advert, source=source, destination=target, checksum_form=form)
        if guard is not None:
            octets = guard.enclose(octets, source, target, hops)
        elif config.family == Family.IPV4:
            octets = encode_ipv4(octets, source, target, ttl=hops)
        if config.family == Family.IPV4:
            control = leave_by(family, index) if index else b""
        else:
            hop_limit = None if config.unicast and config.unicast_ttl is None else hops
            control = leave_by(family, index, source, hop_limit)
        messages.append((octets, destination(target, index), control))
    return messages


def _targets(config: InstanceConfig) -> list[Address]:
    return [config.group] if config.group is not None else [peer.address for peer in config.unicast_peers]


def _carp_messages(config: InstanceConfig, source: Address, priority: int, index: int, guard: Guard) -> Messages:
    from holdfast.carp.guard import message_of

    octets = message_of(config, priority)
    if config.carp is not None and config.carp.broadcast and config.group is not None:
        return [(guard.enclose(octets, source, config.group, 255), broadcast_on(index), b"")]
    family, ipv6 = SOCKET_FAMILY[config.family], config.family == Family.IPV6
    control = leave_by(family, index, source, 255) if ipv6 else leave_by(family, index) if index else b""
    return [
        (guard.enclose(octets, source, target, 255), destination(target, index), control) for target in _targets(config)
    ]


def receive_buffer_bytes(config: InstanceConfig, settings: Settings, mtu: int) -> int | None:
    """What a receive socket should hold, if the operator has a wish; the kernel counts its own share too.

    `mtu`: of the interface, 0 when it is not there.
    """
    if config.receive_buffer_bytes is not None:
        return config.receive_buffer_bytes
    if settings.receive_buffer_policy.isdigit():
        return int(settings.receive_buffer_policy)
    if settings.receive_buffer_policy == "MTU" and mtu:
        return settings.receive_buffer_multiplier * mtu
    if settings.receive_buffer_policy == "ADVERT":
        size = 16 if config.family == Family.IPV6 else 4
        return settings.receive_buffer_multiplier * (40 + 16 + size * len(config.addresses))
    return None
