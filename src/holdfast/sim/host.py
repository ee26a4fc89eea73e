"""One host of the simulated world: an engine, and around it what the edge, the supervisor and the kernel would do.

Effects are carried out in the worker's order (`edge/worker.py: act`), routine adverts are absorbed once the engine asks
for that, and addresses are those the kernel would have: gone with their interface, refused where there is none.
"""

from collections import deque
from typing import Protocol

import msgspec

from holdfast.base.address import Address, is_multicast
from holdfast.base.time import MILLISECOND, Nanoseconds
from holdfast.carp.receive import Rules, receive_either, rules_of
from holdfast.config.plan import VrrpPlan
from holdfast.engine.engine import Engine
from holdfast.engine.messages import (
    AddressesApplied,
    AddressesRefused,
    AddressLost,
    AdvertArrived,
    AdvertRefused,
    Asleep,
    Configure,
    Dismiss,
    EngineEffect,
    EngineEvent,
    Interface,
    InterfaceSeen,
    LogLine,
    Notice,
    ProcessesCounted,
    Readvertise,
    RoutineHeard,
    RunScript,
    ScriptFinished,
    SendBeat,
    SendOne,
    SetAddresses,
    StateNotice,
    StopAsked,
    Tell,
    TimersDue,
    TrackerReported,
    Unwatch,
    Watch,
)
from holdfast.engine.slot import Slot
from holdfast.sim.wire import Frame, Frames
from holdfast.vrrp.config import RESIGN, Family
from holdfast.vrrp.receive import Guard, PacketRejected, ReceiveRules, strange_though_refused

SOCKET_QUEUE = 50
"""Adverts that wait in one socket of a host that is frozen."""

ASLEEP: Nanoseconds = 100 * MILLISECOND
"""A suspension longer than this is told to the machines."""

Held = frozenset[tuple[str, Address]]
"""Addresses with the interfaces they are on."""


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A host to be: its plan, its interfaces, and the segment each is on (by default the one of the same name)."""

    name: str
    plan: VrrpPlan
    interfaces: tuple[Interface, ...]
    segments: dict[str, str] = {}
    script_ns: Nanoseconds = MILLISECOND  # how long a tracking script runs


class Surroundings(Protocol):
    """What a host needs of its world."""

    now: Nanoseconds
    frames: Frames

    def transmit(self, host: "Host", via: str, frame: Frame) -> None:
        """Put a frame onto the wire."""

    def note(self, host: "Host", instance: str, kind: str, state: str, cause: str = "") -> None:
        """Write something into the history."""

    def log(self, host: "Host", line: LogLine) -> None:
        """Write a line of the log into the history, where that is wanted."""

    def run_script(self, host: "Host", name: str, run: int, timeout_ns: Nanoseconds | None) -> None:
        """Begin one run of a tracking script."""

    def reckon(self, host: "Host") -> None:
        """The host's addresses have changed."""


