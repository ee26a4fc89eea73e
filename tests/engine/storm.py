"""The simulated world under any weather that a test thinks of: one host after the other, by hand."""

from holdfast.base.address import Address, parse
from holdfast.base.time import SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine.messages import Asleep, EngineEffect, Interface
from holdfast.sim.host import Host, NodeSpec
from holdfast.sim.promises import check_now
from holdfast.sim.world import World

JOINING = 5 * SECOND
"""How long after a reload a group may be on its way to agreeing: who joins a group of masters waits its down interval,
and the others don't give up for it."""

Router = Host


class Storm:
    """Hosts on one wire, each with one interface, eth0; what must always hold is looked at after every transition."""

    def __init__(self, **plans: tuple[str, VrrpPlan]) -> None:
        self.sources: dict[str, Address] = {name: parse(source) for name, (source, _) in plans.items()}
        nodes = [
            NodeSpec(
                name=name,
                plan=plan,
                interfaces=(Interface(name="eth0", index=2, up=True, addresses=(self.sources[name],)),),
            )
            for name, (_, plan) in plans.items()
        ]
        self.world = World(nodes, start=False)
        self.world.happened = self.check
        self.routers = self.world.hosts
        self.reloaded_at: dict[str, int] = {}
        for router in self.routers.values():
            self.start(router)

    @property
    def now(self) -> int:
        """The clock of the world, and of every host."""
        return self.world.now

    def check(self) -> None:
        """A host's addresses are those of its masters; the members of a group stand together."""
        check_now(self.world, self.reloaded_at, JOINING)

    def start(self, router: Router) -> None:
        """The daemon starts, with the addresses of an earlier run swept."""
        self.world.start(router.name)

    def reload(self, router: Router, plan: VrrpPlan) -> None:
        """A new configuration; one that is not running has it when it starts, a frozen one never reads it."""
        router.plan, self.reloaded_at[router.name] = plan, self.now
        if not router.frozen:
            self.world.reload(router.name, plan)

    def set_interface(self, router: Router, interface: Interface) -> None:
        """The interface changed; with its index gone or new, its addresses are gone."""
        self.world.set_interface(router.name, interface)

    def lose_address(self, router: Router) -> None:
        """Somebody removes the first address that is held."""
        for held in router.holds.values():
            for _, address in held:
                self.world.lose(router.name, address)
                return

    def sleep(self, router: Router, span_ns: int) -> None:
        """The machine says that it was suspended."""
        if router.engine is not None and not router.frozen:
            router.handle(Asleep(span_ns))
            self.world.done(router)

    def carry_out(self, router: Router, effects: list[EngineEffect]) -> None:
        """What the edge does."""
        router.carry_out(effects)
        self.world.done(router)

    def run(self, span_ns: int) -> None:
        """Let time pass."""
        self.world.run(span_ns)
