"""The vrrp worker: one loop that decodes to events, asks the engine, and carries its effects out.

Nothing here waits for a peer, a script or a disk: what may take time goes to the supervisor as a notice.
"""

import gc
import mmap
import os
from collections.abc import Iterator
from errno import EPERM

import msgspec

from holdfast.base.address import text
from holdfast.base.time import MICROSECOND, MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.carp.receive import rules_of
from holdfast.config.plan import VrrpPlan
from holdfast.edge import answers
from holdfast.edge.addresses import STATICS, Addresses
from holdfast.edge.adverts import Adverts
from holdfast.edge.channel import Ask, AskRoutine, Channel, Ready, Record, Reload, Reply, Stop, Switch
from holdfast.edge.clock import asleep_ns, monotonic_ns
from holdfast.edge.interfaces import Interfaces
from holdfast.edge.loop import Loop
from holdfast.edge.neighbours import Neighbours
from holdfast.edge.no_accept import NoAccept
from holdfast.edge.outgoing import receive_buffer_bytes
from holdfast.edge.parts import Parts
from holdfast.edge.pulse import Pulse
from holdfast.edge.statics import Statics
from holdfast.engine.engine import LATE
from holdfast.engine.messages import (
    AddressesApplied,
    AddressesRefused,
    AddressLost,
    AnnounceAddresses,
    Asleep,
    Configure,
    Dismiss,
    EngineEffect,
    EngineEvent,
    Hush,
    InterfaceSeen,
    Leaving,
    LinkPolled,
    LogLine,
    ProcessesCounted,
    Readvertise,
    ReannounceAsked,
    RoutineHeard,
    ScriptFinished,
    SendBeat,
    SendOne,
    SetAddresses,
    StopAsked,
    Tell,
    TimersDue,
    TrackerReported,
    Unwatch,
    Watch,
)
from holdfast.engine.record import RecordedEngine
from holdfast.engine.timers import LEAD
from holdfast.kernel import process
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import MonitorSocket, NetlinkSocket
from holdfast.kernel.sysctl import Sysctls
from holdfast.vrrp.config import AnnounceConfig
from holdfast.vrrp.machine import Left
from holdfast.vrrp.messages import Level

RETRY: Nanoseconds = 100 * MILLISECOND
"""How soon an address the kernel refused for a passing reason is tried again."""

HEARTBEAT: Nanoseconds = 4 * SECOND
"""How often at least the worker says that it lives."""

ASLEEP: Nanoseconds = 100 * MILLISECOND
"""A suspension longer than this is told to the machines."""

BY_FIREWALL = "a firewall on this host keeps it in: let VRRP (IP protocol 112) out"
"""The cure for EPERM on sending: that capabilities are there, the open socket has shown."""


