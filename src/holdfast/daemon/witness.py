"""Watches, from the supervisor, what the adverts don't tell: who else answers for our addresses, who is still alive.

One packet socket an interface on which some instance is MASTER. A filter in the kernel passes only ARP and neighbour
advertisements of others; now and then we ask the neighbours about our own addresses ourselves (RFC 5227 §2.1.1), and
after a take-over about the master that fell silent. Nothing here may hold up the supervisor: sockets never block.
"""

import fcntl
import socket
import struct
from collections.abc import Callable
from heapq import heappop, heappush

import msgspec

from holdfast.base.address import Address, Mac, is_link_local, mac_text, parse, text
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.loop import Loop
from holdfast.engine.incidents import Incidents, IncidentView
from holdfast.engine.messages import AnyNotice, IncidentNotice, LogLine, StateNotice, SuspicionNotice
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.neighbour_probe import Answer, NeighbourProbe
from holdfast.kernel.netlink import NetlinkSocket
from holdfast.vrrp.messages import Level

TURN: Nanoseconds = 2 * SECOND
"""How often is asked while something is doubted, or a former master is silent."""

ROUND: Nanoseconds = 10 * SECOND
"""How often routine questions leave: a wake-up costs far more than one of them."""

LOOK_EVERY: Nanoseconds = 20 * SECOND
"""How often the kernel is asked for its link-local addresses: the source of questions over IPv6."""

A_SECOND = 4
"""So many routine questions at most, on average."""

FIRST: Nanoseconds = SECOND
"""How long after a take-over the first question is asked: the old master needs a moment to leave."""

CONFIRM: Nanoseconds = 700 * MILLISECOND
"""Another one's answer counts when it comes again so much later: a hand-over is over by then."""

DOUBT_LIVES: Nanoseconds = 7 * SECOND
DOUBTS = 64


class Vip(msgspec.Struct, frozen=True):
    """The part of a virtual address."""

    address: Address


class Watched(msgspec.Struct, frozen=True):
    """The part of an instance that matters here."""

    name: str
    interface: str
    adver_interval_ns: Nanoseconds = SECOND
    addresses: tuple[Vip, ...] = ()
    excluded: tuple[Vip, ...] = ()


class WitnessSettings(msgspec.Struct, frozen=True):
    """The part of the settings."""

    address_probe_ns: Nanoseconds = 60 * SECOND


class WitnessPlan(msgspec.Struct, frozen=True):
    """The part of the plan."""

    settings: WitnessSettings = WitnessSettings()
    instances: tuple[Watched, ...] = ()


_SIOCGIFHWADDR = 0x8927


