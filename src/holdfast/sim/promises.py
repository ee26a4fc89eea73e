"""What is promised of a cluster, said without the machines: who may be master, and within which time.

Everything here is worked out from the plans, the wires and the scripts, by the RFC's formulas and keepalived's
documentation, and never by asking the engine: so a mistake in a machine is a difference between the two.
"""

import msgspec

from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.sim.host import Host, addresses_of
from holdfast.sim.world import World
from holdfast.vrrp.config import OWNER, InstanceConfig
from holdfast.vrrp.messages import Role

SLACK: Nanoseconds = 10 * MILLISECOND
"""What the weather (at most 3 ms a way) may add to the protocol's times."""

JOINING: Nanoseconds = 20 * SECOND
"""How long after a reload a group may still be on its way to agreeing: who joins it waits its down interval."""


class BrokenPromise(Exception):
    """A promise was not kept; the text says which, where and when."""


def require(kept: bool, promise: str, what: str) -> None:
    """Raise BrokenPromise unless `kept`."""
    if not kept:
        raise BrokenPromise(f"{promise}: {what}")


# ---- what the protocol says ------------------------------------------------------------------------------------------


def skew(config: InstanceConfig, priority: int) -> Nanoseconds:
    """Skew_Time: (256 − priority)/256 of a second in VRRPv2 (RFC 3768 §6.1), of the interval in v3 (RFC 9568 §6.1)."""
    unit = SECOND if config.version == 2 else config.adver_interval_ns
    return unit * (256 - priority) // 256


def down(config: InstanceConfig, priority: int) -> Nanoseconds:
    """Active_Down_Interval of a backup with that priority."""
    return config.down_timer_adverts * config.adver_interval_ns + skew(config, priority)


def longest_down(config: InstanceConfig) -> Nanoseconds:
    """That of the lowest priority."""
    return down(config, 1)


class Rank(msgspec.Struct, frozen=True, order=True):
    """How a host stands in an election: by priority, then by address."""

    priority: int
    address: bytes


class Expected:
    """What a world's plans and conditions come to; `held` is filled in by who orders hand-overs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.held: dict[tuple[str, str], int] = {}  # (node, instance) → the priority of a hold

    def config(self, node: str, instance: str) -> InstanceConfig | None:
        """The instance as the node's plan has it."""
        plan = self.world.hosts[node].plan
        return next((config for config in plan.instances if config.name == instance), None)

    def instances(self) -> list[str]:
        """The names of all instances."""
        return sorted({config.name for host in self.world.hosts.values() for config in host.plan.instances})

    def companions(self, instance: str) -> list[str]:
        """The instance and those that change state with it."""
        for host in self.world.hosts.values():
            for group in host.plan.groups:
                if instance in group.members:
                    return list(group.members)
        return [instance]

    def healthy(self, node: str, instance: str) -> bool:
        """Whether nothing stands against the node as this instance's master."""
        host = self.world.hosts[node]
        if host.engine is None or host.frozen or host.suspended:
            return False
        for name in self.companions(instance):
            config = self.config(node, name)
            if config is not None and not self._sound(host, config):
                return False
        return self.config(node, instance) is not None

    def _sound(self, host: Host, config: InstanceConfig) -> bool:
        tracked = {use.name for use in config.trackers if use.kind == "interface" and not use.weight}
        needed = {config.interface} | tracked
        if not all(host.interfaces[name].up for name in needed):
            return False
        strict = [use.name for use in config.trackers if use.kind == "script" and not use.weight]
        return all(host.verdicts.get(name, True) for name in strict)

    def priority(self, node: str, instance: str) -> int:
        """The effective priority."""
        config, host = self.config(node, instance), self.world.hosts[node]
        assert config is not None
        if (node, instance) in self.held:
            return self.held[node, instance]
        if config.priority == OWNER:
            return OWNER
        total = config.priority
        for use in config.trackers:
            ok = host.interfaces[use.name].up if use.kind == "interface" else host.verdicts.get(use.name, True)
            if (use.weight > 0 and ok) or (use.weight < 0 and not ok):
                total += use.weight
        return max(1, min(254, total))

    def rank(self, node: str, instance: str) -> Rank:
        """How a node stands."""
        config = self.config(node, instance)
        assert config is not None
        own = config.source or next(
            address
            for address in self.world.hosts[node].interfaces[config.interface].addresses
            if len(address) == (4 if config.family == 4 else 16)
        )
        return Rank(self.priority(node, instance), own)

    def candidates(self, instance: str) -> list[str]:
        """The nodes that could be master, the best first."""
        found = [node for node in self.world.hosts if self.healthy(node, instance)]
        return sorted(found, key=lambda node: self.rank(node, instance), reverse=True)

    def tied(self, instance: str) -> bool:
        """Whether the best priority is that of several."""
        ranks = [self.rank(node, instance).priority for node in self.candidates(instance)]
        return len(ranks) > 1 and ranks[0] == ranks[1]

    def takes_from(self, node: str, instance: str, incumbent: str) -> bool:
        """Whether a node may take the addresses from a master that is well."""
        config = self.config(node, instance)
        assert config is not None
        mine, theirs = self.priority(node, instance), self.priority(incumbent, instance)
        return mine > theirs and (config.preempt or mine == OWNER)

    def masters(self, instance: str, incumbent: str | None) -> list[str]:
        """Who may be master in the end, the most likely first: several when the best priority is that of several."""
        candidates = self.candidates(instance)
        if not candidates or (incumbent in candidates and not self.takes_from(candidates[0], instance, str(incumbent))):
            return [str(incumbent)] if candidates else []
        best = self.rank(candidates[0], instance).priority
        return [node for node in candidates if self.rank(node, instance).priority == best]

    def settling_ns(self) -> Nanoseconds:
        """The protocol's bound: within this after healing everything stands still."""
        configs = [config for host in self.world.hosts.values() for config in host.plan.instances]
        downs = max((longest_down(config) for config in configs), default=0)
        delay = max((config.preempt_delay_ns + config.start_delay_ns for config in configs), default=0)
        scripts = [script for host in self.world.hosts.values() for script in host.plan.scripts]
        runs = max((script.interval_ns * (max(script.rise, script.fall) + 1) for script in scripts), default=0)
        return 3 * downs + delay + runs + 3 * SECOND


