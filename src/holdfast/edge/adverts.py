"""Adverts out and in: ready-made packets that leave in batches, and the routine ones absorbed on arrival.

*Out.* A slot's packets are made when its source or priority is known, never during a transition. One socket a family
serves all interfaces; a beat's packets leave in one system call.

*In.* One socket an interface and family. What is identical to a slot's watched advert is absorbed: in the kernel by a
BPF filter where that may be loaded, else here by comparing octets. All other packets go through `vrrp.receive`.
"""

import socket
from collections.abc import Callable, Iterable

from holdfast.base.address import Address, text
from holdfast.base.time import Nanoseconds
from holdfast.carp.packet import looks_like_carp
from holdfast.carp.receive import Rules, concerns, receive_either
from holdfast.edge.clock import monotonic_ns, wall_ns
from holdfast.edge.outgoing import (
    SOCKET_FAMILY,
    Outgoing,
    Sender,
    Together,
    in_parts,
    messages_of,
    open_for,
    sender_of,
)
from holdfast.engine.messages import AdvertArrived, AdvertRefused, EngineEvent, RoutineHeard
from holdfast.kernel.advert_sockets import (
    AH_PROTOCOL,
    CARP_OVER_IPV6,
    VRRP_PROTOCOL,
    open_receiver,
)
from holdfast.kernel.batches import JoinedBatch, ReceiveBatch, SendBatch
from holdfast.kernel.bpf import AdvertFilter, AdvertFilterUnavailable
from holdfast.vrrp.config import RESIGN, AuthType, Family, InstanceConfig
from holdfast.vrrp.machine import Standing
from holdfast.vrrp.packet import decode_vrrp
from holdfast.vrrp.receive import (
    Guard,
    PacketRejected,
    ReceivedPacket,
    ReceiveRules,
    said_bytes,
    strange_though_refused,
)

RECEIVE_PACKETS = 32
PACKET_BYTES = 2048
READ_BOUND = 8  # batches a read takes at most, so that a flood does not keep the timers waiting

PortKey = tuple[str, Family, int]  # interface, family, protocol


class Watched:
    """What a slot's routine advert looks like, and when it was last seen."""

    __slots__ = ("by_kernel", "count", "filter_base", "head", "last_at", "look", "said", "ttl", "word", "words")

    def __init__(self, look: bytes, ttl: int, by_kernel: bool) -> None:
        self.look = look
        self.head = look  # what must be the same again: all of it, but for a trailer that is judged
        self.said = 0  # where a guard judges: how long the message is
        self.ttl = ttl
        self.by_kernel = by_kernel
        self.filter_base = 0  # the filter's count when last asked
        self.last_at: Nanoseconds = 0
        self.count = 0
        self.words: memoryview | None = None  # the filter's map, and where in it the time stands
        self.word = 0

    def is_said_again(self, look: bytes) -> bool:
        """Whether an advert says the same."""
        return len(look) == len(self.look) and look.startswith(self.head)


class Arrived:
    """A packet as it came in: what a watch for its like needs to know."""

    __slots__ = ("ah", "ip_header", "length", "look", "message", "port", "source", "target", "ttl")

    def __init__(
        self, port: "Port", message: bytes, source: Address, target: Address, ttl: int, look: bytes, length: int
    ) -> None:
        self.ah = self.ip_header = b""
        self.port = port
        self.message = message
        self.source = source
        self.target = target
        self.ttl = ttl
        self.look = look
        self.length = length  # as the socket delivered it


class Port:
    """The receiving side of an interface, family, protocol: a socket, its filter, and the slots behind each VRID."""

    def __init__(self, key: PortKey, index: int, groups: tuple[Address, ...], buffer: int | None):
        self.key = key
        self.interface, self.family, self.protocol = key
        family = self.family
        self.index = index
        self.groups = set(groups)
        self.unfiltered = ""
        carp6 = self.protocol == CARP_OVER_IPV6
        self.socket = open_receiver(
            SOCKET_FAMILY[family], self.interface, index, groups, VRRP_PROTOCOL if carp6 else self.protocol,
            buffer_bytes=buffer, covers_header=not carp6,
        )  # fmt: skip
        self.batch = ReceiveBatch(self.socket.fileno(), RECEIVE_PACKETS, PACKET_BYTES)
        self.slots: dict[int, list[int]] = {}
        self.filter: AdvertFilter | None = None
        if self.protocol in (AH_PROTOCOL, CARP_OVER_IPV6):
            return  # no two are alike
        try:
            self.filter = AdvertFilter.attach(self.socket, SOCKET_FAMILY[family])
        except AdvertFilterUnavailable as reason:
            self.unfiltered = str(reason)

    def close(self) -> None:
        """Give the socket back."""
        if self.filter is not None:
            self.filter.close()
        self.socket.close()