class VrrpWorker:
    """The engine's hands. `run` returns when the worker is to end."""

    def __init__(self, plan: VrrpPlan, loop: Loop, channel: Channel, pulse: Pulse | None) -> None:
        self.loop = loop
        self.channel = channel
        self.plan = plan
        self.finished = False
        self.keep_addresses = False
        self._pulse = pulse or Pulse()
        self._beat_at: Nanoseconds = 0  # when the earliest beat of this turn was due
        wish = plan.settings
        self._netlink = NetlinkSocket(
            wish.netlink_command_buffer_bytes,
            wish.netlink_command_buffer_force or not wish.netlink_command_buffer_bytes,
        )
        self._monitor = MonitorSocket(
            self._netlink,
            wish.netlink_monitor_buffer_bytes,
            wish.netlink_monitor_buffer_force or not wish.netlink_monitor_buffer_bytes,
        )
        self.interfaces = Interfaces(self._netlink, self._monitor)
        self.addresses = Addresses(self._netlink, self.interfaces)
        self.no_accept = NoAccept(plan.settings, self.addresses)
        self.neighbours = Neighbours(self.interfaces, self.addresses, plan.garp_groups)
        self.adverts = Adverts(loop.watch, loop.unwatch, self.handle)
        self.engine = RecordedEngine(plan, monotonic_ns(), boot_age())
        self.statics = Statics(self.addresses, self.interfaces, self._report, channel.put)
        self._asleep_ns = asleep_ns()
        self._sysctls = Sysctls()
        self.parts = Parts(loop, self._netlink, self.interfaces, self._sysctls, channel.put, self._report)
        self._retry: dict[int, Nanoseconds] = {}
        self._background: list[Iterator[None]] = []
        self._rt_priority = plan.settings.scheduling.rt_priority
        self._auto_priority = plan.settings.scheduling.max_auto_priority > 0

    # ---- running ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the interfaces in, sweep what a dead run left, begin every instance."""
        self.interfaces.dump()
        if self.plan.settings.disable_local_igmp:
            self._sysctls.attempt("net/ipv4/igmp_link_local_mcast_reports", "0", self._warn)
        for _ in self.parts.devices_steps(self.plan):
            pass
        self.parts.prune()
        known = self.interfaces.dump()
        self.loop.watch(self._monitor.fileno(), self._links_changed)
        now = monotonic_ns()
        self.act(self.engine.begin(known, now), now)
        self._without_device(now)
        self.statics.load(self.plan.statics)
        self.parts.load(self.plan)
        self._sweep()
        if self.adverts.filter_unavailable:
            line = f"Adverts are read one by one: {self.adverts.filter_unavailable}"
            self.channel.put(LogLine(Level.INFO, line))
        self.channel.put(Ready(len(self.plan.instances)))
        self.channel.flush()
        gc.collect()
        gc.freeze()
        gc.disable()

    def _sweep(self) -> None:
        held = {key for slot in self.addresses.holding() for key in self.addresses.held_keys(slot)}
        owners = {
            address.address
            for slot in self.engine.slots.values()
            if slot.config.starts_as_owner
            for address in slot.config.addresses
        }
        left = [
            seen
            for seen in self.interfaces.present()
            if (seen.index, seen.address, seen.prefix_length) not in held and seen.address not in owners
        ]
        for swept in self.addresses.sweep(left):
            line = f"Removed {swept}: left behind by an earlier run, and we are not master"
            self.channel.put(LogLine(Level.WARNING, line))
        spared = {slot.number for slot in self.engine.slots.values() if slot.config.starts_as_owner}
        routes = self.parts.routes
        for swept in routes.sweep(spared) if routes is not None else ():
            line = f"Removed {swept}: left behind by an earlier run, and we are not master"
            self.channel.put(LogLine(Level.WARNING, line))

    def run(self) -> None:
        """Work until told to stop."""
        loop, engine, parts, pulse = self.loop, self.engine, self.parts, self._pulse
        next_beat = 0
        while not self.finished:
            # a beat that is due waits for a wake-up that comes anyway
            idle = not (self._background or self.neighbours.waiting)
            deadline = self._deadline(next_beat + HEARTBEAT // 2)
            loop.wait(deadline, idle)
            now = monotonic_ns()
            pulse.turned(deadline if next_beat else None, now)
            if now >= next_beat:
                self._heartbeat(now)
                next_beat = now + HEARTBEAT // 2
                pulse.beat(now, self.adverts.ah_number)
            bfd = parts.bfd
            if bfd is not None and bfd.due_at is not None and bfd.due_at <= now:
                bfd.on_due(now)
            wake_at = engine.wake_at()
            if wake_at is not None and wake_at <= now:
                self._timers(now)
                self._on_the_dot()
            if self._retry:
                self._retry_addresses(now)
            self.neighbours.due(now)
            if self.neighbours.waiting:
                self.neighbours.more()
            if self._background:
                self._work_on()
            self.channel.flush()

    def _deadline(self, next_beat: Nanoseconds) -> Nanoseconds:
        deadline = next_beat
        retry_at = min(self._retry.values(), default=None)
        bfd = self.parts.bfd
        bfd_at = None if bfd is None else bfd.due_at
        for at in (self.engine.wake_at(), self.neighbours.deadline(), bfd_at, retry_at):
            if at is not None and at < deadline:
                deadline = at
        return deadline

    def _timers(self, now: Nanoseconds) -> None:
        self._notice_sleep(now)
        if self._auto_priority:
            self._notice_lateness(now)
        watched = self.engine.take_due(now)
        heard = self.adverts.last_heard(watched) if watched else {}
        beat_at = self.engine.beats.next_at
        if beat_at is not None and now >= beat_at:
            self._beat_at = beat_at
            if now - beat_at >= LATE:
                self._pulse.stalled(self.engine.beats, now)
        self.act(self.engine.handle(TimersDue(heard), now), now)

    def _notice_sleep(self, now: Nanoseconds) -> None:
        """Before any timer is believed: was the machine suspended since the last look?"""
        asleep = asleep_ns()
        span, self._asleep_ns = asleep - self._asleep_ns, asleep
        if span >= ASLEEP:
            self.handle(Asleep(span), now)

    def _notice_lateness(self, now: Nanoseconds) -> None:
        """`max_auto_priority`: when timers run late, ask for a higher real-time priority, one step at a time."""
        wanted = self.plan.settings.scheduling
        deadline = self.engine.deadline()
        late = 0 if deadline is None else now - deadline
        if late < wanted.min_auto_priority_delay_us * MICROSECOND:
            return
        self._rt_priority += 1
        refusal = process.set_realtime(self._rt_priority, wanted.rt_time_limit_us)
        line = f"A timer ran {span_text(late)} late: real-time priority {self._rt_priority} from now on"
        self.channel.put(LogLine(Level.WARNING, refusal.text() if refusal else line))
        self._auto_priority = refusal is None and self._rt_priority < wanted.max_auto_priority

    def _on_the_dot(self) -> None:
        """A watched master is about to count as down: stay awake for the last moments, so as not to be late."""
        deadline = self.engine.deadline()
        if deadline is None:
            return
        now = monotonic_ns()
        if not 0 < deadline - now <= LEAD or self.engine.wake_at() == deadline:
            return
        self._netlink.knock()
        self.act([], now)
        while monotonic_ns() < deadline:
            self.engine.rehearse(deadline)
        self.loop.wait(None, idle=False)  # an advert that came meanwhile counts
        self._timers(monotonic_ns())

    def _heartbeat(self, now: Nanoseconds) -> None:
        self._notice_sleep(now)
        self.engine.turn(now)
        for (interface, vrid), count in self.adverts.unknown_vrids.items():
            if self.plan.settings.log_unknown_vrids:
                what = f"VRID {vrid}" if vrid >= 0 else "a packet too short to be an advert"
                self.channel.put(LogLine(Level.INFO, f"Unknown {what} on {interface}: {count} packets", "unknown-vrid"))
        self.adverts.unknown_vrids.clear()
        for change in self.interfaces.changes:
            self.channel.put(LogLine(Level.INFO, change))
        self.interfaces.changes.clear()

    def _log(self, level: Level, text: str) -> None:
        self.channel.put(LogLine(level, text))

    def _work_on(self) -> None:
        """One slice of background work; it is dropped when done."""
        work = self._background[0]
        try:
            next(work)
        except StopIteration:
            self._background.pop(0)

    # ---- events and effects -----------------------------------------------------------------------------------------

    def handle(self, event: EngineEvent | ScriptFinished, now: Nanoseconds) -> None:
        """Give the engine an event and carry out what it asks."""
        self.act(self.engine.handle(event, now), now)

    def _report(self, event: TrackerReported | AddressesRefused) -> None:
        self.handle(event, monotonic_ns())

    def act(self, effects: list[EngineEffect], now: Nanoseconds) -> None:
        """Carry effects out: sockets made ready, adverts, addresses, what follows from them, and then the rest."""
        adverts: list[tuple[int, int]] = []
        addresses: list[tuple[int, bool]] = []
        announcements: list[tuple[int, int, AnnounceConfig]] = []
        rest: list[EngineEffect] = []
        put = self.channel.put
        for effect in effects:
            kind = effect.__class__
            if kind is Tell:
                put(effect.notice)  # type: ignore[attr-defined]
            elif kind is SendOne:
                adverts.append((effect.slot, effect.priority))  # type: ignore[attr-defined]
            elif kind is SetAddresses:
                addresses.append((effect.slot, effect.present))  # type: ignore[attr-defined]
            elif kind is SendBeat:
                self._send_beat(effect)  # type: ignore[arg-type]
            elif isinstance(effect, AnnounceAddresses):
                slot = self.engine.slots.get(effect.slot)
                if slot is not None:
                    announcements.append((effect.slot, effect.rounds, slot.config.announce))
            elif isinstance(effect, Configure | Readvertise):
                self._prepare(effect)
            else:
                rest.append(effect)
        if adverts:
            self._failed(self.adverts.send_now(adverts))
        if addresses:
            self._set_addresses(addresses, now)
        if announcements:
            self._announce(announcements, now)
        for effect in rest:
            self._carry_out(effect, now)

    def _announce(self, wanted: list[tuple[int, int, AnnounceConfig]], now: Nanoseconds) -> None:
        try:
            self.neighbours.announce(wanted, now)
        except KernelRefused as refused:
            self.channel.put(LogLine(Level.WARNING, str(refused), "announce"))

    def _send_beat(self, effect: SendBeat) -> None:
        slots = self.engine.beats.members(effect.beat)
        failed = self.adverts.send_beat(effect.beat, effect.version, slots)
        self._pulse.sent(monotonic_ns() - self._beat_at, len(slots))
        if failed:
            self._failed(failed)

    def _failed(self, failed: list[tuple[int, int]]) -> None:
        for slot, errno in failed:
            found = self.engine.slots.get(slot)
            if found is not None:
                found.count("send_errors")
                cure = BY_FIREWALL if errno == EPERM else ""
                refused = KernelRefused("send an advert", self.adverts.describe(slot), errno, cure)
                self.channel.put(LogLine(Level.WARNING, f"({found.config.name}) {refused}", "send"))

    def _carry_out(self, effect: EngineEffect, now: Nanoseconds) -> None:
        if isinstance(effect, Hush):
            self.neighbours.hush(effect.slot)
        elif isinstance(effect, Watch):
            self.adverts.watch(effect.slot)
        elif isinstance(effect, Unwatch):
            at, count = self.adverts.unwatch(effect.slot)
            if count:
                self.handle(RoutineHeard(effect.slot, at, count), now)
        elif isinstance(effect, Dismiss):
            self.adverts.forget(effect.slot)
            self.addresses.drop(effect.slot)
            if self.parts.routes is not None:
                self.parts.routes.drop(effect.slot)
            self.neighbours.forget(effect.slot)
            self._retry.pop(effect.slot, None)
        else:
            raise AssertionError(f"no way to carry out {effect!r}")

    def _prepare(self, effect: Configure | Readvertise) -> None:
        slot = self.engine.slots.get(effect.slot)
        if slot is None:
            return
        config = slot.config
        index = self.interfaces.index_of(config.wire)
        try:
            if isinstance(effect, Configure):
                self.neighbours.forget(slot.number)
                self.addresses.configure(slot.number, config)
                self.no_accept.configure(slot.number, config)
                if self.parts.routes is not None or config.routes or config.rules:
                    self.parts.need_routes().configure(slot.number, config)
                rules = rules_of(config)
                link = self.interfaces.link_of(config.interface)
                buffer = receive_buffer_bytes(config, self.plan.settings, link.mtu if link is not None else 0)
                self.adverts.configure(slot.number, config, index, rules, buffer)
                self.neighbours.prepare(slot.number, index)
                if config.promote_secondaries and index:
                    self._sysctls.set(f"net/ipv4/conf/{config.interface}/promote_secondaries", "1")
            self.adverts.ready(slot.number, config, slot.standing, index)
        except KernelRefused as refused:
            self.handle(AddressesRefused(slot.number, str(refused), True), monotonic_ns())

    def _warn(self, line: str) -> None:
        self.channel.put(LogLine(Level.WARNING, line))

    def _without_device(self, now: Nanoseconds) -> None:
        """Instances whose interface could not be made are in FAULT, and say why."""
        devices = self.parts.devices
        if devices is not None and devices.refused:
            for slot in list(self.engine.slots.values()):
                sentence = devices.refused.get(slot.config.interface)
                if sentence and slot.refused != sentence:
                    self.handle(AddressesRefused(slot.number, sentence, True), now)

    # ---- addresses --------------------------------------------------------------------------------------------------

    def _set_addresses(self, wanted: list[tuple[int, bool]], now: Nanoseconds) -> None:
        if self.keep_addresses:
            wanted = [(slot, present) for slot, present in wanted if present]
        for slot, sentence in self.no_accept.before(wanted):
            self.handle(AddressesRefused(slot, sentence, False), now)
        routes = self.parts.routes
        if routes is not None:
            routes.take_off(wanted)
        applied, refusals = self.addresses.apply(wanted)
        if routes is not None:
            routes.put_on(wanted)
        self.no_accept.after(wanted)
        if applied:
            self.act(self.engine.handle(AddressesApplied(applied), now), now)
        for refusal in refusals:
            if refusal.transient:
                self._retry[refusal.slot] = now + RETRY
            self.handle(AddressesRefused(refusal.slot, refusal.text, not refusal.transient), now)

    def _retry_addresses(self, now: Nanoseconds) -> None:
        due = [slot for slot, at in self._retry.items() if at <= now]
        for slot in due:
            del self._retry[slot]
            found = self.engine.slots.get(slot)
            if found is not None and found.role.name == "MASTER":
                self._set_addresses([(slot, True)], now)

    def _links_changed(self) -> None:
        now = monotonic_ns()
        try:
            changed, gone = self.interfaces.read()
        except KernelRefused as refused:
            self.channel.put(LogLine(Level.ERROR, str(refused), "netlink"))
            return
        for interface in changed:
            before = self.engine.interfaces.get(interface.name)
            if before is not None and (before.index, before.mac) != (interface.index, interface.mac):
                self.neighbours.forget_interface(before.index)
                if before.index != interface.index:
                    self.addresses.forget_interface(before.index)
            self.handle(InterfaceSeen(interface), now)
        devices = self.parts.devices
        if devices is not None and any(devices.concerns(interface.name) for interface in changed):
            devices.renew()
            self._without_device(now)
        if self.interfaces.renewed:
            self.interfaces.renewed = False
            gone = self.addresses.missing(self.interfaces.present())
        removed = []
        for lost in gone:
            slot = self.addresses.owner_of(lost)
            if slot is not None:
                self.addresses.forget(slot, lost)
            if slot == STATICS:
                removed.append(f"{text(lost.address)}/{lost.prefix_length} dev {self.interfaces.name_of(lost.index)}")
            elif slot is not None:
                self.handle(AddressLost(slot, lost.address, self.interfaces.name_of(lost.index)), now)
        self.statics.renew(changed, removed)
        if self.parts.routes is not None:
            self.parts.routes.renew(changed)

    # ---- the supervisor ---------------------------------------------------------------------------------------------

    def on_message(self, message: object, fd: int | None) -> None:
        """Something the supervisor says."""
        now = monotonic_ns()
        if isinstance(message, ScriptFinished | ReannounceAsked | TrackerReported | ProcessesCounted | LinkPolled):
            self.handle(message, now)
        elif isinstance(message, AskRoutine):
            answers.routine(self, message, now)
        elif isinstance(message, Ask):
            self._background.append(answers.view(self, message))
        elif isinstance(message, Record):
            self._background.append(answers.recording(self, message))
        elif isinstance(message, Reload) and fd is not None:
            self._background.append(self._reload(message.size, fd))
        elif isinstance(message, Switch):
            self._switch(message, now)
        elif isinstance(message, Stop):
            self.keep_addresses = message.keep_addresses
            self.leave("the daemon stops")

    def _switch(self, asked: Switch, now: Nanoseconds) -> None:
        """A planned hand-over: looked at first, carried out unless it is only a rehearsal, and answered."""
        self._bring_up_to_date()
        answer, effects = self.engine.command(
            asked.instance,
            asked.direction,
            by=asked.by,
            for_ns=asked.for_ns,
            force=asked.force,
            dry_run=asked.dry_run,
            now=now,
        )
        self.act(effects, now)
        self.channel.put(Reply(asked.ask, msgspec.json.encode(answer), True))

    def _bring_up_to_date(self) -> None:
        """Let the engine know when every watched master was last heard."""
        for slot in self.engine.slots.values():
            if slot.watched:
                at, count = self.adverts.heard(slot.number)
                if count:
                    self.handle(RoutineHeard(slot.number, at, count), monotonic_ns())

    def leave(self, why: str) -> None:
        """Resign, take the addresses off, and end."""
        if self.finished:
            return
        now = monotonic_ns()
        self.handle(StopAsked(why), now)
        if self.parts.bfd is not None:
            self.parts.bfd.close()
        if not self.keep_addresses:
            still = [(slot, False) for slot in self.addresses.holding()]
            if self.parts.routes is not None:
                self.parts.routes.leave()
            if still:
                self.addresses.apply(still)
        self.channel.put(Leaving())
        self.channel.flush()
        self.finished = True

    def _reload(self, size: int, fd: int) -> Iterator[None]:
        """Read the plan from its memory file, decode it in slices, and bring the engine to it."""
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
            octets = bytes(memory)
        os.close(fd)
        yield
        plan = msgspec.msgpack.decode(octets, type=VrrpPlan)
        del octets
        yield
        yield from self.parts.devices_steps(plan)
        self._links_changed()
        self.plan = plan
        now = monotonic_ns()
        self.act(self.engine.reload(plan, [], now), now)
        self.parts.prune()
        self.statics.load(plan.statics)
        self.parts.load(plan)
        self.channel.put(Ready(len(plan.instances)))
        gc.freeze()

    def close(self) -> None:
        """Give every descriptor back."""
        if self.parts.devices is not None:
            self.parts.devices.close()
        self._sysctls.restore()
        self.no_accept.close()
        self.adverts.close()
        self.neighbours.close()
        if self.parts.routes is not None:
            self.parts.routes.close()
        self._netlink.close()
        self._monitor.close()

    @property
    def left(self) -> bool:
        """Whether every instance has resigned."""
        return all(isinstance(slot.state, Left) for slot in self.engine.slots.values())


def boot_age() -> Nanoseconds:
    """How long ago this machine booted, suspensions included."""
    return monotonic_ns() + asleep_ns()
