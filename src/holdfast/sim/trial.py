"""One trial: a cluster in good order, something goes wrong, is put right again; and what became of each address.

A fault comes right after an advert of the host concerned, when everybody's timers are fullest: the outage of a silent
master is then the longest it can be, and at the shortest one advert interval less.
"""

from collections.abc import Iterable, Sequence

import msgspec

from holdfast.base.address import Address, text
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.sim.cluster import Cluster, Router
from holdfast.sim.faults import Fault, Step, carry_out, takes_ns
from holdfast.sim.history import Entry, Span
from holdfast.sim.world import World
from holdfast.vrrp.machine import Backup, Initialize
from holdfast.vrrp.messages import Role

MOST_WAITS = 12
"""So many of the longest waits a cluster may take to come to rest, its delays and checks not counted."""


class MemberSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a virtual router at one moment. `role` is off where no daemon runs; `serves`: clients reach it."""

    node: str
    role: str
    priority: int = 0
    primary: str = ""
    faults: tuple[str, ...] = ()
    power: bool = True
    frozen: bool = False
    isolated: bool = False
    link_down: bool = False
    serves: bool = False


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """What became of some addresses after a fault, or after it was put right.

    `outage_ns`: how long nobody served them; `lasting`: nobody does yet. `overlap_ns`: how long more than one did.
    `at_ns` and `until_ns`: from the fault to the end of looking. `entries`: what the hosts did meanwhile.
    """

    owners: tuple[str, ...]
    outage_ns: Nanoseconds
    lasting: bool
    overlap_ns: Nanoseconds
    at_ns: Nanoseconds
    until_ns: Nanoseconds
    members: tuple[MemberSeen, ...]
    entries: tuple[Entry, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The fate of the addresses of one virtual router that fared alike."""

    router: Router
    vips: tuple[Address, ...]
    before: Phase
    during: Phase
    after: Phase | None  # None where nothing is put right: it passed by itself, or it is a scenario


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a timeline: what a host (or an address) was from when to when."""

    name: str
    router: str
    spans: tuple[tuple[Nanoseconds, Nanoseconds, str], ...]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one trial. `marks`: (when, what was done). `settled`: it came to rest each time."""

    faults: tuple[Fault, ...]
    outcomes: tuple[Outcome, ...]
    marks: tuple[tuple[Nanoseconds, str], ...]
    tracks: tuple[Track, ...]
    begun_ns: Nanoseconds
    ended_ns: Nanoseconds
    settled: bool
    refused: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The faults, in order."""
        return ", then ".join(fault.text for fault in self.faults)


class Bench:
    """A world that is brought to rest, disturbed, and looked at."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.world = World(cluster.specs(), seed, leaps=True)
        self.settled = True
        self.marks: list[tuple[Nanoseconds, str]] = []
        self.refused: list[str] = []
        self._quiet_ns = cluster.longest_wait_ns()
        self._most_ns = MOST_WAITS * self._quiet_ns + _delays_ns(cluster)

    def rest(self, least_ns: Nanoseconds = 0) -> None:
        """Let time pass until nothing more happens, for so long at least."""
        world = self.world
        begun = world.now
        while True:
            last = world.history[-1].at_ns if world.history else begun
            span_ns = max(last, begun) + self._quiet_ns - world.now
            world.run(max(span_ns, self._quiet_ns // 4, least_ns - (world.now - begun)))
            last = world.history[-1].at_ns if world.history else begun
            waited = world.now - begun
            if waited >= least_ns and world.now - last >= self._quiet_ns and not self._restless():
                return
            if waited > self._most_ns + least_ns:
                self.settled = False
                return

    def _restless(self) -> bool:
        """Whether something is still to come that makes no noise until it does."""
        for host in self.world.hosts.values():
            if host.frozen or host.suspended:
                return True
            if host.engine is None:
                continue
            for name, script in host.engine.scripts.items():
                told = host.engine.verdicts.get(("script", name))
                if told is not (host.verdicts.get(name, True) is True) and script.state.up is not None:
                    return True
            for slot in host.engine.slots.values():
                state = slot.state
                if isinstance(state, Initialize):
                    if not slot.faults and max(slot.start_at, host.engine.hold_until) >= host.clock:
                        return True
                elif isinstance(state, Backup) and state.preempt_at is not None and slot.standing.may_lead:
                    return True
        return False

    def align(self, nodes: Iterable[str]) -> None:
        """Go on until right after an advert of a master on one of these hosts."""
        for name in nodes:
            host = self.world.hosts[name]
            if host.engine is None or host.frozen or host.suspended:
                continue
            masters = [slot for slot in host.engine.slots.values() if slot.role is Role.MASTER]
            if masters:
                slowest = max(masters, key=lambda slot: slot.config.adver_interval_ns)
                at = host.engine.beats.adver_at(slowest.number)
                if at is not None:
                    self.world.run(at + host.slept_ns - self.world.now)
                return

    def do(self, steps: Iterable[Step]) -> Nanoseconds:
        """Carry out some steps now; how long they go on by themselves."""
        longest = 0
        for step in steps:
            self.marks.append((self.world.now, step.text()))
            if refused := carry_out(self.world, step):
                self.refused.append(f"{step.text()}: {refused}")
            longest = max(longest, takes_ns(step))
        return longest

    # ---- looking ----------------------------------------------------------------------------------------------------

    def owners(self, router: Router, vip: Address | None) -> tuple[str, ...]:
        """Who serves an address now (None: who is master of a router without addresses)."""
        if vip is not None:
            return self.world.service.changes[vip][-1][1]
        members = [(member.node, member.config.name) for member in router.members]
        return tuple(node for node, instance in members if self._role(node, instance) == "MASTER")

    def _role(self, node: str, instance: str) -> str:
        slot = self.world.slot(node, instance)
        return "off" if slot is None else slot.role.name

    def members(self, router: Router) -> tuple[MemberSeen, ...]:
        """Every member as it stands."""
        seen = []
        for member in router.members:
            host = self.world.hosts[member.node]
            slot = self.world.slot(member.node, member.config.name)
            interface = host.interfaces.get(member.config.interface)
            common = {
                "node": member.node,
                "power": host.power,
                "frozen": host.frozen or host.suspended,
                "isolated": host.isolated,
                "link_down": interface is not None and not interface.up,
                "serves": any(member.node in self.world.service.changes[vip][-1][1] for vip in router.vips),
            }
            if slot is None:
                seen.append(msgspec.convert({**common, "role": "off"}, MemberSeen))
                continue
            primary = slot.standing.primary
            more = {
                "role": slot.role.name,
                "priority": slot.standing.priority,
                "primary": "" if primary is None else text(primary),
                "faults": slot.faults,
            }
            seen.append(msgspec.convert(common | more, MemberSeen))
        return tuple(seen)

    def phases(self, since_ns: Nanoseconds) -> dict[str, list[tuple[tuple[Address, ...], Phase]]]:
        """By router, what became of its addresses since then; those that fared alike together."""
        return {router.name: self._phases(router, since_ns) for router in self.cluster.routers}

    def _phases(self, router: Router, since_ns: Nanoseconds) -> list[tuple[tuple[Address, ...], Phase]]:
        world = self.world
        instances = {(member.node, member.config.name) for member in router.members}
        entries = []
        for entry in reversed(world.history):
            if entry.at_ns < since_ns:
                break
            if entry.kind in ("tracker", "event") or (entry.node, entry.instance) in instances:
                entries.append(entry)
        common = (since_ns, world.now, self.members(router), tuple(reversed(entries)))
        alike: dict[tuple[tuple[str, ...], Nanoseconds, bool, Nanoseconds], list[Address]] = {}
        for vip in router.vips:
            outages, overlaps = world.outages(vip, since_ns), world.overlaps(vip, since_ns)
            lasting = bool(outages) and outages[-1][1] == world.now
            key = (self.owners(router, vip), _total(outages), lasting, _total(overlaps))
            alike.setdefault(key, []).append(vip)
        if not router.vips:
            owners = self.owners(router, None)
            alike[owners, 0, not owners, 0] = []
        return [(tuple(vips), _phase(*key, *common)) for key, vips in alike.items()]

    def tracks(self) -> tuple[Track, ...]:
        """The lines of a timeline: each host's part in each router, and each router's addresses."""
        lines = []
        for router in self.cluster.routers:
            for member in router.members:
                spans = tuple(_role_spans(self.world, member.node, member.config.name))
                lines.append(Track(name=member.node, router=router.name, spans=spans))
            done: dict[tuple[tuple[Nanoseconds, Nanoseconds, str], ...], list[str]] = {}
            for vip in router.vips:
                served = tuple(
                    (begin, end, " ".join(nodes)) for begin, end, nodes in self.world.service.spans(vip, self.world.now)
                )
                done.setdefault(served, []).append(text(vip))
            for served, vips in done.items():
                more = f" (+{len(vips) - 1})" if len(vips) > 1 else ""
                lines.append(Track(name=vips[0] + more, router=router.name, spans=served))
        return tuple(lines)


def _phase(
    owners: tuple[str, ...],
    outage_ns: Nanoseconds,
    lasting: bool,
    overlap_ns: Nanoseconds,
    at_ns: Nanoseconds,
    until_ns: Nanoseconds,
    members: tuple[MemberSeen, ...],
    entries: tuple[Entry, ...],
) -> Phase:
    return Phase(
        owners=owners,
        outage_ns=outage_ns,
        lasting=lasting,
        overlap_ns=overlap_ns,
        at_ns=at_ns,
        until_ns=until_ns,
        members=members,
        entries=entries,
    )


def _total(spans: Sequence[Span]) -> Nanoseconds:
    return sum(end - begin for begin, end in spans)


def _delays_ns(cluster: Cluster) -> Nanoseconds:
    """How long delays and checks may keep a cluster from coming to rest."""
    longest = 0
    for node in cluster.nodes:
        settings = node.plan.settings
        waits = [config.preempt_delay_ns + config.start_delay_ns for config in node.plan.instances]
        checks = [
            script.interval_ns * (script.rise + script.fall + 2) + script.command.timeout_ns
            for script in node.plan.scripts
        ]
        held = settings.vrrp_startup_delay_ns + settings.vrrp_delay_after_boot_ns
        longest = max(longest, max(waits, default=0) + max(checks, default=0) + held)
    return 2 * longest + SECOND


def _role_spans(world: World, node: str, instance: str) -> Iterable[tuple[Nanoseconds, Nanoseconds, str]]:
    """What an instance was from when to when: off, INIT, BACKUP, MASTER, FAULT; frozen while its host is."""
    begin, role, frozen = world.begun, "off", False
    for entry in world.history:
        if entry.node != node or (entry.kind != "event" and entry.instance != instance):
            continue
        was, was_frozen = role, frozen
        if entry.kind == "instance":
            role = "off" if entry.state == "STOP" else entry.state
        elif entry.kind == "event":
            if entry.state in ("crash", "kill"):
                role, frozen = "off", False
            elif entry.state in ("stall", "suspend", "goes on", "wakes up"):
                frozen = entry.state in ("stall", "suspend")
            elif entry.state == "start" and role == "off":
                role = "INIT"
        if (role, frozen) != (was, was_frozen):
            if entry.at_ns > begin:
                yield begin, entry.at_ns, "frozen" if was_frozen else was
            begin = entry.at_ns
    if world.now > begin:
        yield begin, world.now, "frozen" if frozen else role


# ---- trials ---------------------------------------------------------------------------------------------------------


def try_faults(cluster: Cluster, faults: tuple[Fault, ...], seed: int = 0, *, tracks: bool = True) -> Trial:
    """One fault, or several one after another, each when the last has settled; then all is put right at once.

    The outcome is that of the last fault: `before` is what the others left.
    """
    bench = Bench(cluster, seed)
    bench.rest()
    begun = at = bench.world.now
    for number, fault in enumerate(faults):
        before = bench.phases(at)
        bench.align(fault.nodes)
        at = bench.world.now
        if number == 0:
            begun = at
        bench.rest(bench.do(fault.steps))
    during = bench.phases(at)
    heals = [step for fault in reversed(faults) for step in fault.heals]
    after = None
    if heals:
        at = bench.world.now
        bench.rest(bench.do(dict.fromkeys(heals)))
        after = bench.phases(at)
    return _trial(bench, faults, (before, during, after), begun, tracks)


def try_scenario(cluster: Cluster, steps: tuple[Step, ...], seed: int = 0) -> Trial:
    """Steps at their own times (counted from when the cluster had come to rest), or each when the last has settled."""
    bench = Bench(cluster, seed)
    bench.rest()
    before = bench.phases(bench.world.now)
    fault = Fault(kind="scenario", text="; ".join(step.text() for step in steps), nodes=(), steps=steps)
    bench.align(node.name for node in cluster.nodes)
    begun = bench.world.now
    for step in steps:
        if step.at_ns is None:
            bench.rest(bench.do([step]))
        else:
            bench.world.run(begun + step.at_ns - bench.world.now)
            bench.do([step])
    if steps[-1].at_ns is not None:
        bench.rest(takes_ns(steps[-1]))
    return _trial(bench, (fault,), (before, bench.phases(begun), None), begun, True)


Phases = dict[str, list[tuple[tuple[Address, ...], Phase]]]


def _trial(
    bench: Bench,
    faults: tuple[Fault, ...],
    phases: tuple[Phases, Phases, Phases | None],
    begun: Nanoseconds,
    tracks: bool,
) -> Trial:
    before, during, after = phases
    outcomes = []
    for router in bench.cluster.routers:
        alike: dict[tuple[int, int, int], list[Address]] = {}
        looked = [before[router.name], during[router.name], after[router.name] if after is not None else []]
        for vip in router.vips:
            places = [next((n for n, (vips, _) in enumerate(each) if vip in vips), 0) for each in looked]
            alike.setdefault((places[0], places[1], places[2]), []).append(vip)
        if not router.vips:
            alike[0, 0, 0] = []
        for (first, second, third), vips in alike.items():
            outcomes.append(
                Outcome(
                    router=router,
                    vips=tuple(vips),
                    before=looked[0][first][1],
                    during=looked[1][second][1],
                    after=looked[2][third][1] if after is not None else None,
                )
            )
    return Trial(
        faults=faults,
        outcomes=tuple(outcomes),
        marks=tuple(bench.marks),
        tracks=bench.tracks() if tracks else (),
        begun_ns=begun,
        ended_ns=bench.world.now,
        settled=bench.settled,
        refused=tuple(bench.refused),
    )