class Adverts:
    """All sending and receiving of adverts."""

    def __init__(
        self,
        watch_fd: Callable[[int, Callable[[], None]], None],
        unwatch_fd: Callable[[int], None],
        handle: Callable[[EngineEvent, Nanoseconds], None],
    ) -> None:
        self._watch_fd = watch_fd
        self._unwatch_fd = unwatch_fd
        self._handle = handle
        self._senders: dict[Sender, socket.socket] = {}
        self._outgoing: dict[int, Outgoing] = {}
        self._beats: dict[int, tuple[int, list[Together]]] = {}
        self._ports: dict[PortKey, Port] = {}
        self._port_of: dict[int, Port] = {}
        self._beside: dict[int, Port] = {}  # where a slot with AH hears who speaks without
        self._guards: dict[int, Guard] = {}
        self._rules: dict[int, tuple[int, Rules]] = {}
        self._watched: dict[int, Watched] = {}
        self._current: Arrived | None = None  # the packet being handled
        self.unknown_vrids: dict[tuple[str, int], int] = {}
        self.filter_unavailable = ""
        self.refused: list[tuple[int, str]] = []

    # ---- out --------------------------------------------------------------------------------------------------------

    def ready(self, slot: int, config: InstanceConfig, standing: Standing, index: int) -> None:
        """Make the packets of a slot: they change with its priority, its source and its interface."""
        self._beats.clear()
        self._outgoing.pop(slot, None)
        if standing.primary is None:
            return
        kind = sender_of(config)
        sender = self._senders.get(kind)
        if sender is None:
            sender = self._senders[kind] = open_for(kind)
        guard = self._guard(slot, config)
        self._outgoing[slot] = Outgoing(
            sender.fileno(),
            messages_of(config, standing.primary, standing.priority, index, guard),
            messages_of(config, standing.primary, RESIGN, index, guard),
            guard,
        )

    def _guard(self, slot: int, config: InstanceConfig) -> Guard | None:
        """What makes and judges the slot's authentication, if it has any that changes from advert to advert."""
        if not config.guarded:
            self._guards.pop(slot, None)
            return None
        guard = self._guards.get(slot)
        if config.carp is not None:
            from holdfast.carp.guard import guard_of

            guard = self._guards[slot] = guard_of(guard, config)
            return guard
        from holdfast.vrrp.guard import fits, make_guard

        if guard is not None and fits(guard, config):
            guard.configure(config)
        else:
            guard = self._guards[slot] = make_guard(config)
        return guard

    def send_now(self, wanted: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """One advert each for (slot, priority), in one system call a family; (slot, errno) of what failed."""
        by_socket: dict[int, tuple[list[int], list[SendBatch]]] = {}
        for slot, priority in wanted:
            outgoing = self._outgoing.get(slot)
            if outgoing is None:
                continue
            batch = outgoing.to_send(priority)
            slots, batches = by_socket.setdefault(batch.fd, ([], []))
            slots.append(slot)
            batches.append(batch)
        failed = []
        for slots, batches in by_socket.values():
            if len(batches) == 1:
                batches[0].send()
                failed += [(slots[0], errno) for _, errno in batches[0].errors]
            else:
                failed += [(slots[position], errno) for position, errno in JoinedBatch(batches).send()]
        return failed

    def send_beat(self, beat: int, version: int, slots: list[int]) -> list[tuple[int, int]]:
        """The regular adverts of a beat, from arrays that are kept until its members change."""
        kept = self._beats.get(beat)
        if kept is None or kept[0] != version:
            by_socket: dict[int, list[tuple[int, Outgoing]]] = {}
            for slot in slots:
                outgoing = self._outgoing.get(slot)
                if outgoing is not None:
                    by_socket.setdefault(outgoing.batch.fd, []).append((slot, outgoing))
            kept = self._beats[beat] = (version, [Together(part) for part in in_parts(by_socket.values())])
        return [wrong for together in kept[1] for wrong in together.send()]

    # ---- in: ports --------------------------------------------------------------------------------------------------

    def configure(self, slot: int, config: InstanceConfig, index: int, rules: Rules, buffer: int | None) -> None:
        """Listen for a slot on its interface; KernelRefused when the kernel won't. Without the interface: not yet."""
        self.dismiss(slot)
        self._rules[slot] = (config.vrid, rules)
        self._guard(slot, config)
        if config.wire and not index:
            return
        groups = {config.group} if config.group is not None else set()
        if config.auth_type is AuthType.AH:  # and whoever speaks without is to be seen, not to be unheard
            carried = self._listen((config.wire, config.family, AH_PROTOCOL), index, groups, buffer)
            self._join(carried, config.vrid, slot, self._port_of)
        carp6 = config.carp is not None and config.family == Family.IPV6
        protocol = CARP_OVER_IPV6 if carp6 else VRRP_PROTOCOL
        plain = self._listen((config.wire, config.family, protocol), index, groups, buffer)
        self._join(plain, config.vrid, slot, self._port_of if slot not in self._port_of else self._beside)

    @staticmethod
    def _join(port: Port, vrid: int, slot: int, where: dict[int, Port]) -> None:
        port.slots.setdefault(vrid, []).append(slot)
        where[slot] = port

    def _listen(self, key: PortKey, index: int, groups: set[Address], buffer: int | None) -> Port:
        """The port, open for these groups too."""
        port = self._ports.get(key)
        if port is not None and port.index == index and groups <= port.groups:
            return port
        kept: dict[int, list[int]] = {}
        if port is not None:
            groups = groups | port.groups
            kept = port.slots
            for other in [other for slots in kept.values() for other in slots]:
                self._unwatch_and_tell(other)
            self._close(port)
        opened = Port(key, index, tuple(sorted(groups)), buffer)
        opened.slots = kept
        self._ports[key] = opened
        for where in (self._port_of, self._beside):
            where.update({slot: opened for slot, its in where.items() if its is port})
        self._watch_fd(opened.socket.fileno(), lambda: self._read(opened))
        if opened.unfiltered:
            self.filter_unavailable = opened.unfiltered
        return opened

    def dismiss(self, slot: int) -> None:
        """Listen no more for a slot; the port closes with its last one."""
        self._unwatch_and_tell(slot)
        vrid, _ = self._rules.pop(slot, (0, None))
        for port in (self._port_of.pop(slot, None), self._beside.pop(slot, None)):
            if port is None:
                continue
            slots = port.slots.get(vrid, [])
            if slot in slots:
                slots.remove(slot)
            if not slots:
                port.slots.pop(vrid, None)
            if not port.slots:
                self._close(port)

    def forget(self, slot: int) -> None:
        """The slot is gone for good."""
        self.dismiss(slot)
        self._outgoing.pop(slot, None)
        self._guards.pop(slot, None)
        self._beats.clear()

    def _close(self, port: Port) -> None:
        self._ports.pop(port.key, None)
        self._unwatch_fd(port.socket.fileno())
        port.close()

    # ---- in: watching -----------------------------------------------------------------------------------------------

    def watch(self, slot: int) -> None:
        """The packet just handed over is routine for `slot`."""
        arrived = self._current
        if arrived is None or self._port_of.get(slot) is not arrived.port:
            return
        port, vrid = arrived.port, arrived.message[1]
        guarded = slot in self._guards  # each must be judged
        by_kernel = not guarded and port.filter is not None and len(port.slots.get(vrid, ())) == 1
        watched = Watched(arrived.look, arrived.ttl, by_kernel)
        if guarded:
            watched.said = said_bytes(_packet(arrived, None))
            watched.head = arrived.look[: 2 * len(arrived.source) + watched.said]
        if slot in self._watched:
            watched.last_at, watched.count = self.heard(slot)
        if watched.by_kernel and port.filter is not None:
            head = arrived.message[:8]
            port.filter.watch(vrid, arrived.source, arrived.target, arrived.length, head, arrived.ttl)
            watched.words, watched.word = port.filter.stamp(vrid)
        self._watched[slot] = watched

    def unwatch(self, slot: int) -> tuple[Nanoseconds, int]:
        """Absorb nothing for `slot` any more; when it was last heard and how often since last asked."""
        heard = self.heard(slot)
        watched = self._watched.pop(slot, None)
        port = self._port_of.get(slot)
        if watched is not None and watched.by_kernel and port is not None and port.filter is not None:
            port.filter.unwatch(self._rules[slot][0])
        return heard

    def _unwatch_and_tell(self, slot: int) -> None:
        """As `unwatch`; what the watch heard is told, or the engine would take the master for silent all that time."""
        at, count = self.unwatch(slot)
        if count:
            self._handle(RoutineHeard(slot, at, count), monotonic_ns())

    def last_heard(self, slots: list[int]) -> dict[int, Nanoseconds]:
        """When the routine advert of each watched slot was last heard; 0 when not since it is watched."""
        every = self._watched
        times = {}
        for slot in slots:
            watched = every.get(slot)
            if watched is None:
                continue
            at = watched.words[watched.word] if watched.words is not None else 0
            times[slot] = at if at > watched.last_at else watched.last_at
        return times

    def heard(self, slot: int) -> tuple[Nanoseconds, int]:
        """When the routine advert of `slot` was last heard, and how often since last asked."""
        watched = self._watched.get(slot)
        if watched is None:
            return 0, 0
        last_at, count = watched.last_at, watched.count
        watched.count = 0
        port = self._port_of[slot]
        if watched.by_kernel and port.filter is not None:
            at, total = port.filter.heard(self._rules[slot][0])
            if total > watched.filter_base:
                count += total - watched.filter_base
                watched.filter_base = total
                last_at = max(last_at, at)
                watched.last_at = last_at
        return last_at, count

    def heard_since(self, slot: int) -> tuple[Nanoseconds, int]:
        """As `heard`, but asking leaves no trace: for views."""
        watched = self._watched.get(slot)
        if watched is None:
            return 0, 0
        last_at, count = watched.last_at, watched.count
        port = self._port_of[slot]
        if watched.by_kernel and port.filter is not None:
            at, total = port.filter.heard(self._rules[slot][0])
            count += total - watched.filter_base
            last_at = max(last_at, at)
        return last_at, count

    def place_of(self, slot: int) -> tuple[str, int, Nanoseconds, int] | None:
        """Where `absorbed` has the routine of a watched slot, as port and VRID, and what is there; None for others."""
        watched, port = self._watched.get(slot), self._port_of.get(slot)
        if watched is None or port is None or not watched.by_kernel or port.filter is None:
            return None
        vrid = self._rules[slot][0]
        return port_name(port.key), vrid, *port.filter.heard(vrid)

    def absorbed(self) -> dict[str, tuple[bytes, bytes]]:
        """What the filters absorbed, by port and VRID: when the last was heard, how many, as arrays of 64-bit words."""
        ports = self._ports.values()
        return {port_name(port.key): port.filter.absorbed() for port in ports if port.filter is not None}

    # ---- in: reading ------------------------------------------------------------------------------------------------

    def _read(self, port: Port) -> None:
        batch = port.batch
        for _ in range(READ_BOUND):
            got = batch.receive()
            now = monotonic_ns()
            for number in range(got):
                if port.protocol == AH_PROTOCOL:
                    self._read_ah(port, batch, number, now)
                elif port.family == Family.IPV4:
                    self._read_ipv4(port, batch, number, now)
                else:
                    self._read_ipv6(port, batch, number, now)
            if got < RECEIVE_PACKETS:
                return

    def _read_ipv4(self, port: Port, batch: ReceiveBatch, number: int, now: Nanoseconds) -> None:
        packet = bytes(batch.payload(number))
        if len(packet) < 24:
            return self._too_short(port, packet)
        start = (packet[0] & 15) * 4
        length = int.from_bytes(packet[2:4], "big")
        message = packet[start:length]
        if len(message) < 8:
            return self._too_short(port, packet)
        source, target = Address(packet[12:16]), Address(packet[16:20])
        look = packet[12:20] + message
        self._take(Arrived(port, message, source, target, packet[8], look, len(packet)), now)

    def _read_ah(self, port: Port, batch: ReceiveBatch, number: int, now: Nanoseconds) -> None:
        packet = bytes(batch.payload(number))
        start = (packet[0] & 15) * 4 if packet else 0
        if not start or len(packet) < start + 12 or packet[start] != VRRP_PROTOCOL:
            return  # IPsec of somebody else
        begins = start + (packet[start + 1] + 2) * 4
        message = packet[begins : int.from_bytes(packet[2:4], "big")]
        if len(message) < 8:
            return self._too_short(port, packet)
        source, target = Address(packet[12:16]), Address(packet[16:20])
        arrived = Arrived(port, message, source, target, packet[8], packet[12:20] + message, len(packet))
        arrived.ip_header, arrived.ah = packet[:start], packet[start:begins]
        self._take(arrived, now)

    def _read_ipv6(self, port: Port, batch: ReceiveBatch, number: int, now: Nanoseconds) -> None:
        message = bytes(batch.payload(number))
        if len(message) < 8:
            return self._too_short(port, message)
        if port.protocol == CARP_OVER_IPV6 and not looks_like_carp(message):
            vrrp = self._ports.get((port.interface, port.family, VRRP_PROTOCOL))
            if message[1] not in port.slots or (vrrp is not None and message[1] in vrrp.slots):
                return  # another socket hears it, too
        arrival = batch.arrival(number)
        source = Address(batch.source(number))
        target = Address(arrival[1]) if arrival else Address(bytes(16))
        ttl = batch.hop_limit(number) or 0
        look = source + target + message
        self._take(Arrived(port, message, source, target, ttl, look, len(message)), now)

    def _too_short(self, port: Port, packet: bytes) -> None:
        key = (port.interface, -1)
        self.unknown_vrids[key] = self.unknown_vrids.get(key, 0) + 1

    def _take(self, arrived: Arrived, now: Nanoseconds) -> None:
        port, vrid = arrived.port, arrived.message[1]
        slots = port.slots.get(vrid)
        if slots is None:
            key = (port.interface, vrid)
            self.unknown_vrids[key] = self.unknown_vrids.get(key, 0) + 1
            return
        for slot in tuple(slots):
            watched = self._watched.get(slot)
            rules = self._rules[slot][1]
            guard = self._guards.get(slot)
            if watched is not None and watched.ttl == arrived.ttl and watched.is_said_again(arrived.look):
                if guard is None or self._authentic(guard, slot, arrived, watched.said, now):
                    watched.last_at = now
                    watched.count += 1
                continue
            if len(slots) > 1 and not concerns(rules, arrived.message, arrived.source, arrived.target):
                continue
            packet = _packet(arrived, guard)
            taken = receive_either(rules, packet, guard)
            if isinstance(taken, PacketRejected):
                self._refuse(slot, taken, rules, packet, now)
                continue
            if watched is not None:  # what was absorbed before it counts first
                at, count = self.heard(slot)
                if count:
                    self._handle(RoutineHeard(slot, at, count), now)
            self._current = arrived
            interval = taken.adver_interval_ns
            event = AdvertArrived(
                slot, taken.priority, arrived.source, interval, taken.remarks, taken.counted, taken.stranger
            )
            self._handle(event, now)
            self._current = None

    def _authentic(self, guard: Guard, slot: int, arrived: Arrived, said: int, now: Nanoseconds) -> bool:
        """Whether an advert that says what the watched one said is the sender's own, and new; else it is refused."""
        packet = _packet(arrived, guard)
        remarks: list[str] = []
        wrong = guard.judge(packet, said, remarks)
        if wrong is not None:
            self._refuse(slot, wrong, self._rules[slot][1], packet, now)
        elif remarks:  # rare, and worth telling
            advert = decode_vrrp(packet.payload, packet.family == Family.IPV6)
            event = AdvertArrived(slot, advert.priority, packet.source, advert.adver_interval_ns, tuple(remarks))
            self._handle(event, now)
        return wrong is None and not remarks

    def _refuse(
        self, slot: int, wrong: PacketRejected, rules: Rules, packet: ReceivedPacket, now: Nanoseconds
    ) -> None:
        strange = isinstance(rules, ReceiveRules) and strange_though_refused(rules, packet)
        self._handle(AdvertRefused(slot, wrong.reason.value, wrong.text, packet.source, strange), now)

    @property
    def ah_number(self) -> int:
        """The highest sequence number of any instance with AH; 0 without."""
        return max((guard.number for guard in self._guards.values()), default=0)

    def count_from(self, number: int) -> None:
        """Whoever speaks for a dead worker goes on above what it used."""
        for guard in self._guards.values():
            guard.count_from(number)

    def close(self) -> None:
        """Give every socket back."""
        for port in list(self._ports.values()):
            self._close(port)
        for sender in self._senders.values():
            sender.close()

    def describe(self, slot: int) -> str:
        """Where a slot's adverts go, for messages."""
        port = self._port_of.get(slot)
        return f"{port.interface} ({text(next(iter(port.groups)))})" if port and port.groups else "its peers"


def _packet(arrived: Arrived, guard: Guard | None) -> ReceivedPacket:
    return ReceivedPacket(
        source=arrived.source,
        destination=arrived.target,
        ttl=arrived.ttl,
        payload=arrived.message,
        family=arrived.port.family,
        ah=arrived.ah,
        ip_header=arrived.ip_header,
        wall_ns=0 if guard is None else wall_ns(),
    )


def port_name(key: PortKey) -> str:
    """`eth0 4 112`: interface, family, protocol."""
    interface, family, protocol = key
    return f"{interface} {int(family)} {protocol}"
