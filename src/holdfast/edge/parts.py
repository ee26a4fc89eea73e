"""What only some plans need of the vrrp worker: routes and rules, virtual devices, BFD sessions.

Each is loaded when a plan first needs it, so that a router with none of them carries none of their code.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from holdfast.config.plan import VrrpPlan
from holdfast.edge.interfaces import Interfaces
from holdfast.edge.loop import Loop
from holdfast.engine.messages import AddressesRefused, LogLine, PutBackNotice, TrackerReported
from holdfast.kernel.ports import RouteNetlink
from holdfast.kernel.sysctl import Sysctls
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.edge.bfd import BfdSessions
    from holdfast.edge.routes import Routes
    from holdfast.edge.virtual_devices import VirtualDevices

LIKE_OURS = ("macvlan", "ipvlan")
"""Kinds of links among which a dead run may have left some of ours."""


class Parts:
    """The parts that plans have needed so far; None: never needed.

    `say` writes to the log, `report` tells the engine.
    """

    def __init__(
        self,
        loop: Loop,
        netlink: RouteNetlink,
        interfaces: Interfaces,
        sysctls: Sysctls,
        say: Callable[[LogLine | PutBackNotice], None],
        report: Callable[[TrackerReported | AddressesRefused], None],
    ) -> None:
        self._loop = loop
        self._netlink = netlink
        self._interfaces = interfaces
        self._sysctls = sysctls
        self._say = say
        self._report = report
        self.run_bfd = True
        self.routes: Routes | None = None
        self.devices: VirtualDevices | None = None
        self.bfd: BfdSessions | None = None

    def devices_steps(self, plan: VrrpPlan) -> Iterator[None]:
        """Bring the kernel to the virtual devices of a plan, one a step; `prune` is to follow."""
        if self.devices is None:
            if not plan.devices and not any(link.kind in LIKE_OURS for link in self._interfaces.links()):
                return
            from holdfast.edge.virtual_devices import VirtualDevices

            self.devices = VirtualDevices(self._netlink, self._interfaces, self._sysctls, self._warn)
        yield from self.devices.steps(plan.devices, plan.settings)

    def prune(self) -> None:
        """Remove the virtual devices that are wanted no more."""
        if self.devices is not None:
            self.devices.prune()

    def need_routes(self) -> "Routes":
        """The routes and rules, from now on."""
        if self.routes is None:
            from holdfast.edge.routes import Routes

            self.routes = Routes(self._netlink, self._interfaces, self._loop.watch, self._say, self._report)
        return self.routes

    def load(self, plan: VrrpPlan) -> None:
        """Keep the static routes and run the BFD sessions of a plan."""
        if plan.static_entries or self.routes is not None:
            self.need_routes().keep(plan.static_entries)
        if self.bfd is None and plan.bfd:
            from holdfast.edge.bfd import BfdSessions

            self.bfd = BfdSessions(self._loop, self._report, lambda level, line: self._say(LogLine(level, line)))
            self.bfd.off = not self.run_bfd
        if self.bfd is not None:
            self.bfd.load(plan.bfd)

    def _warn(self, line: str) -> None:
        self._say(LogLine(Level.WARNING, line))