class Host:
    """One host. `engine` is None while the daemon doesn't run; `power` False while the machine is off."""

    def __init__(self, world: Surroundings, spec: NodeSpec) -> None:
        self.world = world
        self.name = spec.name
        self.plan = spec.plan
        self.script_ns = spec.script_ns
        self.interfaces = {interface.name: interface for interface in spec.interfaces}
        self.segments = {name: spec.segments.get(name, name) for name in self.interfaces}
        self.verdicts: dict[str, bool | None] = {}  # script → what its next run says; None: it hangs
        self.numbers: dict[str, int] = {}  # tracked file → what is in it
        self.engine: Engine | None = None
        self.power = True
        self.frozen = False  # the daemon is stopped, the kernel works
        self.suspended = False  # the machine stands still
        self.isolated = False  # nobody reaches it, and it reaches nobody
        self.refusing = 0  # how often the kernel still refuses addresses
        self.slept_ns: Nanoseconds = 0  # the monotonic clock is behind by this
        self.untold_ns: Nanoseconds = 0  # of which the worker has not noticed yet
        self.holds: dict[int, Held] = {}  # slot → its addresses in the kernel
        self.left: Held = frozenset()  # what a daemon that was killed left behind
        self.wake_at: Nanoseconds | None = None
        self.boot = 0  # counts the starts of the daemon
        self.frames: dict[int, tuple[tuple[Frame, ...], tuple[Frame, ...]]] = {}
        self.watched: dict[int, Frame] = {}
        self.heard: dict[int, tuple[Nanoseconds, int]] = {}
        self._rules: dict[int, Rules] = {}
        self._listening: dict[tuple[str, Family, int], list[int]] = {}
        self._groups: dict[tuple[str, Family], set[Address]] = {}
        self._judged: dict[tuple[int, Frame], EngineEvent] = {}
        self._waiting: dict[tuple[str, Family], deque[Frame]] = {}
        self._lost: list[tuple[int, Address, str]] = []  # told when the daemon goes on
        self._current: Frame | None = None

    @property
    def clock(self) -> Nanoseconds:
        """The host's monotonic clock."""
        return self.world.now - self.slept_ns

    # ---- coming and going -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The daemon starts; what an earlier run left is swept."""
        self.forget()
        self.left = frozenset()
        self.untold_ns = 0
        self.boot += 1
        self.engine = Engine(self.plan, self.clock)
        self.carry_out(self.engine.begin(list(self.interfaces.values()), self.clock))
        self.report()
        self.world.reckon(self)

    def report(self) -> None:
        """What the supervisor tells of files and processes, and of what the worker keeps: all is well, unless said."""
        for file in self.plan.files:
            self.handle(TrackerReported("file", file.name, self.numbers.get(file.name, file.init_value or 0)))
        for static in self.plan.statics:
            if static.tracked:
                self.handle(TrackerReported("static", static.name, True))
        for session in self.plan.bfd:
            self.handle(TrackerReported("bfd", session.name, bool(self.verdicts.get(session.name, True))))
        for one in self.plan.processes:
            few = 0 if one.quorum else (one.quorum_max or 0) + 1
            self.handle(ProcessesCounted(one.name, one.quorum if self.verdicts.get(one.name, True) else few))

    def forget(self) -> None:
        """The daemon is gone, and its addresses with it."""
        self.engine = None
        self.frozen = False
        self.wake_at = None
        for table in (self.holds, self.frames, self.watched, self.heard, self._rules, self._listening, self._groups):
            table.clear()
        self._judged.clear()
        self._waiting.clear()
        self._lost.clear()

    def leave(self, cause: str) -> None:
        """A clean stop: the worker resigns and removes what is still held."""
        self.handle(StopAsked(cause))
        assert not self.holds, f"{self.name} stopped and still holds {self.holds}"
        self.forget()
        self.world.reckon(self)

    def set_interface(self, interface: Interface) -> None:
        """The interface is like this now; with its index gone or new, its addresses are gone."""
        before = self.interfaces.get(interface.name)
        self.interfaces[interface.name] = interface
        if before is not None and before.index != interface.index:
            for slot, held in list(self.holds.items()):
                self._hold(slot, frozenset(pair for pair in held if pair[0] != interface.name))
            self.left = frozenset(pair for pair in self.left if pair[0] != interface.name)
        self.world.reckon(self)
        if self.engine is not None and not self.frozen and not self.suspended:
            self.handle(InterfaceSeen(interface))

    def lose(self, address: Address) -> None:
        """Somebody removes an address that is held."""
        for slot, held in list(self.holds.items()):
            for pair in held:
                if pair[1] == address:
                    self._hold(slot, held - {pair})
                    self.world.reckon(self)
                    self._lost.append((slot, address, pair[0]))
                    self._tell_lost()
                    return

    def _tell_lost(self) -> None:
        if self.engine is None or self.frozen or self.suspended:
            return
        lost, self._lost = self._lost, []
        for slot, address, interface in lost:
            self.handle(AddressLost(slot, address, interface))

    def thaw(self) -> None:
        """The daemon goes on: its interfaces as they are now, then what waits in its sockets, then its timers."""
        self.frozen = False
        if self.engine is None:
            return
        self.catch_up()
        self.report()
        waiting, self._waiting = self._waiting, {}
        for (interface_name, _), frames in waiting.items():
            for frame in frames:
                self.receive(interface_name, frame)

    def catch_up(self) -> None:
        """What the kernel told meanwhile: the interfaces as they are now, the addresses that went."""
        if self.engine is not None:
            for interface in list(self.interfaces.values()):
                self.handle(InterfaceSeen(interface))
            self._tell_lost()

    # ---- time -------------------------------------------------------------------------------------------------------

    def timers(self) -> None:
        """The worker's look at its timers."""
        assert self.engine is not None
        self.notice_sleep()
        deadline = self.engine.deadline()
        if deadline is not None and deadline <= self.clock:
            watched = self.engine.take_due(self.clock)
            heard = self.heard
            self.handle(TimersDue({number: heard[number][0] if number in heard else 0 for number in watched}))

    def notice_sleep(self) -> None:
        """Before any timer is believed: was the machine suspended since the last look?"""
        if self.untold_ns >= ASLEEP:
            span, self.untold_ns = self.untold_ns, 0
            self.handle(Asleep(span))

    def bring_up_to_date(self) -> None:
        """Let the engine know when every watched master was last heard."""
        assert self.engine is not None
        for slot in list(self.engine.slots.values()):
            if slot.watched:
                self._tell_heard(slot.number)

    def _tell_heard(self, slot: int) -> None:
        at, count = self.heard.get(slot, (0, 0))
        if count:
            self.heard[slot] = (at, 0)
            self.handle(RoutineHeard(slot, at, count))

    # ---- events and effects -----------------------------------------------------------------------------------------

    def handle(self, event: EngineEvent | ScriptFinished) -> None:
        """Give the engine an event and carry out what it asks."""
        assert self.engine is not None
        effects = self.engine.handle(event, self.clock)
        if effects:
            self.carry_out(effects)

    def carry_out(self, effects: list[EngineEffect]) -> None:
        """Sockets made ready, adverts, addresses, what follows from them, and then the rest."""
        engine = self.engine
        assert engine is not None
        adverts: list[SendOne] = []
        addresses: list[SetAddresses] = []
        rest: list[EngineEffect] = []
        for effect in effects:
            if isinstance(effect, SendBeat):
                for number in engine.beats.members(effect.beat):
                    self._send(engine, number, False)
            elif isinstance(effect, Tell):
                self._tell(effect.notice)
            elif isinstance(effect, SendOne):
                adverts.append(effect)
            elif isinstance(effect, SetAddresses):
                addresses.append(effect)
            elif isinstance(effect, Configure | Readvertise):
                self._prepare(engine, effect)
            else:
                rest.append(effect)
        for advert in adverts:
            self._send(engine, advert.slot, advert.priority == RESIGN)
        if addresses:
            self._set_addresses(engine, addresses)
        for effect in rest:
            self._carry_out(effect)

    def _tell(self, notice: Notice) -> None:
        if isinstance(notice, StateNotice):
            self.world.note(self, notice.name, notice.kind.lower(), notice.state, notice.cause)
        elif isinstance(notice, RunScript):
            self.world.run_script(self, notice.name, notice.run, notice.command.timeout_ns)
        elif isinstance(notice, LogLine):
            self.world.log(self, notice)

    def _carry_out(self, effect: EngineEffect) -> None:
        if isinstance(effect, Watch):
            if self._current is not None:
                self.watched[effect.slot] = self._current
        elif isinstance(effect, Unwatch):
            self.watched.pop(effect.slot, None)
            self._tell_heard(effect.slot)
            self.heard.pop(effect.slot, None)
        elif isinstance(effect, Dismiss):
            assert effect.slot not in self.holds, "an instance is gone and its addresses are not"
            self._dismiss(effect.slot)
            self.frames.pop(effect.slot, None)

    def _prepare(self, engine: Engine, effect: Configure | Readvertise) -> None:
        slot = engine.slots.get(effect.slot)
        if slot is None:
            return
        config = slot.config
        if isinstance(effect, Configure):
            self._dismiss(slot.number)
            self._rules[slot.number] = rules_of(config)
            interface = self.interfaces.get(config.interface)
            if not config.interface or (interface is not None and interface.index):
                key = (config.interface, config.family, config.vrid)
                self._listening.setdefault(key, []).append(slot.number)
                if config.group is not None:
                    self._groups.setdefault(key[:2], set()).add(config.group)
        self.frames[slot.number] = self.world.frames.of(config, slot.standing)

    def _dismiss(self, number: int) -> None:
        self.watched.pop(number, None)
        if self.engine is not None and number in self.engine.slots:
            self._tell_heard(number)
        self._rules.pop(number, None)
        for key, numbers in list(self._listening.items()):
            if number in numbers:
                numbers.remove(number)
                if not numbers:
                    del self._listening[key]
        for judged in [key for key in self._judged if key[0] == number]:
            del self._judged[judged]

    # ---- adverts ----------------------------------------------------------------------------------------------------

    def _send(self, engine: Engine, number: int, resigning: bool) -> None:
        slot = engine.slots.get(number)
        if slot is None or number not in self.frames:
            return
        for frame in self.frames[number][resigning]:
            self.world.transmit(self, slot.config.interface, frame)

    def hears(self, interface: str, frame: Frame) -> bool:
        """Whether the kernel would take a frame in on this interface."""
        found = self.interfaces.get(interface)
        return found is not None and found.index != 0 and found.up and self.power and not self.suspended

    def has_address(self, address: Address) -> str | None:
        """The interface that has the address, if one that is up has."""
        for interface in self.interfaces.values():
            if interface.up and address in interface.addresses:
                return interface.name
        return None

    def _joined(self, interface: str, family: Family, group: Address) -> bool:
        return group in self._groups.get((interface, family), ())

    def receive(self, interface: str, frame: Frame) -> bool:
        """One frame arrives: absorbed, or judged and handed to the engine; whether it was handed to it."""
        if self.engine is None or not self.hears(interface, frame):
            return False
        family = frame.packet.family
        if self.frozen:
            self._waiting.setdefault((interface, family), deque(maxlen=SOCKET_QUEUE)).append(frame)
            return False
        handed = False
        for name in (interface, ""):
            slots = self._listening.get((name, family, frame.vrid))
            if slots is not None:
                several = len(slots) > 1
                for number in tuple(slots):
                    if self.watched.get(number) is frame:
                        known = self.heard.get(number)
                        self.heard[number] = (self.clock, known[1] + 1 if known else 1)
                    else:
                        self._take(number, interface, frame, several)
                        handed = True
        return handed

    def _take(self, number: int, interface: str, frame: Frame, several: bool) -> None:
        rules = self._rules.get(number)  # an advert to its neighbour may just have removed it
        packet = frame.packet
        if rules is None or (several and not rules.meant_for(packet.source, packet.destination)):
            return
        if is_multicast(packet.destination) and not self._joined(interface, packet.family, packet.destination):
            return
        event = self._judged.get((number, frame))
        if event is None:
            event = self._judged[number, frame] = self._judge(number, rules, frame)
        self._tell_heard(number)  # what was absorbed before it counts first
        self._current = frame
        self.handle(event)
        self._current = None

    def absorbs(self, interface: str, frame: Frame) -> list[int] | None:
        """The slots that would absorb a frame; None when it would be handed to one that has to think about it."""
        if self.engine is None or not self.hears(interface, frame):
            return []
        if self.frozen or self.suspended:
            return None
        packet = frame.packet
        absorbing = []
        for name in (interface, ""):
            slots = self._listening.get((name, packet.family, frame.vrid), [])
            for number in slots:
                if self.watched.get(number) is frame:
                    absorbing.append(number)
                    continue
                meant = len(slots) == 1 or self._rules[number].meant_for(packet.source, packet.destination)
                deaf = is_multicast(packet.destination) and not self._joined(
                    interface, packet.family, packet.destination
                )
                if meant and not deaf:
                    return None
        return absorbing

    def _guard(self, number: int) -> Guard | None:
        config = self.engine.slots[number].config if self.engine is not None else None
        if config is None or not config.guarded:
            return None
        from holdfast.sim.seal import seal_guard

        return seal_guard(config)

    def _judge(self, number: int, rules: Rules, frame: Frame) -> EngineEvent:
        taken = receive_either(rules, frame.packet, self._guard(number))
        if isinstance(taken, PacketRejected):
            strange = isinstance(rules, ReceiveRules) and strange_though_refused(rules, frame.packet)
            return AdvertRefused(number, taken.reason.value, taken.text, frame.packet.source, strange)
        return AdvertArrived(
            number,
            taken.priority,
            frame.packet.source,
            taken.adver_interval_ns,
            taken.remarks,
            taken.counted,
            taken.stranger,
        )

    # ---- addresses --------------------------------------------------------------------------------------------------

    def _set_addresses(self, engine: Engine, wanted: list[SetAddresses]) -> None:
        applied: list[int] = []
        refused: list[AddressesRefused] = []
        for effect in wanted:
            slot = engine.slots.get(effect.slot)
            if not effect.present:
                self._hold(effect.slot, frozenset())
            elif slot is not None:
                held = addresses_of(slot)
                if any(not self._has_interface(name) for name, _ in held):
                    refused.append(AddressesRefused(effect.slot, "cannot add an address: no such device", True))
                elif self.refusing:
                    self.refusing -= 1
                    refused.append(AddressesRefused(effect.slot, "cannot add an address: invalid argument", True))
                else:
                    self._hold(effect.slot, held)
                    applied.append(effect.slot)
        self.world.reckon(self)
        if applied:
            self.handle(AddressesApplied(tuple(applied)))
        for refusal in refused:
            self.handle(refusal)

    def _has_interface(self, name: str) -> bool:
        found = self.interfaces.get(name)
        return found is not None and found.index != 0

    def _hold(self, slot: int, held: Held) -> None:
        if held:
            self.holds[slot] = held
        else:
            self.holds.pop(slot, None)

    def serves(self) -> frozenset[Address]:
        """The addresses that clients reach here."""
        if not self.power or self.suspended or self.isolated:
            return frozenset()
        every = self.left.union(*self.holds.values())
        return frozenset(address for name, address in every if name in self.interfaces and self.interfaces[name].up)


def addresses_of(slot: Slot) -> Held:
    """What a slot puts on which interface while it is master."""
    config = slot.config
    every = (*config.addresses, *config.excluded)
    return frozenset((address.interface or config.interface, address.address) for address in every)
