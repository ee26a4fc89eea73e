"""Engines on one wire under any weather: cuts, crashes, freezes, interfaces, scripts, reloads; absorbing as the edge does.

Unlike `lan.Lan`, what is sent arrives after everything its sender had to do, routine adverts are absorbed once an engine
asks for that, and addresses are those the kernel would have: gone with their interface, refused where there is none.
"""

from collections import deque

import msgspec

from holdfast.base.address import Address, parse
from holdfast.base.time import SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine.engine import Engine
from holdfast.engine.messages import (
    AddressesApplied,
    AddressesRefused,
    AddressLost,
    AdvertArrived,
    Asleep,
    Dismiss,
    EngineEffect,
    EngineEvent,
    Interface,
    InterfaceSeen,
    RoutineHeard,
    RunScript,
    ScriptFinished,
    SendBeat,
    SendOne,
    SetAddresses,
    StopAsked,
    Tell,
    TimersDue,
    Unwatch,
    Watch,
)
from holdfast.engine.reload import reload
from holdfast.vrrp.messages import Role

SOCKET_QUEUE = 50
"""Adverts that wait in the socket of a frozen host."""

JOINING = 5 * SECOND


class Look(msgspec.Struct, frozen=True):
    """One advert on the wire: what makes it the same as the last."""

    vrid: int
    priority: int
    source: Address
    interval_ns: int


class Router:
    """One host: its engine, its interface, what it holds."""

    def __init__(self, name: str, source: str, plan: VrrpPlan) -> None:
        self.name = name
        self.source: Address = parse(source)
        self.plan = plan
        self.engine: Engine | None = None
        self.cut = False
        self.frozen = False
        self.script_ok = True
        self.refusing = 0  # how often the kernel still refuses addresses
        self.interface = Interface(name="eth0", index=2, up=True, addresses=(self.source,))
        self.holds: dict[int, int] = {}  # slot → VRID of the addresses on the interface
        self.waiting: deque[Look] = deque(maxlen=SOCKET_QUEUE)
        self.watched: dict[int, Look] = {}
        self.heard: dict[int, tuple[int, int]] = {}
        self.current: Look | None = None
        self.reloaded_at = 0

    def masters(self) -> dict[int, int]:
        """Slot → VRID of the instances that are MASTER."""
        if self.engine is None:
            return {}
        return {n: slot.config.vrid for n, slot in self.engine.slots.items() if slot.role is Role.MASTER}


