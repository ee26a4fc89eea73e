"""The life of one cluster, all of it from one seed: scenes with an exact expectation, storms, and long calm between.

A scene begins when all is well, does one thing to the cluster, looks whether the promises were kept, mends it and looks
again. A storm does many things in bad weather; only what comes of it when the weather has cleared is looked at.
"""

from collections.abc import Callable
from random import Random

import msgspec

from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.sim.clusters import bad_weather, cluster, mild_weather
from holdfast.sim.host import NodeSpec
from holdfast.sim.promises import Expected, check_now, check_settled, check_still
from holdfast.sim.world import World

HOUR: Nanoseconds = 3600 * SECOND


class Life:
    """A cluster and what it has been through."""

    def __init__(
        self, seed: int, *, leaps: bool = True, make: Callable[[Random], list[NodeSpec]] = cluster
    ) -> None:
        self.seed = seed
        self.chance = Random(seed)
        specs = make(self.chance)
        self.mild = mild_weather(self.chance)
        self.world = World(specs, seed=seed, weather=self.mild, start=False, leaps=leaps)
        self.expected = Expected(self.world)
        self.interfaces = {(spec.name, interface.name): interface for spec in specs for interface in spec.interfaces}
        self.plans = {spec.name: spec.plan for spec in specs}
        self.masters: dict[str, str | None] = {}
        self.reloaded_at: dict[str, Nanoseconds] = {}
        self.scenes: dict[str, int] = {}
        self.world.happened = self.look
        self.wait_ns = self.expected.settling_ns()

    @property
    def nodes(self) -> list[str]:
        """The names of the hosts."""
        return list(self.world.hosts)

    def look(self) -> None:
        """What must hold at every moment."""
        check_now(self.world, self.reloaded_at)

    def settle(self, before: dict[str, str | None] | None = None) -> None:
        """Wait the protocol's bound, then see that all is well; `before`: the incumbents, if they are known."""
        self.world.run(self.wait_ns)
        self.masters = check_settled(self.expected, {} if before is None else before)

    def begin(self) -> None:
        """All hosts start, at once or one after the other."""
        self.world.remark("the cluster starts")
        most = self.chance.choice((1, 5 * MILLISECOND, 5 * SECOND))
        for node in self.nodes:
            self.world.start(node)
            self.world.run(self.chance.randrange(most))
        self.settle()

    def calm(self, span_ns: Nanoseconds) -> None:
        """Nothing happens, so nothing may happen."""
        since = len(self.world.history)
        self.world.run(span_ns)
        check_still(self.world, since, "in a calm")

    def storm(self) -> None:
        """Many things at once, in bad weather; then it clears up."""
        world, chance = self.world, self.chance
        world.remark("a storm")
        world.weather = bad_weather(chance)
        for _ in range(chance.randrange(3, 14)):
            self._mischief(chance.choice(self.nodes))
            world.run(chance.randrange(8 * SECOND))
        world.weather = self.mild
        self.mend()
        self.settle()

    def _mischief(self, node: str) -> None:
        world, chance = self.world, self.chance
        what = chance.randrange(18)
        other = chance.choice([name for name in self.nodes if name != node])
        interface = chance.choice(("eth0", "eth1"))
        if what < 2:
            world.crash(node)
        elif what < 5:
            world.start(node)
        elif what == 5:
            world.stop(node)
        elif what == 6:
            world.restart(node)
        elif what == 7:
            world.link(node, interface, chance.random() < 0.5)
        elif what == 8:
            world.cut(node, other, both=chance.random() < 0.5)
        elif what == 9:
            world.heal()
        elif what == 10:
            world.stall(node, chance.randrange(10 * SECOND))
        elif what == 11:
            world.suspend(node, chance.randrange(10 * SECOND))
        elif what == 12:
            world.script(node, "chk", chance.choice((True, False, None)))
        elif what == 13:
            self.reload(node)
        elif what == 14:
            world.kill(node)
        elif what == 15:
            world.isolate(node, chance.random() < 0.7)
        elif what == 16:
            self._replug(node, interface)
        else:
            self._misuse(node)

    def _replug(self, node: str, interface: str) -> None:
        """An interface vanishes, loses its addresses, or is there again under another index."""
        found = self.interfaces[node, interface]
        how = self.chance.randrange(3)
        if how == 0:
            found = msgspec.structs.replace(found, index=0, up=False, addresses=())
        elif how == 1:
            found = msgspec.structs.replace(found, addresses=())
        else:
            found = msgspec.structs.replace(found, index=10 + self.chance.randrange(90))
        self.world.remark(f"{interface} of {node} has index {found.index}, {len(found.addresses)} addresses")
        self.world.set_interface(node, found)

    def _misuse(self, node: str) -> None:
        """What operators and others do by hand."""
        world, chance = self.world, self.chance
        host = world.hosts[node]
        instance = chance.choice(self.expected.instances())
        if chance.random() < 0.5:
            world.switch(node, instance, chance.choice(("here", "away", "release")), force=chance.random() < 0.3)
        elif chance.random() < 0.2:
            host.refusing = 1  # the kernel will not take an address, once
        elif chance.random() < 0.5:
            world.clock_step(node, chance.randrange(-HOUR, HOUR))
        else:
            for _, address in sorted(frozenset().union(*host.holds.values())):
                world.lose(node, address)
                break

    def reload(self, node: str) -> None:
        """The same configuration again."""
        self.reloaded_at[node] = self.world.now
        self.world.reload(node, self.plans[node])

    def mend(self) -> None:
        """As an operator would: wires, links, scripts, daemons that don't run, hand-overs that were forgotten."""
        world = self.world
        world.remark("everything is mended")
        world.heal()
        world.run(11 * SECOND)  # what is stalled or suspended goes on
        for node, host in world.hosts.items():
            host.refusing = 0
            for interface in host.interfaces:
                world.link(node, interface, False)  # what the kernel refused is asked of it again
                world.set_interface(node, self.interfaces[node, interface])
            for name in list(host.verdicts):
                world.script(node, name, True)
            world.start(node)
            for instance in self.expected.instances():
                slot = world.slot(node, instance)
                if slot is not None and slot.held is not None:
                    world.release(node, instance)
        self.expected.held.clear()

    def told(self) -> str:
        """What happened, a line an entry."""
        return "\n".join(entry.line(self.world.begun) for entry in self.world.history)
