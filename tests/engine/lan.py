"""Engines on one virtual LAN with one clock: effects that send become events of the others, nothing else is needed."""

from holdfast.base.address import Address, parse
from holdfast.config.plan import VrrpPlan
from holdfast.engine.engine import Engine
from holdfast.engine.messages import (
    AddressesApplied,
    AdvertArrived,
    EngineEffect,
    EngineEvent,
    Interface,
    ScriptFinished,
    SendBeat,
    SendOne,
    SetAddresses,
    StateNotice,
    StopAsked,
    Tell,
    TimersDue,
)


class Host:
    """One engine, what it holds and what it said."""

    def __init__(self, name: str, plan: VrrpPlan, source: str, now: int) -> None:
        self.name = name
        self.source: Address = parse(source)
        self.engine = Engine(plan, now)
        self.up = True
        self.cut = False
        self.holds: set[str] = set()
        self.history: list[tuple[int, str, str]] = []
        self.effects: list[EngineEffect] = []
        self.sent: list[tuple[int, str, int]] = []
        self.interface = Interface(name="eth0", index=2, up=True, addresses=(self.source,))


class Lan:
    """Hosts that hear each other at once; `run` moves the clock from deadline to deadline."""

    def __init__(self, **plans: tuple[str, VrrpPlan]) -> None:
        self.now = 1_000_000_000_000
        self.hosts = {name: Host(name, plan, source, self.now) for name, (source, plan) in plans.items()}
        for host in self.hosts.values():
            self.carry_out(host, host.engine.begin([host.interface], self.now))

    def handle(self, host: Host, event: EngineEvent | ScriptFinished) -> None:
        """Give one event to one host."""
        self.carry_out(host, host.engine.handle(event, self.now))

    def carry_out(self, host: Host, effects: list[EngineEffect]) -> None:
        """What the edge would do."""
        host.effects += effects
        applied = []
        for effect in effects:
            if isinstance(effect, SendOne):
                self.deliver(host, effect.slot, effect.priority)
            elif isinstance(effect, SendBeat):
                for number in host.engine.beats.members(effect.beat):
                    self.deliver(host, number, host.engine.slots[number].standing.priority)
            elif isinstance(effect, SetAddresses):
                name = host.engine.slots[effect.slot].config.name if effect.slot in host.engine.slots else "?"
                (host.holds.add if effect.present else host.holds.discard)(name)
                if effect.present:
                    applied.append(effect.slot)
            elif isinstance(effect, Tell) and isinstance(effect.notice, StateNotice):
                host.history.append((self.now, effect.notice.name, effect.notice.state))
        if applied:
            self.handle(host, AddressesApplied(tuple(applied)))

    def deliver(self, sender: Host, number: int, priority: int) -> None:
        """One advert, to everyone who can hear it."""
        slot = sender.engine.slots.get(number)
        if slot is None:
            return
        sender.sent.append((self.now, slot.config.name, priority))
        if sender.cut or not sender.up:
            return
        for other in self.hosts.values():
            if other is sender or other.cut or not other.up:
                continue
            for mine in list(other.engine.slots.values()):
                if mine.config.vrid == slot.config.vrid:
                    heard = AdvertArrived(mine.number, priority, sender.source, slot.config.adver_interval_ns)
                    self.handle(other, heard)

    def run(self, span_ns: int) -> None:
        """Let `span_ns` pass."""
        until = self.now + span_ns
        while True:
            alive = [host for host in self.hosts.values() if host.up]
            deadlines = [at for host in alive if (at := host.engine.deadline()) is not None]
            at = min(deadlines, default=until + 1)
            if at > until:
                self.now = until
                return
            self.now = max(self.now, at)
            for host in alive:
                deadline = host.engine.deadline()
                if deadline is not None and deadline <= self.now:
                    host.engine.take_due(self.now)
                    self.handle(host, TimersDue())

    def stop(self, name: str) -> None:
        """A clean stop."""
        self.handle(self.hosts[name], StopAsked())
        self.hosts[name].up = False

    def kill(self, name: str) -> None:
        """Power off."""
        self.hosts[name].up = False
        self.hosts[name].holds.clear()

    def masters(self) -> dict[str, list[str]]:
        """Who holds each instance's addresses."""
        holding: dict[str, list[str]] = {}
        for host in self.hosts.values():
            if host.up:
                for instance in host.holds:
                    holding.setdefault(instance, []).append(host.name)
        return holding
