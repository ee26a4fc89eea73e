"""Tells the neighbours where the addresses are: gratuitous ARP and unsolicited neighbour advertisements, paced.

Without `garp_interval`/`gna_interval` a burst leaves at once; with them, frames of one interface (or of interfaces that
share a pace, `garp_group`) leave one by one, and what still waits is dropped when the router leaves MASTER.
"""

from collections import deque

from holdfast.base.address import Mac
from holdfast.base.time import Nanoseconds
from holdfast.edge.addresses import Addresses
from holdfast.edge.interfaces import Interfaces
from holdfast.kernel.frames import PacketSender, announcement
from holdfast.vrrp.config import AnnounceConfig

SLICE = 64
"""How many slots' further rounds leave between two looks at the sockets and timers."""


class Pace:
    """One pace: the frames that wait for it, and when the next may leave."""

    __slots__ = ("next_at", "waiting")

    def __init__(self) -> None:
        self.next_at: Nanoseconds = 0
        self.waiting: deque[tuple[int, int, bytes, Nanoseconds]] = deque()  # slot, interface, frame, spacing


class Neighbours:
    """Announcements of all slots."""

    def __init__(self, interfaces: Interfaces, addresses: Addresses, shared_paces: tuple[tuple[str, ...], ...]) -> None:
        self._interfaces = interfaces
        self._addresses = addresses
        self._senders: dict[int, PacketSender] = {}
        self._ready: dict[int, list[tuple[PacketSender, bytes]]] = {}
        self._more: list[tuple[int, int]] = []  # (slot, rounds) still to be sent
        self._paces: dict[str, Pace] = {}
        self._extra: dict[int, tuple[Nanoseconds, AnnounceConfig]] = {}  # slot → when next, how often
        self._wires: dict[int, int] = {}  # slot → the interface its adverts leave by
        self._shared = {name: group[0] for group in shared_paces for name in group}
        self.sent = 0
        self.failed = 0

    def forget(self, slot: int | None = None) -> None:
        """The frames of a slot (None: of all) must be made anew: its addresses or a MAC changed."""
        if slot is None:
            self._ready.clear()
        else:
            self._ready.pop(slot, None)

    def forget_interface(self, index: int) -> None:
        """The interface is gone or changed."""
        sender = self._senders.pop(index, None)
        if sender is not None:
            sender.close()
        self._ready.clear()

    def announce(self, wanted: list[tuple[int, int, AnnounceConfig]], now: Nanoseconds) -> None:
        """Send rounds over the addresses of slots: (slot, rounds, pace) each.

        The first round of every slot leaves first, so that all neighbours know as soon as can be; the other rounds
        wait for `more` (or for their pace).
        """
        for slot, rounds, config in wanted:
            frames = self._frames(slot)
            if config.extra_ns and slot not in self._extra:
                self._extra[slot] = (now + config.master_delay_ns + config.extra_ns, config)
            if config.garp_interval_ns or config.gna_interval_ns:
                for _ in range(rounds):
                    for sender, frame in frames:
                        arp = frame[12:14] == b"\x08\x06"
                        spacing = config.garp_interval_ns if arp else config.gna_interval_ns
                        self._queue(slot, sender.ifindex, frame, spacing)
                continue
            for sender, frame in frames:
                self._send(sender, frame)
            if rounds > 1:
                self._more.append((slot, rounds - 1))
        self.due(now)

    @property
    def waiting(self) -> bool:
        """Whether `more` has something to send."""
        return bool(self._more)

    def more(self) -> None:
        """Send some of the rounds that wait."""
        waiting, left = self._more, []
        for slot, rounds in waiting[:SLICE]:
            for sender, frame in self._frames(slot):
                self._send(sender, frame)
            if rounds > 1:
                left.append((slot, rounds - 1))
        self._more = waiting[SLICE:] + left

    def _send(self, sender: PacketSender, frame: bytes) -> None:
        errno = sender.send_one(frame)
        if errno:
            self.failed += 1
        else:
            self.sent += 1

    def _frames(self, slot: int) -> list[tuple[PacketSender, bytes]]:
        """The frames of one round, made once."""
        ready = self._ready.get(slot)
        if ready is None:
            ready = []
            for place in self._addresses.places(slot):
                link = self._interfaces.link_of(place.interface)
                if link is None or len(link.mac) != 6 or link.noarp or link.index != place.index:
                    continue
                router = len(place.address) == 16 and forwards_ipv6(place.interface)
                frame = announcement(Mac(link.mac), place.address, router)
                ready.append((self._sender(link.index), frame))
            self._ready[slot] = ready
        return ready

    def _odd(self, slot: int, config: AnnounceConfig) -> list[tuple[PacketSender, bytes]]:
        """`garp_extra_if`: one frame each for the interfaces of addresses that no adverts leave by."""
        chosen: dict[int, tuple[PacketSender, bytes]] = {}
        for sender, frame in self._frames(slot):
            link = self._interfaces.link_of(self._interfaces.name_of(sender.ifindex))
            vmac = link is not None and link.kind == "macvlan"
            if sender.ifindex != self._wires.get(slot) and (vmac or config.extra_all):
                chosen.setdefault(sender.ifindex, (sender, frame))
        return list(chosen.values())

    def prepare(self, slot: int, wire: int = 0) -> None:
        """Make the frames of a slot ready before they are wanted; `wire`: the interface its adverts leave by."""
        self._wires[slot] = wire
        self._frames(slot)

    def _sender(self, index: int) -> PacketSender:
        sender = self._senders.get(index)
        if sender is None:
            sender = self._senders[index] = PacketSender(index)
        return sender

    def _queue(self, slot: int, index: int, frame: bytes, spacing: Nanoseconds) -> None:
        name = self._interfaces.name_of(index)
        pace = self._paces.setdefault(self._shared.get(name, name), Pace())
        pace.waiting.append((slot, index, frame, spacing))

    def due(self, now: Nanoseconds) -> None:
        """Send what may leave by now."""
        for slot, (at, config) in list(self._extra.items()):
            if at <= now:
                self._extra[slot] = (now + config.extra_ns, config)
                for sender, frame in self._odd(slot, config):
                    self._send(sender, frame)
        for pace in self._paces.values():
            while pace.waiting and pace.next_at <= now:
                _, index, frame, spacing = pace.waiting.popleft()
                self._send(self._sender(index), frame)
                pace.next_at = now + spacing

    def deadline(self) -> Nanoseconds | None:
        """When the next paced frame may leave; None when none waits."""
        if not self._paces and not self._extra:
            return None
        paced = [pace.next_at for pace in self._paces.values() if pace.waiting]
        return min((*paced, *(at for at, _ in self._extra.values())), default=None)

    def hush(self, slot: int) -> None:
        """Drop what waits for a slot."""
        self._extra.pop(slot, None)
        if self._more:
            self._more = [entry for entry in self._more if entry[0] != slot]
        for pace in self._paces.values():
            if pace.waiting:
                pace.waiting = deque(entry for entry in pace.waiting if entry[0] != slot)

    def close(self) -> None:
        """Give the sockets back."""
        for sender in self._senders.values():
            sender.close()


def forwards_ipv6(interface: str) -> bool:
    """Whether this host forwards IPv6 on the interface: its neighbour advertisements then say "router"."""
    try:
        with open(f"/proc/sys/net/ipv6/conf/{interface}/forwarding", "rb") as setting:
            return setting.read(1) == b"1"
    except OSError:
        return False