class Storm:
    """The wire, the clock and the hosts."""

    def __init__(self, **plans: tuple[str, VrrpPlan]) -> None:
        self.now = 1_000_000_000_000
        self.routers = {name: Router(name, source, plan) for name, (source, plan) in plans.items()}
        self.wire: deque[tuple[Router, Look]] = deque()
        for router in self.routers.values():
            self.start(router)

    # ---- what may happen to a host ----------------------------------------------------------------------------------

    def start(self, router: Router) -> None:
        """The daemon starts, with the addresses of an earlier run swept."""
        if router.engine is not None:
            return
        router.holds.clear()
        router.watched.clear()
        router.heard.clear()
        router.waiting.clear()
        router.frozen = False
        router.engine = Engine(router.plan, self.now)
        self.carry_out(router, router.engine.begin([router.interface], self.now))
        self.settle()

    def kill(self, router: Router) -> None:
        """Everything at once: power off."""
        router.engine = None
        router.holds.clear()

    def stop(self, router: Router) -> None:
        """A clean stop."""
        if router.engine is None or router.frozen:
            return
        self.handle(router, StopAsked())
        self.settle()
        assert router.holds == {}, f"{router.name} stopped and still holds {router.holds}"
        router.engine = None

    def reload(self, router: Router, plan: VrrpPlan) -> None:
        """A new configuration."""
        router.plan, router.reloaded_at = plan, self.now
        if router.engine is not None and not router.frozen:
            self.carry_out(router, reload(router.engine, plan, [], self.now))
            self.settle()

    def set_interface(self, router: Router, interface: Interface) -> None:
        """The interface changed; with its index gone or new, its addresses are gone."""
        if interface.index != router.interface.index:
            router.holds.clear()
        router.interface = interface
        if router.engine is not None and not router.frozen:
            self.handle(router, InterfaceSeen(interface))
            self.settle()

    def lose_address(self, router: Router) -> None:
        """Somebody removes the first address that is held."""
        if router.engine is None or router.frozen or not router.holds:
            return
        slot = next(iter(router.holds))
        del router.holds[slot]
        if slot in router.engine.slots:
            self.handle(router, AddressLost(slot, router.engine.slots[slot].config.addresses[0].address, "eth0"))
            self.settle()

    def thaw(self, router: Router) -> None:
        """A frozen host goes on: its interface as it is now, then what waits in its socket, then its timers."""
        if not router.frozen:
            return
        router.frozen = False
        if router.engine is None:
            return
        self.handle(router, InterfaceSeen(router.interface))
        while router.waiting:
            self.receive(router, router.waiting.popleft())
        self.settle()

    def sleep(self, router: Router, span_ns: int) -> None:
        """The machine says that it was suspended."""
        if router.engine is not None and not router.frozen:
            self.handle(router, Asleep(span_ns))
            self.settle()

    # ---- the edge ---------------------------------------------------------------------------------------------------

    def handle(self, router: Router, event: EngineEvent | ScriptFinished) -> None:
        """Give one event to one engine."""
        assert router.engine is not None
        self.carry_out(router, router.engine.handle(event, self.now))

    def carry_out(self, router: Router, effects: list[EngineEffect]) -> None:
        """What the edge does: adverts, then addresses, then the rest."""
        engine = router.engine
        assert engine is not None
        for effect in effects:
            if isinstance(effect, SendOne):
                self.send(router, effect.slot, effect.priority)
            elif isinstance(effect, SendBeat):
                for number in engine.beats.members(effect.beat):
                    self.send(router, number, None)
        wanted = [effect for effect in effects if isinstance(effect, SetAddresses)]
        if wanted:
            self.set_addresses(router, wanted)
        for effect in effects:
            if isinstance(effect, Watch) and router.current is not None:
                router.watched[effect.slot] = router.current
            elif isinstance(effect, Unwatch):
                router.watched.pop(effect.slot, None)
                at, count = router.heard.pop(effect.slot, (0, 0))
                if count:
                    self.handle(router, RoutineHeard(effect.slot, at, count))
            elif isinstance(effect, Dismiss):
                assert effect.slot not in router.holds, "an instance is gone and its addresses are not"
            elif isinstance(effect, Tell) and isinstance(effect.notice, RunScript):
                status = 0 if router.script_ok else 1
                self.handle(router, ScriptFinished(effect.notice.name, effect.notice.run, status))

    def set_addresses(self, router: Router, wanted: list[SetAddresses]) -> None:
        """The kernel's part."""
        assert router.engine is not None
        applied, refused = [], []
        for effect in wanted:
            slot = router.engine.slots.get(effect.slot)
            if not effect.present:
                router.holds.pop(effect.slot, None)
            elif slot is not None and router.interface.index == 0:
                refused.append(AddressesRefused(effect.slot, "cannot add: no such device", True))
            elif slot is not None and router.refusing:
                router.refusing -= 1
                refused.append(AddressesRefused(effect.slot, "cannot add: invalid argument", True))
            elif slot is not None:
                router.holds[effect.slot] = slot.config.vrid
                applied.append(effect.slot)
        if applied:
            self.handle(router, AddressesApplied(tuple(applied)))
        for refusal in refused:
            self.handle(router, refusal)

    def send(self, router: Router, number: int, priority: int | None) -> None:
        """One advert onto the wire."""
        assert router.engine is not None
        slot = router.engine.slots.get(number)
        if slot is None or slot.standing.primary is None or not router.interface.up or router.cut:
            return
        worth = slot.standing.priority if priority is None else priority
        look = Look(slot.config.vrid, worth, slot.standing.primary, slot.config.adver_interval_ns)
        self.wire.append((router, look))

    def settle(self) -> None:
        """Deliver what is on the wire, until nothing is."""
        for _ in range(10_000):
            if not self.wire:
                return
            sender, look = self.wire.popleft()
            for other in self.routers.values():
                if other is sender or other.cut or other.engine is None or not other.interface.up:
                    continue
                if other.frozen:
                    other.waiting.append(look)
                else:
                    self.receive(other, look)
        raise AssertionError("the routers answer one another without end")

    def receive(self, router: Router, look: Look) -> None:
        """One advert arrives: absorbed, or handed to the engine."""
        assert router.engine is not None
        for slot in list(router.engine.slots.values()):
            if slot.config.vrid != look.vrid or slot.number not in router.engine.slots:
                continue
            if router.watched.get(slot.number) == look:
                router.heard[slot.number] = (self.now, router.heard.get(slot.number, (0, 0))[1] + 1)
                continue
            router.current = look
            self.handle(router, AdvertArrived(slot.number, look.priority, look.source, look.interval_ns))
            router.current = None

    def run(self, span_ns: int) -> None:
        """Let time pass."""
        until = self.now + span_ns
        for _ in range(100_000):
            running = [(r, r.engine) for r in self.routers.values() if r.engine is not None and not r.frozen]
            deadlines = [at for _, engine in running if (at := engine.deadline()) is not None]
            at = min(deadlines, default=until + 1)
            if at > until:
                self.now = until
                return
            self.now = max(self.now, at)
            for router, engine in running:
                deadline = engine.deadline()
                if deadline is not None and deadline <= self.now and router.engine is engine:
                    watched = engine.take_due(self.now)
                    self.handle(router, TimersDue({n: router.heard.get(n, (0, 0))[0] for n in watched}))
                    self.settle()
                    self.check(router)
        raise AssertionError(f"the engines never rest: {span_ns / SECOND} s do not pass")

    # ---- what must always hold --------------------------------------------------------------------------------------

    def check(self, router: Router) -> None:
        """A host's addresses are those of its masters; the members of a group stand together."""
        engine = router.engine
        if engine is None or router.frozen:
            return
        assert router.holds == router.masters(), f"{router.name} holds {router.holds}, master of {router.masters()}"
        if self.now < router.reloaded_at + JOINING:
            return  # who joins a group of masters waits its down interval, and the others don't give up for it
        for name, members in engine.groups.members.items():
            roles = {slot.role for slot in members}
            assert roles & {Role.MASTER, Role.FAULT} == set() or len(roles) == 1, f"{router.name}: {name} is {roles}"
