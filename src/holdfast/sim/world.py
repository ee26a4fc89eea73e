"""The simulated world: hosts, wires, one clock, one seed. Nothing waits: time goes from one happening to the next.

    world = World([NodeSpec(name="a", plan=plan, interfaces=(eth0,))], seed=1)
    world.run(10 * SECOND)
    world.crash("a")

Every choice comes from the seed, so the same calls give the same history.
"""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from random import Random

import msgspec

from holdfast.base.address import Address, is_multicast
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config.plan import VrrpPlan
from holdfast.engine import holds
from holdfast.engine.messages import Interface, LogLine, ScriptFinished
from holdfast.engine.reload import reload
from holdfast.engine.slot import Slot
from holdfast.sim.calm import leap
from holdfast.sim.history import Entry, Service, Span, address_of
from holdfast.sim.host import Host, NodeSpec, addresses_of
from holdfast.sim.wire import CLEAR, Frame, Frames, Weather
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.messages import Role

BEGUN: Nanoseconds = 1_000_000_000_000
"""Where the clocks stand in the beginning."""

AT_ONCE = 20_000
"""Happenings in one instant; more would be hosts that answer one another without end."""

LEAST_LEAP: Nanoseconds = 5 * SECOND
"""A calm stretch shorter than this is gone through step by step."""

LEAP_AGAIN: Nanoseconds = SECOND
"""How soon after a look for calm that found none the next one is taken."""

HEARTBEAT: Nanoseconds = 2 * SECOND
"""How often a worker looks whether the machine was suspended."""


