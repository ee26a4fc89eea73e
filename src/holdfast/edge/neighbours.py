"""Tells the neighbours where the addresses are: gratuitous ARP and unsolicited neighbour advertisements, paced.

Without `garp_interval`/`gna_interval` a burst leaves at once; with them, frames of one interface (or of interfaces that
share a pace, `garp_group`) leave one by one, and what still waits is dropped when the router leaves MASTER.
"""

from collections import deque

from holdfast.base.address import Mac
from holdfast.base.time import Nanoseconds
from holdfast.edge.addresses import Addresses
from holdfast.edge.interfaces import Interfaces
from holdfast.kernel.batches import SendBatch
from holdfast.kernel.frames import PacketSender, announcement
from holdfast.vrrp.config import AnnounceConfig


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
        self._bursts: dict[tuple[int, int], list[SendBatch]] = {}
        self._paces: dict[str, Pace] = {}
        self._shared = {name: group[0] for group in shared_paces for name in group}
        self.sent = 0
        self.failed: list[tuple[int, int]] = []  # (interface, errno)

    def forget(self, slot: int | None = None) -> None:
        """The frames of a slot (None: of all) must be made anew: its addresses or a MAC changed."""
        if slot is None:
            self._bursts.clear()
        else:
            for key in [key for key in self._bursts if key[0] == slot]:
                del self._bursts[key]

    def forget_interface(self, index: int) -> None:
        """The interface is gone or changed."""
        sender = self._senders.pop(index, None)
        if sender is not None:
            sender.close()
        self._bursts.clear()

    def prepare(self, slot: int, rounds: int) -> list[SendBatch]:
        """The frames of one burst, a batch an interface, made once."""
        key = (slot, rounds)
        ready = self._bursts.get(key)
        if ready is None:
            by_interface: dict[int, list[bytes]] = {}
            for _ in range(rounds):
                for index, frame in self._frames(slot):
                    by_interface.setdefault(index, []).append(frame)
            ready = [self._sender(index).batch(frames) for index, frames in by_interface.items()]
            self._bursts[key] = ready
        return ready

    def announce(self, slot: int, rounds: int, config: AnnounceConfig, now: Nanoseconds) -> None:
        """Send `rounds` rounds over the addresses of a slot, at once or paced."""
        if config.garp_interval_ns or config.gna_interval_ns:
            for _ in range(rounds):
                for index, frame in self._frames(slot):
                    arp = frame[12:14] == b"\x08\x06"
                    spacing = config.garp_interval_ns if arp else config.gna_interval_ns
                    self._queue(slot, index, frame, spacing)
            self.due(now)
            return
        for batch in self.prepare(slot, rounds):
            self.sent += batch.send()
            self.failed += batch.errors

    def _frames(self, slot: int) -> list[tuple[int, bytes]]:
        frames = []
        for place in self._addresses.places(slot):
            link = self._interfaces.link_of(place.interface)
            if link is None or len(link.mac) != 6 or link.noarp or link.index != place.index:
                continue
            router = len(place.address) == 16 and forwards_ipv6(place.interface)
            frames.append((link.index, announcement(Mac(link.mac), place.address, router)))
        return frames

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
        for pace in self._paces.values():
            while pace.waiting and pace.next_at <= now:
                _, index, frame, spacing = pace.waiting.popleft()
                errors = self._sender(index).send([frame])
                self.sent += 1 - len(errors)
                pace.next_at = now + spacing

    def deadline(self) -> Nanoseconds | None:
        """When the next paced frame may leave; None when none waits."""
        return min((pace.next_at for pace in self._paces.values() if pace.waiting), default=None)

    def hush(self, slot: int) -> None:
        """Drop what waits for a slot."""
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
