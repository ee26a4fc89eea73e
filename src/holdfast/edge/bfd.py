"""BFD sessions on the wire: their sockets, their clock and their jitter; what they decide is `bfd/machine.py`.

They live in the vrrp worker's loop, because a verdict must move an address at once. Two rules keep a stall of the loop
from looking like a dead neighbour, and cost no time when there is none: before a detection time counts as over,
everything that has come is read; and a packet that was late counts from when it is read.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.bfd import machine, receive
from holdfast.bfd.config import SessionConfig
from holdfast.bfd.messages import BfdEffect, Refusal, SendPacket
from holdfast.bfd.packet import (
    CONTROL_PORT,
    MULTIHOP_PORT,
    BfdState,
    ControlPacket,
    MalformedBfd,
    decode_bfd,
    encode_bfd,
)
from holdfast.bfd.view import SessionView, session_view
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.loop import Loop
from holdfast.engine.messages import TrackerReported
from holdfast.engine.timers import earlier
from holdfast.kernel.bfd_sockets import open_receiver, open_sender, read
from holdfast.kernel.errors import KernelRefused
from holdfast.vrrp.messages import Level

AT_ONCE = 64
"""So many datagrams of a socket are read before others have their turn."""

RETRY: Nanoseconds = SECOND
FAREWELLS = 3
"""So often a neighbour is told AdminDown: it is the last we say, and may be lost."""

_PASSING = {errno.EAGAIN, errno.ENOBUFS, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM}
"""Errors of sending that say nothing of the socket."""

OFF = "BFD is switched off (-B)"

Place = tuple[bool, bytes, int]
"""Of a receiving socket: whether IPv6, its address (b"": any), its port."""


class SessionSlot:
    """A session as it runs."""

    __slots__ = (
        "config", "counters", "last", "own_port", "receiver", "retry_at", "sender", "session", "told", "trouble",
    )  # fmt: skip

    def __init__(self, config: SessionConfig, session: machine.Session) -> None:
        self.config = config
        self.session = session
        self.receiver: Place | None = None
        self.sender: socket.socket | None = None
        self.own_port = 0
        self.retry_at: Nanoseconds | None = None
        self.trouble = ""
        self.told = (False, "not up yet")  # the verdict, as told last
        self.last: tuple[bytes, int] | None = None  # the packet that needs no second look, with its TTL
        self.counters: dict[str, int] = {}

    @property
    def port(self) -> int:
        """Where it is heard and spoken to."""
        return MULTIHOP_PORT if self.config.multihop else CONTROL_PORT

    def count(self, name: str) -> None:
        """Add to one of its counters."""
        self.counters[name] = self.counters.get(name, 0) + 1


class BfdSessions:
    """All sessions of a plan. `tell` gets each verdict, `say` lines for the log."""

    def __init__(
        self, loop: Loop, tell: Callable[[TrackerReported], None], say: Callable[[Level, str], None]
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._say = say
        self.slots: dict[str, SessionSlot] = {}
        self._by_discriminator: dict[int, SessionSlot] = {}
        self._receivers: dict[Place, socket.socket] = {}
        self.refused: dict[str, int] = {}  # what came for no session, by reason
        self.due_at: Nanoseconds | None = None  # never later than what is due first
        self.off = False  # `-B`

    # ---- coming and going -------------------------------------------------------------------------------------------

    def load(self, configs: Iterable[SessionConfig]) -> None:
        """Run these sessions from now on; those with the same name and partners go on. Every verdict is told."""
        now = monotonic_ns()
        wanted = {config.name: config for config in configs}
        for name, slot in list(self.slots.items()):
            if name not in wanted or wanted[name].key != slot.config.key:
                self._dismiss(slot, now)
        for name, config in wanted.items():
            known = self.slots.get(name)
            if known is None:
                discriminator = self._discriminator()
                known = SessionSlot(config, machine.start(config, discriminator, now))
                self.slots[name] = self._by_discriminator[discriminator] = known
            elif known.config != config:
                before, known.config, known.last = known.config, config, None
                known.session = machine.changed(before, config, known.session, now)
                if before.ttl != config.ttl:
                    self._close_sender(known)
        if self.slots or self._receivers:
            self._open_receivers(now)
        for slot in self.slots.values():
            self._ready(slot, now)
        self._set_due()
        self.tell_all()

    def tell_all(self) -> None:
        """Tell every verdict."""
        for name, slot in self.slots.items():
            self._tell(TrackerReported("bfd", name, *slot.told))

    def close(self) -> None:
        """Tell every neighbour that we leave, and give the sockets back."""
        now = monotonic_ns()
        for slot in list(self.slots.values()):
            self._dismiss(slot, now)
        for place in list(self._receivers):
            self._close_receiver(place)

    def _dismiss(self, slot: SessionSlot, now: Nanoseconds) -> None:
        slot.session, effects = machine.leave(slot.config, slot.session, now)
        for _ in range(FAREWELLS):
            self._carry_out(slot, effects)
        self._close_sender(slot)
        del self.slots[slot.config.name]
        del self._by_discriminator[slot.session.discriminator]

    def _discriminator(self) -> int:
        while (drawn := int.from_bytes(os.urandom(4))) in self._by_discriminator or not drawn:
            pass
        return drawn

    # ---- sockets ----------------------------------------------------------------------------------------------------

    def _open_receivers(self, now: Nanoseconds) -> None:
        """A socket for each address a session names; one for all where any of that family and port names none."""
        wide = {(len(s.config.neighbor) == 16, s.port) for s in self.slots.values() if s.config.source is None}
        wanted: set[Place] = set()
        for slot in self.slots.values():
            six = len(slot.config.neighbor) == 16
            address = b"" if (six, slot.port) in wide else slot.config.source or b""
            slot.receiver = (six, address, slot.port)
            wanted.add(slot.receiver)
        for place in [place for place in self._receivers if place not in wanted]:
            self._close_receiver(place)

    def _close_receiver(self, place: Place) -> None:
        opened = self._receivers.pop(place)
        self._loop.unwatch(opened.fileno())
        opened.close()

    def _close_sender(self, slot: SessionSlot) -> None:
        if slot.sender is not None:
            slot.sender.close()
            slot.sender = None

    def _ready(self, slot: SessionSlot, now: Nanoseconds) -> None:
        """Have both sockets of a session open; what is refused is said once and tried again."""
        config, place = slot.config, slot.receiver
        slot.retry_at = None
        if self.off:
            slot.trouble = OFF
            return
        assert place is not None
        try:
            if place not in self._receivers:
                opened = open_receiver(place[0], config.source if place[1] else None, place[2])
                self._receivers[place] = opened
                self._loop.watch(opened.fileno(), lambda: self._readable(opened, min(len(self.slots), AT_ONCE)))
            if slot.sender is None:
                slot.sender = open_sender(config.neighbor, config.source, slot.port, config.ttl, slot.own_port)
                slot.own_port = slot.sender.getsockname()[1]
        except KernelRefused as refused:
            slot.retry_at = now + RETRY
            if slot.trouble != str(refused):
                slot.trouble = str(refused)
                self._say(Level.WARNING, f"BFD session {config.name}: {refused}; trying again every second")
            return
        if slot.trouble:
            slot.trouble = ""
            self._say(Level.INFO, f"BFD session {config.name}: its sockets are open now")

    # ---- hearing ----------------------------------------------------------------------------------------------------

    def _readable(self, opened: socket.socket, most: int = AT_ONCE) -> None:
        """Take in what has come. With one session it is one datagram: asking in vain for more is dear."""
        for octets, ttl, source, local in read(opened, most):
            slot = self._by_discriminator.get(int.from_bytes(octets[8:12]))
            if slot is not None and slot.last == (octets, ttl):  # all that it says is known
                slot.session = machine.heard_again(slot.session, monotonic_ns())
                slot.count("received")
            else:
                self._take(octets, ttl, source, local, opened.getsockname()[1])

    def _take(self, octets: bytes, ttl: int, source: bytes, local: bytes, port: int) -> None:
        """A packet that has to be looked at."""
        now = monotonic_ns()
        packet: ControlPacket | None = None
        refusal: Refusal | None = Refusal.LENGTH
        slot = self._of_neighbor(source, local, port)
        try:
            packet = decode_bfd(octets)
            refusal = receive.malformed(packet, len(octets))
        except MalformedBfd:
            pass
        if packet is not None and refusal is None:
            if packet.your_discriminator:
                slot = self._by_discriminator.get(packet.your_discriminator)
            if slot is None or slot.port != port:
                refusal = Refusal.SESSION
            elif receive.too_far(slot.config, ttl):
                refusal = Refusal.TTL
            elif slot.session.state is BfdState.ADMIN_DOWN:
                refusal = Refusal.LEFT
        if refusal is not None:
            self.refused[refusal.value] = self.refused.get(refusal.value, 0) + 1
            if slot is not None:
                slot.count(refusal.value)
            return
        assert slot is not None
        assert packet is not None
        slot.count("received")
        before = slot.session.state
        slot.session, effects = machine.received(slot.config, slot.session, packet, now, draw())
        session = slot.session
        routine = session.state is BfdState.UP and not (session.polling or packet.poll or packet.final)
        slot.last = (octets, ttl) if routine and before is BfdState.UP else None
        self._carry_out(slot, effects)
        if slot.session.send_at is not None and slot.session.send_at <= now:
            self._step(slot, now)
        self._set_due()

    def _of_neighbor(self, source: bytes, local: bytes, port: int) -> SessionSlot | None:
        """The session of a packet that knows no discriminator of ours."""
        for slot in self.slots.values():
            config = slot.config
            if config.neighbor == source and slot.port == port and (config.source is None or config.source == local):
                return slot
        return None

    # ---- the clock --------------------------------------------------------------------------------------------------

    def on_due(self, now: Nanoseconds) -> None:
        """Something may be due."""
        if any((at := slot.session.expires_at) is not None and at <= now for slot in self.slots.values()):
            for opened in list(self._receivers.values()):
                self._readable(opened)
        for slot in list(self.slots.values()):
            if slot.retry_at is not None and slot.retry_at <= now:
                self._ready(slot, now)
            at = slot.session.due_at()
            if at is not None and at <= now:
                self._step(slot, now)
        self._set_due()

    def _step(self, slot: SessionSlot, now: Nanoseconds) -> None:
        before = slot.session.state
        slot.session, effects = machine.due(slot.config, slot.session, now, draw())
        if slot.session.state is not before:
            slot.last = None
        self._carry_out(slot, effects)

    def _set_due(self) -> None:
        self.due_at = None
        for slot in self.slots.values():
            self.due_at = earlier(self.due_at, earlier(slot.session.due_at(), slot.retry_at))

    def _carry_out(self, slot: SessionSlot, effects: Iterable[BfdEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendPacket):
                self._send(slot, encode_bfd(effect.packet))
            else:
                slot.told = (effect.up, effect.detail)  # type: ignore[attr-defined]
                self._tell(TrackerReported("bfd", slot.config.name, *slot.told))

    def _send(self, slot: SessionSlot, octets: bytes) -> None:
        if slot.sender is None:
            return
        for _ in range(2):
            try:
                slot.sender.send(octets)
            except ConnectionRefusedError:
                continue  # nobody listened there: that was said of an earlier packet, and this one did not leave
            except OSError as refused:
                slot.count("send_errors")
                if refused.errno not in _PASSING:
                    self._close_sender(slot)  # its address may be gone: another may do
                    slot.retry_at = monotonic_ns() + RETRY
                return
            slot.count("sent")
            return

    # ---- shown ------------------------------------------------------------------------------------------------------

    def views(self, wall: Callable[[Nanoseconds], str]) -> list[SessionView]:
        """Every session as an operator sees it."""
        return [
            session_view(slot.config, slot.session, wall, slot.trouble, dict(slot.counters))
            for slot in self.slots.values()
        ]


def draw() -> int:
    """Chance, for the jitter."""
    return int.from_bytes(os.urandom(2)) % machine.DRAWS