class World:
    """Hosts in virtual time. Hosts are called by their names; names that are not there raise KeyError."""

    def __init__(
        self,
        nodes: Iterable[NodeSpec],
        seed: int = 0,
        weather: Weather = CLEAR,
        *,
        logs: bool = False,
        start: bool = True,
        leaps: bool = False,
    ) -> None:
        self.now = self.begun = BEGUN
        self.chance = Random(seed)
        self.weather = weather
        self.logs = logs
        self.leaps = leaps  # go over calm stretches in one step (calm.py)
        self.leapt_ns: Nanoseconds = 0  # how much of the time was gone over so
        self.happened: Callable[[], None] | None = None  # called when the history has grown and all is delivered
        self._told = 0
        self._leap_at: Nanoseconds = 0
        self.history: list[Entry] = []
        self.frames = Frames()
        self.hosts = {spec.name: Host(self, spec) for spec in nodes}
        self.service = Service(self.now, self.vips())
        self.cuts: set[tuple[str, str]] = set()
        self._routes: dict[tuple[str, str, Frame], list[tuple[Host, str, Frame]]] = {}
        self._last: dict[tuple[str, str], Nanoseconds] = {}  # when the last packet of a path arrives
        self._wire: deque[tuple[Host, str, Frame]] = deque()
        self._wakes: list[tuple[Nanoseconds, int, Host]] = []
        self._later: list[tuple[Nanoseconds, int, Callable[[], None]]] = []
        self._ticket = 0
        if start:
            for name in self.hosts:
                self.start(name)

    # ---- time -------------------------------------------------------------------------------------------------------

    def run(self, span_ns: Nanoseconds) -> None:
        """Let time pass."""
        until = self.now + span_ns
        at_once = 0
        while True:
            wake_at = self._wakes[0][0] if self._wakes else until + 1
            later_at = self._later[0][0] if self._later else until + 1
            at = min(wake_at, later_at)
            if at > until:
                self.now = until
                return
            if self.leaps and self.now >= self._leap_at and min(until, later_at) - self.now >= LEAST_LEAP:
                if leap(self, min(until, later_at), LEAST_LEAP):
                    continue
                self._leap_at = self.now + LEAP_AGAIN
            at_once = 0 if at > self.now else at_once + 1
            assert at_once < AT_ONCE, f"time stands still at {self.now - self.begun} ns"
            self.now = max(self.now, at)
            if later_at <= wake_at:  # what arrives is read before the timers are looked at
                heappop(self._later)[2]()
            else:
                _, _, host = heappop(self._wakes)
                if host.wake_at != at:
                    continue
                host.wake_at = None
                if host.engine is not None and not host.frozen:
                    host.timers()
                    self._arm(host)
            if self._wire:
                self._settle()
            self._tell()

    def _tell(self) -> None:
        if self.happened is not None and len(self.history) > self._told:
            self._told = len(self.history)
            self.happened()

    def later(self, span_ns: Nanoseconds, call: Callable[[], None]) -> None:
        """Do something in `span_ns`."""
        self._ticket += 1
        heappush(self._later, (self.now + span_ns, self._ticket, call))

    def _arm(self, host: Host) -> None:
        """Wake the host when its engine has something due."""
        if host.engine is None or host.frozen or host.suspended:
            return
        deadline = host.engine.deadline()
        if deadline is None:
            return
        at = max(deadline + host.slept_ns, self.now)
        if host.wake_at is None or at < host.wake_at:
            if self.weather.late_ns:
                at += self.chance.randrange(self.weather.late_ns)
            host.wake_at = at
            self._ticket += 1
            heappush(self._wakes, (at, self._ticket, host))

    def _settle(self) -> None:
        """Deliver what arrives at once, until nothing does."""
        for _ in range(AT_ONCE):
            if not self._wire:
                return
            self._arrive(*self._wire.popleft())
        raise AssertionError(f"the hosts answer one another without end at {self.now - self.begun} ns")

    def done(self, host: Host) -> None:
        """After something was done to a host, here or by hand: what it sent arrives, and its timers are known."""
        self._arm(host)
        self._settle()
        self._tell()

    def rearm(self, host: Host) -> None:
        """The host's timers were moved on."""
        host.wake_at = None
        self._arm(host)

    # ---- what may happen to a host ----------------------------------------------------------------------------------

    def start(self, node: str) -> None:
        """Power on and the daemon starts; nothing when it runs."""
        host = self.hosts[node]
        if host.engine is not None or host.suspended:
            return
        self._event(host, "start")
        host.power = True
        self._routes.clear()
        host.begin()
        self.done(host)

    def crash(self, node: str) -> None:
        """Power off: everything at once, without a word."""
        host = self.hosts[node]
        self._event(host, "crash")
        host.power = False
        host.suspended = False
        self._routes.clear()
        host.left = frozenset()
        host.forget()
        self.reckon(host)

    def kill(self, node: str) -> None:
        """Both processes of the daemon end without a word; the kernel keeps the addresses."""
        host = self.hosts[node]
        if host.engine is None:
            return
        self._event(host, "kill")
        host.left = host.left.union(*host.holds.values())
        host.forget()
        self.reckon(host)

    def stop(self, node: str, cause: str = "the daemon stops") -> None:
        """A clean stop; nothing when it doesn't run or is stalled."""
        host = self.hosts[node]
        if host.engine is None or host.frozen or host.suspended:
            return
        self._event(host, "stop")
        host.leave(cause)
        self._settle()
        self._tell()

    def restart(self, node: str, after_ns: Nanoseconds = 0) -> None:
        """A clean stop, and a start `after_ns` later."""
        self.stop(node)
        if after_ns:
            self.later(after_ns, lambda: self.start(node))
        else:
            self.start(node)

    def stall(self, node: str, span_ns: Nanoseconds) -> None:
        """The daemon is not run for a while; its kernel works on."""
        host = self.hosts[node]
        if host.engine is None or host.frozen or host.suspended:
            return
        boot = host.boot
        self.freeze(node, f"{span_ns / SECOND:g} s")
        self.later(span_ns, lambda: self.thaw(node) if host.boot == boot else None)

    def freeze(self, node: str, cause: str = "") -> None:
        """The daemon is not run until `thaw`."""
        host = self.hosts[node]
        if host.engine is not None and not host.suspended:
            self._event(host, "stall", cause=cause)
            host.frozen = True

    def thaw(self, node: str) -> None:
        """The daemon goes on; nothing when it was not frozen."""
        host = self.hosts[node]
        if host.frozen:
            self._event(host, "goes on")
            host.thaw()
            self.done(host)

    def suspend(self, node: str, span_ns: Nanoseconds) -> None:
        """The machine stands still for a while, its monotonic clock too (a virtual machine paused or moved)."""
        host = self.hosts[node]
        if not host.power or host.suspended or host.frozen:
            return
        self._event(host, "suspend", cause=f"{span_ns / SECOND:g} s")
        host.suspended = True
        host.wake_at = None
        self._routes.clear()
        boot = host.boot
        self.reckon(host)
        self.later(span_ns, lambda: self._wake_up(host, boot, span_ns))

    def _wake_up(self, host: Host, boot: int, span_ns: Nanoseconds) -> None:
        if host.boot != boot or not host.suspended:
            return
        self._event(host, "wakes up")
        host.suspended = False
        self._routes.clear()
        host.slept_ns += span_ns
        host.untold_ns += span_ns
        host.catch_up()
        self.reckon(host)
        self.later(self.chance.randrange(HEARTBEAT), lambda: self._look(host, boot))
        self.done(host)

    def _look(self, host: Host, boot: int) -> None:
        if host.boot == boot and host.engine is not None and not host.frozen and not host.suspended:
            host.notice_sleep()
            self.done(host)

    def clock_step(self, node: str, span_ns: Nanoseconds) -> None:
        """The wall clock steps. Nothing follows: the machines are given the monotonic clock alone."""
        self._event(self.hosts[node], "clock step", cause=f"{span_ns / SECOND:g} s")

    def link(self, node: str, interface: str, up: bool) -> None:
        """The interface's carrier goes or comes; its own addresses stay."""
        host = self.hosts[node]
        found = host.interfaces[interface]
        if found.up != up and found.index:
            self._event(host, "link up" if up else "link down", interface)
            self.set_interface(node, msgspec.structs.replace(found, up=up))

    def set_interface(self, node: str, interface: Interface) -> None:
        """The interface is like this now (index 0: it has vanished)."""
        host = self.hosts[node]
        self._routes.clear()
        host.set_interface(interface)
        self.done(host)

    def script(self, node: str, name: str, ok: bool | None) -> None:
        """What the runs of a tracking script that end from now on say; None: they hang."""
        host = self.hosts[node]
        if host.verdicts.get(name, True) != ok:
            host.verdicts[name] = ok
            self._event(host, "hangs" if ok is None else "succeeds" if ok else "fails", name)
            self._report(host)

    def file(self, node: str, name: str, number: int) -> None:
        """A tracked file holds this number from now on."""
        host = self.hosts[node]
        host.numbers[name] = number
        self._event(host, "file", f"{name} {number}")
        self._report(host)

    def _report(self, host: Host) -> None:
        if host.engine is not None and not host.frozen and not host.suspended:
            host.report()
            self.done(host)

    def lose(self, node: str, vip: str | Address) -> None:
        """Somebody removes an address from a host."""
        host, address = self.hosts[node], address_of(vip)
        assert address is not None, f"{vip!r} is no address"
        host.lose(address)
        self.done(host)

    def reload(self, node: str, plan: VrrpPlan) -> None:
        """A new configuration; a daemon that doesn't run starts with it, a stalled one reads it when it goes on."""
        host = self.hosts[node]
        if host.frozen or host.suspended:
            boot = host.boot
            self.later(SECOND, lambda: self.reload(node, plan) if host.boot == boot else None)
            return
        self._event(host, "reload")
        host.plan = plan
        if host.engine is not None:
            host.bring_up_to_date()
            host.carry_out(reload(host.engine, plan, list(host.interfaces.values()), host.clock))
            host.report()
            self.done(host)

    def switch(
        self,
        node: str,
        instance: str,
        direction: str,
        *,
        for_ns: Nanoseconds | None = None,
        force: bool = False,
        dry_run: bool = False,
        by: str = "an operator",
    ) -> holds.Answer:
        """A planned hand-over: `direction` is here, away or release."""
        host = self.hosts[node]
        if host.engine is None or host.frozen or host.suspended:
            error = f"no daemon answers on {node}"
            return holds.Answer(instance=instance, direction=direction, done=False, error=error)
        if not dry_run:
            self._event(host, direction if direction == "release" else f"switch --{direction}", instance)
        host.bring_up_to_date()
        answer = holds.command(
            host.engine, instance, direction, by=by, for_ns=for_ns, force=force, dry_run=dry_run, now=host.clock
        )
        host.carry_out(host.engine.take())
        self.done(host)
        return answer

    def release(self, node: str, instance: str, by: str = "an operator") -> holds.Answer:
        """End a hold."""
        return self.switch(node, instance, "release", by=by)

    # ---- what may happen to the wires -------------------------------------------------------------------------------

    def cut(self, source: str, target: str, both: bool = False) -> None:
        """Nothing that `source` sends reaches `target` any more; `both`: nor the other way round."""
        self.cuts.add((source, target))
        if both:
            self.cuts.add((target, source))
        self._event(self.hosts[source], "cut", cause=f"{'from' if both else 'to'} {target}")
        self._routes.clear()

    def isolate(self, node: str, cut: bool = True) -> None:
        """Cut from everybody, clients too, while its carrier stays (a port in the wrong VLAN, say); or no more."""
        host = self.hosts[node]
        self._event(host, "isolated" if cut else "no longer isolated")
        host.isolated = cut
        self._routes.clear()
        self.reckon(host)

    def heal(self) -> None:
        """Every cut is mended."""
        self.cuts.clear()
        self._routes.clear()
        self._note("", "", "event", "wires mended")
        for host in self.hosts.values():
            host.isolated = False
            self.reckon(host)

    # ---- what a host needs ------------------------------------------------------------------------------------------

    def transmit(self, host: Host, via: str, frame: Frame) -> None:
        """Put a frame onto the wire."""
        route = self.route(host, via, frame)
        weather = self.weather
        if weather is CLEAR:
            self._wire.extend(route)
            return
        for target, interface, arriving in route:
            for delay in weather.arrivals(self.chance):
                at = self.now + delay
                if not weather.reorder:  # a wire keeps the order
                    path = (host.name, target.name)
                    at = self._last[path] = max(at, self._last.get(path, 0))
                if at > self.now:
                    self.later(at - self.now, lambda t=target, i=interface, f=arriving: self._arrive(t, i, f))  # type: ignore[misc]
                else:
                    self._wire.append((target, interface, arriving))

    def _arrive(self, host: Host, interface: str, frame: Frame) -> None:
        if host.isolated:
            return
        if host.receive(interface, frame):
            self._arm(host)

    def route(self, host: Host, via: str, frame: Frame) -> list[tuple[Host, str, Frame]]:
        """Whom a frame reaches, on which interface, and as what, as the wires are."""
        key = (host.name, via, frame)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._find_route(host, via, frame)
        return route

    def _find_route(self, host: Host, via: str, frame: Frame) -> list[tuple[Host, str, Frame]]:
        usable = [name for name in (host.interfaces if not via else [via]) if host.hears(name, frame)]
        if not usable or host.isolated:
            return []
        reached = []
        segments = {host.segments[name] for name in usable}
        target = frame.packet.destination
        for other in self.hosts.values():
            if other is host or other.isolated or (host.name, other.name) in self.cuts:
                continue
            if is_multicast(target):
                reached += [
                    (other, name, frame)
                    for name, segment in other.segments.items()
                    if segment == host.segments[usable[0]] and other.hears(name, frame)
                ]
                continue
            owned = other.has_address(target)
            if owned is not None:
                near = other.segments[owned] in segments
                reached.append((other, owned, frame if near else self.frames.one_hop_on(frame)))
        return reached

    def run_script(self, host: Host, name: str, run: int, timeout_ns: Nanoseconds | None) -> None:
        """Begin one run of a tracking script: it ends with what the host has for it then."""
        hangs = host.verdicts.get(name, True) is None
        boot = host.boot

        def ended() -> None:
            if host.boot != boot or host.engine is None:
                return
            if host.frozen or host.suspended:
                self.later(SECOND // 10, ended)
                return
            was = host.engine.verdicts.get(("script", name))
            ok = host.verdicts.get(name, True)
            spent = (timeout_ns or 0) if hangs else host.script_ns
            host.handle(ScriptFinished(name, run, 0 if ok and not hangs else 1, hangs, spent_ns=spent))
            verdict = host.engine.verdicts.get(("script", name))
            if verdict is not None and verdict != was:
                self.note(host, name, "tracker", "UP" if verdict else "DOWN")
            self.done(host)

        self.later(timeout_ns if hangs and timeout_ns else host.script_ns, ended)

    def reckon(self, host: Host) -> None:
        """The addresses that clients reach on a host may have changed."""
        self.service.serves(host.name, host.serves(), self.now)

    def note(self, host: Host, instance: str, kind: str, state: str, cause: str = "") -> None:
        """Write something into the history."""
        self._note(host.name, instance, kind, state, cause)

    def remark(self, text: str) -> None:
        """Write what is about to happen into the history."""
        self._note("", "", "event", text)

    def log(self, host: Host, line: LogLine) -> None:
        """Write a line of a host's log into the history, where that is wanted."""
        if self.logs:
            self._note(host.name, "", "log", line.level, line.text)

    def _event(self, host: Host, what: str, instance: str = "", cause: str = "") -> None:
        self._note(host.name, instance, "event", what, cause)

    def _note(self, node: str, instance: str, kind: str, state: str, cause: str = "") -> None:
        self.history.append(Entry(self.now, node, instance, kind, state, cause))

    # ---- looking ----------------------------------------------------------------------------------------------------

    def vips(self) -> list[Address]:
        """Every address that some plan gives to masters."""
        return sorted(
            {
                address.address
                for host in self.hosts.values()
                for config in host.plan.instances
                for address in (*config.addresses, *config.excluded)
            }
        )

    def slot(self, node: str, instance: str) -> Slot | None:
        """The instance of that name as it stands on a node, if the daemon runs and has it."""
        engine = self.hosts[node].engine
        if engine is None:
            return None
        return next((slot for slot in engine.slots.values() if slot.config.name == instance), None)

    def holders(self, what: str | Address) -> list[str]:
        """The nodes whose kernel has an address, or all addresses of the instance of that name."""
        address = address_of(what)
        holding = []
        for host in self.hosts.values():
            if not host.power:
                continue
            if address is not None:
                if any(address == held for _, held in host.left.union(*host.holds.values())):
                    holding.append(host.name)
            else:
                slot = self.slot(host.name, str(what))
                if slot is not None and host.holds.get(slot.number) == addresses_of(slot):
                    holding.append(host.name)
        return holding

    def masters(self, instance: str) -> list[str]:
        """The nodes on which the instance of that name is MASTER."""
        found = ((host.name, self.slot(host.name, instance)) for host in self.hosts.values())
        return [name for name, slot in found if slot is not None and slot.role is Role.MASTER]

    def configs(self, vip: str | Address) -> dict[str, InstanceConfig]:
        """The instance that each node's plan gives the address to."""
        address = address_of(vip)
        found: dict[str, InstanceConfig] = {}
        for host in self.hosts.values():
            for config in host.plan.instances:
                if any(each.address == address for each in (*config.addresses, *config.excluded)):
                    found.setdefault(host.name, config)
        return found

    def outages(self, vip: str | Address, since_ns: Nanoseconds = 0) -> list[Span]:
        """When nobody whom clients reach had the address; since the beginning, or `since_ns`; the last may go on."""
        return self._since(self.service.outages(self._address(vip), self.now), since_ns)

    def overlaps(self, vip: str | Address, since_ns: Nanoseconds = 0) -> list[Span]:
        """When more than one had it."""
        return self._since(self.service.overlaps(self._address(vip), self.now), since_ns)

    def _address(self, vip: str | Address) -> Address:
        address = address_of(vip)
        assert address is not None, f"{vip!r} is no address"
        return address

    def _since(self, spans: list[Span], since_ns: Nanoseconds) -> list[Span]:
        return [(max(begin, since_ns), end) for begin, end in spans if end > since_ns]