# ---- what must hold at every moment ----------------------------------------------------------------------------------


def check_now(world: World, reloaded_at: dict[str, Nanoseconds], joining_ns: Nanoseconds = JOINING) -> None:
    """A running host's kernel has the addresses of its masters and no others; the members of a group stand together."""
    for host in world.hosts.values():
        engine = host.engine
        if engine is None or host.frozen or host.suspended:
            continue
        masters = {n: addresses_of(slot) for n, slot in engine.slots.items() if slot.role is Role.MASTER}
        what = f"{host.name} holds {sorted(host.holds)}, master of {sorted(masters)}"
        require(host.holds == masters, "the addresses are where the master is", what)
        if world.now < reloaded_at.get(host.name, -joining_ns) + joining_ns:
            continue
        for name, members in engine.groups.members.items():
            roles = {slot.role for slot in members} - {Role.INIT}  # who waits for its first result has no part yet
            mixed = roles & {Role.MASTER, Role.FAULT} and len(roles) > 1
            require(not mixed, "groups agree", f"{host.name}: {name} is {sorted(role.name for role in roles)}")


def check_settled(expected: Expected, before: dict[str, str | None]) -> dict[str, str | None]:
    """All is well and has been for long enough: one master a virtual router, the right one. Gives who is master.

    `before` has the incumbents; an instance that is not in it may have any master of the best priority.
    """
    world = expected.world
    now: dict[str, str | None] = {}
    for instance in expected.instances():
        masters = world.masters(instance)
        candidates = expected.candidates(instance)
        require(len(masters) == min(len(candidates), 1), "exactly one master", f"{instance}: {masters} of {candidates}")
        require(world.holders(instance) == masters, "the addresses are where the master is", f"{instance}: {masters}")
        for node in candidates:
            slot = world.slot(node, instance)
            wanted = Role.MASTER if node in masters else Role.BACKUP
            require(slot is not None and slot.role is wanted, "the others are BACKUP", f"{instance} on {node}")
        now[instance] = masters[0] if masters else None
        if masters:
            wanted_masters = expected.masters(instance, before.get(instance, masters[0]))
            what = f"{instance}: {masters} after {before.get(instance)}, not {wanted_masters}"
            require(now[instance] in wanted_masters, "a higher priority takes back if and only if it may", what)
    return now


def transitions(world: World, since: int, instance: str, state: str = "MASTER") -> list[tuple[Nanoseconds, str]]:
    """(time, node) of every entry into a state since the history had `since` entries."""
    entries = world.history[since:]
    return [(e.at_ns, e.node) for e in entries if e.kind == "instance" and e.instance == instance and e.state == state]


def check_still(world: World, since: int, why: str) -> None:
    """Nothing flaps without cause."""
    changed = [entry for entry in world.history[since:] if entry.kind in ("instance", "group")]
    shown = "; ".join(entry.line(world.begun) for entry in changed[:4])
    require(not changed, "nothing flaps without cause", f"{why}: {shown}")


def check_span(promise: str, what: str, span_ns: Nanoseconds, least_ns: Nanoseconds, most_ns: Nanoseconds) -> None:
    """A time is within its bounds."""
    bounds = f"{what}: {span_text(span_ns)}, not within {span_text(max(least_ns, 0))} to {span_text(most_ns)}"
    require(least_ns <= span_ns <= most_ns, promise, bounds)