class Witness:
    """The incidents, and the senses they need. `tell` takes the notices, `reannounce` names an instance."""

    def __init__(self, loop: Loop, tell: Callable[[AnyNotice, Nanoseconds], None]) -> None:
        self._loop = loop
        self._tell = tell
        self.reannounce: Callable[[str], None] = lambda name: None
        self.incidents = Incidents()
        self._plan = WitnessPlan()
        self._known: dict[str, Watched] = {}
        self._masters: dict[str, set[str]] = {}  # interface → the instances on it that are MASTER
        self._ears: dict[str, NeighbourProbe] = {}
        self._deaf: set[str] = set()
        self._turn_at: Nanoseconds | None = None
        self._terms: dict[str, int] = {}  # of each master that is asked about: which term of it
        self._term = 0
        self._questions: list[tuple[Nanoseconds, str, int, int]] = []  # a heap: when, instance, which address, term
        self._doubts: dict[tuple[str, Address, Mac], tuple[Nanoseconds, Nanoseconds]] = {}  # seen first, and last
        self._looked_at: Nanoseconds = 0
        self._asked_at: Nanoseconds = 0
        self._link_locals: dict[str, Address] = {}

    # ---- what is told -----------------------------------------------------------------------------------------------

    def load(self, octets: bytes) -> None:
        """Watch according to this plan."""
        self._plan = msgspec.msgpack.decode(octets, type=WitnessPlan)
        known = {one.name: one for one in self._plan.instances}
        self.incidents.plan({name: one.adver_interval_ns for name, one in known.items()})
        masters = [name for there in self._masters.values() for name in there if name in known]
        self._known, self._masters = known, {}
        for name in masters:
            self._masters.setdefault(known[name].interface, set()).add(name)
        self._terms = {name: term for name, term in self._terms.items() if name in known}
        for name in masters:
            if name not in self._terms:
                self._schedule(name, monotonic_ns())
        self._listen()

    def begin(self, now: Nanoseconds) -> None:
        """A vrrp worker starts."""
        self.incidents.begin(now)
        self._masters.clear()
        self._terms.clear()
        self._listen()

    def take(self, notice: AnyNotice, now: Nanoseconds) -> None:
        """A notice of the worker's."""
        if isinstance(notice, SuspicionNotice):
            self._say(self.incidents.suspect(notice, now), now)
            if notice.kind == "silent":
                self._turn_at = now
        elif isinstance(notice, StateNotice) and notice.kind == "INSTANCE":
            self._say(self.incidents.state(notice, now), now)
            self._state(notice.name, notice.state == "MASTER", now)

    def _state(self, name: str, master: bool, now: Nanoseconds) -> None:
        instance = self._known.get(name)
        if instance is None or master == self._is_master(name):
            return
        there = self._masters.setdefault(instance.interface, set())
        (there.add if master else there.discard)(name)
        if not there:
            del self._masters[instance.interface]
        self._doubts = {key: at for key, at in self._doubts.items() if key[0] != name}
        self._terms.pop(name, None)
        if master:
            self._schedule(name, now)
        if len(there) == int(master):  # the first, or the last one there
            self._listen()

    def _is_master(self, name: str) -> bool:
        instance = self._known.get(name)
        return instance is not None and name in self._masters.get(instance.interface, ())

    def view(self, now: Nanoseconds) -> list[IncidentView]:
        """The open incidents."""
        return self.incidents.view(now)

    def close(self) -> None:
        """Give the sockets back."""
        self._masters.clear()
        self._listen()

    def _say(self, notices: list[IncidentNotice], now: Nanoseconds) -> None:
        for notice in notices:
            self._tell(LogLine(Level.WARNING if notice.opened else Level.INFO, incident_line(notice)), now)
            self._tell(notice, now)
            if not notice.opened and self._is_master(notice.name):
                self.reannounce(notice.name)  # whoever believed the other one is told once more

    # ---- time -------------------------------------------------------------------------------------------------------

    def due_at(self) -> Nanoseconds | None:
        """When `on_due` has something to do."""
        return min((at for at in (self._turn_at, self.incidents.due_at()) if at is not None), default=None)

    def on_due(self, now: Nanoseconds) -> None:
        """Ask the neighbours; close what is over."""
        self._say(self.incidents.on_due(now), now)
        if self._turn_at is None or now < self._turn_at:
            return
        self._ask(now)
        self._turn_at = None
        if self._masters and self._ears:
            if self._doubts or self.incidents.silent:
                self._turn_at = now + TURN
            elif self._questions:
                pause = min(ROUND, max(self._plan.settings.address_probe_ns, TURN))
                self._turn_at = max(now + pause, self._questions[0][0])

    def _schedule(self, name: str, now: Nanoseconds) -> None:
        self._turn_at = min(self._turn_at or now + FIRST, now + FIRST)
        if self._plan.settings.address_probe_ns:
            self._term += 1
            self._terms[name] = self._term
            heappush(self._questions, (now + FIRST, name, 0, self._term))

    def _due(self, now: Nanoseconds, most: int) -> list[tuple[str, Address]]:
        """The next of our addresses to ask about, at most `most`; each comes again after the probe's period."""
        period, found = self._plan.settings.address_probe_ns, list[tuple[str, Address]]()
        while self._questions and self._questions[0][0] <= now and len(found) < most:
            at, name, number, term = heappop(self._questions)
            if self._terms.get(name) != term:
                continue  # that mastership is over
            instance = self._known[name]
            vips = (*instance.addresses, *instance.excluded)
            if number < len(vips):
                found.append((name, vips[number].address))
                heappush(self._questions, (at, name, number + 1, term))
            elif period:
                heappush(self._questions, (now + period, name, 0, term))
            else:
                del self._terms[name]
        return found

    # ---- asking -----------------------------------------------------------------------------------------------------

    def _ask(self, now: Nanoseconds) -> None:
        questions: dict[str, set[Address]] = {}
        known = self._known
        self._doubts = {key: seen for key, seen in self._doubts.items() if now - seen[1] < DOUBT_LIVES}
        doubted = {(name, vip) for name, vip, _ in self._doubts}
        most = max(min(now - self._asked_at, ROUND), TURN) * A_SECOND // SECOND
        self._asked_at = now
        for name, vip in {*self._due(now, most), *doubted}:
            if name not in known:
                continue  # a reload has renamed or removed it, and the worker has not said so yet
            questions.setdefault(known[name].interface, set()).add(vip)
        for name in self.incidents.silent:
            for peer in self.incidents.instances[name].silent if self._is_master(name) else ():
                questions.setdefault(known[name].interface, set()).add(parse(peer))
        for interface, wanted in questions.items():
            ear, mac = self._ears.get(interface), mac_of(interface)
            if ear is None or not any(mac):
                continue
            ear.mac = mac
            six = any(len(address) == 16 for address in wanted)
            ear.ask(sorted(wanted), Address(bytes(4)), self._source_6(interface, now) if six else Address(bytes(16)))

    def _source_6(self, interface: str, now: Nanoseconds) -> Address:
        self._look_at_kernel(now)
        return self._link_locals.get(interface, Address(bytes(16)))

    def _look_at_kernel(self, now: Nanoseconds) -> None:
        """Link-local addresses; with thousands of others a look costs milliseconds, so it is not taken each time."""
        if self._looked_at and now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        names = dict(socket.if_nameindex())
        asked = NetlinkSocket()
        try:
            self._link_locals = {
                names[seen.index]: seen.address
                for seen in asked.dump_addresses(socket.AF_INET6)
                if is_link_local(seen.address) and not seen.tentative and seen.index in names
            }
        finally:
            asked.close()

    # ---- hearing ----------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        wanted = self._masters.keys() - {""}
        for interface in self._ears.keys() - wanted:
            ear = self._ears.pop(interface)
            self._loop.unwatch(ear.fileno())
            ear.close()
        for interface in wanted - self._ears.keys():
            try:
                ear = NeighbourProbe(interface, mac_of(interface), answers_only=True)
            except KernelRefused as refused:
                if interface not in self._deaf:
                    self._deaf.add(interface)
                    line = f"{refused}: whether somebody else has our addresses there is not watched"
                    self._tell(LogLine(Level.INFO, line), 0)
                continue
            self._ears[interface] = ear
            self._loop.watch(ear.fileno(), lambda interface=interface: self._heard(interface))  # type: ignore[misc]

    def _heard(self, interface: str) -> None:
        now = monotonic_ns()
        ear = self._ears.get(interface)
        own = {mac_of(name) for _, name in socket.if_nameindex()} if ear is not None else set()
        for told in ear.take() if ear is not None else ():
            if isinstance(told, Answer) and told.mac not in own:
                self._answered(interface, told, now)

    def _answered(self, interface: str, told: Answer, now: Nanoseconds) -> None:
        for instance in [self._known[name] for name in sorted(self._masters.get(interface, ()))]:
            state = self.incidents.instances[instance.name]
            if text(told.address) in state.silent:
                name, peer = instance.name, text(told.address)
                self._say(self.incidents.unheard(name, peer, mac_text(told.mac), now), now)
            if any(vip.address == told.address for vip in (*instance.addresses, *instance.excluded)):
                self._doubt(instance.name, told, now)

    def _doubt(self, name: str, told: Answer, now: Nanoseconds) -> None:
        key = (name, told.address, told.mac)
        first, _ = self._doubts.get(key, (now, now))
        if key in self._doubts or len(self._doubts) < DOUBTS:
            self._doubts[key] = (first, now)
        if first == now:
            self._turn_at = min(self._turn_at or now + SECOND, now + SECOND)
        elif now - first >= CONFIRM:
            self._say(self.incidents.conflict(name, text(told.address), mac_text(told.mac), now), now)


def mac_of(interface: str) -> Mac:
    """The address of an interface of this network namespace; empty without it (netdevice(7), SIOCGIFHWADDR)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, struct.pack("=16s24x", interface.encode()))
        except OSError:
            return Mac(b"")
    return Mac(answer[18:24])


def incident_line(notice: IncidentNotice) -> str:
    """The line in the log, once when an incident is found and once when it is over."""
    if notice.opened:
        return f"({notice.name}) SPLIT BRAIN: {notice.text}. Cure: {notice.cure}"
    return f"({notice.name}) split brain ({notice.cause}) {notice.text}"
