"""The order in which routes and rules come and go, and what is asked of the kernel, on the kernel in memory."""

import errno
import sys
from collections.abc import Sequence

import pytest

from holdfast.config.disk import Disk
from holdfast.config.route_lines import read_route
from holdfast.config.route_parts import Names
from holdfast.config.rule_lines import read_rule
from holdfast.edge.interfaces import Interfaces
from holdfast.edge.routes import Routes
from holdfast.engine.messages import AddressesRefused, LogLine, PutBackNotice, TrackerReported
from holdfast.kernel.fake import FakeKernel, FakeNetlink
from holdfast.kernel.route_events import entry_of
from holdfast.vrrp.config import Family, InstanceConfig
from holdfast.vrrp.routes import RouteEntry

VIA = "via 192.0.2.9 dev eth0"


class Counted(FakeNetlink):
    """Notes what was asked, batch by batch; refuses what leads to 10.66.0.0."""

    def __init__(self, kernel: FakeKernel) -> None:
        super().__init__(kernel)
        self.batches: list[list[str]] = []

    def request_batch(self, messages: Sequence[bytes]) -> list[int]:
        words = {24: "+route", 25: "-route", 32: "+rule", 33: "-rule"}
        self.batches.append([words[message[4]] for message in messages])
        outcomes = super().request_batch(messages)
        bad = [entry_of(message).attributes.get(1) == bytes((10, 66, 0, 0)) for message in messages]
        return [errno.ENETUNREACH if wrong else outcome for wrong, outcome in zip(bad, outcomes, strict=True)]


class Scene:
    """Interface eth0, and what was said and reported."""

    def __init__(self) -> None:
        self.kernel = FakeKernel()
        index = self.kernel.add_link("eth0")
        self.kernel.set_link(index, True, True)
        self.index = index
        self.netlink = Counted(self.kernel)
        self.interfaces = Interfaces(self.netlink, self.kernel.monitor())
        self.interfaces.dump()
        self.lines: list[LogLine | PutBackNotice] = []
        self.reports: list[TrackerReported | AddressesRefused] = []
        self.routes = Routes(self.netlink, self.interfaces, lambda fd, call: None, self.lines.append, self.reports.append)
        self.routes.ask = lambda message: (errno.ENETUNREACH, "Nexthop has invalid gateway")

    def configure(self, slot: int, *lines: str, rule: str = "") -> None:
        names = Names(Disk())
        made: list[RouteEntry] = [read_route(tuple(line.split()), names) for line in lines]
        rules = (read_rule(tuple(rule.split()), names, 5),) if rule else ()
        config = InstanceConfig(
            name=f"i{slot}", vrid=slot, interface="eth0", family=Family.IPV4, version=3, routes=tuple(made), rules=rules
        )
        self.routes.configure(slot, config)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_routes_come_before_rules_and_leave_after_them_in_one_batch(scene: Scene) -> None:
    for slot in (1, 2):
        scene.configure(slot, f"10.{slot}.0.0/16 {VIA}", rule=f"from 10.{slot}.0.0/16 table 7 priority {slot}")
    scene.routes.put_on([(1, True), (2, True)])
    assert scene.netlink.batches == [["+route", "+rule", "+route", "+rule"]]
    assert scene.kernel.entries[0].attributes[4] == scene.index.to_bytes(4, sys.byteorder)
    scene.netlink.batches.clear()
    scene.routes.take_off([(1, False), (2, True)])
    assert scene.netlink.batches == [["-rule", "-route"]]
    scene.routes.put_on([(2, True)])  # all there: nothing is asked
    assert scene.netlink.batches == [["-rule", "-route"]]


def test_an_instance_without_any_asks_nothing(scene: Scene) -> None:
    scene.configure(1)
    scene.routes.take_off([(1, False)])
    scene.routes.put_on([(1, True)])
    scene.routes.renew([scene.interfaces.interface("eth0")])
    assert scene.routes.sweep(set()) == []
    scene.routes.leave()
    assert scene.netlink.batches == []


def test_a_refused_one_is_told_once_and_the_rest_is_there(scene: Scene) -> None:
    scene.configure(1, "10.66.0.0/16 via 203.0.113.1", f"10.2.0.0/16 {VIA}")
    for _ in range(2):
        scene.routes.put_on([(1, True)], again=True)
    said = (
        "cannot add route 10.66.0.0/16 via 203.0.113.1: network is unreachable; the kernel says 'Nexthop has invalid "
        "gateway': the gateway must be on a network of this host: correct it, or say onlink and dev"
    )
    assert scene.reports == [AddressesRefused(1, said, False)]
    scene.netlink.batches.clear()
    scene.routes.take_off([(1, False)])
    assert scene.netlink.batches == [["-route"]]


def test_a_reload_asks_for_the_difference(scene: Scene) -> None:
    scene.configure(1, f"10.1.0.0/16 {VIA}", f"10.2.0.0/16 {VIA}")
    scene.routes.put_on([(1, True)])
    scene.configure(1, f"10.2.0.0/16 {VIA}", f"10.3.0.0/16 {VIA}")
    scene.netlink.batches.clear()
    scene.routes.put_on([(1, True)])
    assert scene.netlink.batches == [["-route"], ["+route"]]
    assert sorted(entry.attributes[1][1] for entry in scene.kernel.entries) == [2, 3]


def test_an_interface_with_another_index(scene: Scene) -> None:
    scene.configure(1, f"10.1.0.0/16 {VIA}")
    scene.routes.put_on([(1, True)])
    scene.kernel.delete_link(scene.index)
    scene.routes.renew(scene.interfaces.read()[0])
    scene.kernel.entries.clear()  # as the kernel does, without a word
    index = scene.kernel.add_link("eth0")
    scene.kernel.set_link(index, True, True)
    scene.routes.renew(scene.interfaces.read()[0])
    assert [entry.attributes[4] for entry in scene.kernel.entries] == [index.to_bytes(4, sys.byteorder)]


def test_static_ones_are_reported_to_those_who_follow(scene: Scene) -> None:
    entry = read_route(("10.1.0.0/16", "dev", "late"), Names(Disk()))
    scene.routes.keep((entry,))
    why = "cannot add route 10.1.0.0/16 dev late: interface late does not exist; create it"
    assert scene.reports[-1] == TrackerReported("static", "route 10.1.0.0/16 dev late", False, why)
    said = [line.text for line in scene.lines if isinstance(line, LogLine)]
    assert [line for line in said if line.startswith("Static")] == [f"Static: {why}"]
    scene.kernel.set_link(scene.kernel.add_link("late"), True, True)
    scene.routes.renew(scene.interfaces.read()[0])
    assert scene.reports[-1] == TrackerReported("static", "route 10.1.0.0/16 dev late", True, "")
    scene.routes.keep(())
    assert scene.kernel.entries == []
