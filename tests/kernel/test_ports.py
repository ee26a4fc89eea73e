"""One suite for the real kernel and the fake: what holdfast relies on, both must do."""

import errno
import select
from collections.abc import Iterator
from typing import Protocol

import pytest

from holdfast.base.address import Address, parse
from holdfast.kernel.fake import FakeKernel
from holdfast.kernel.netlink import MonitorSocket, NetlinkSocket, address_messages, patch_ifindex
from holdfast.kernel.ports import (
    AddressGone,
    AddressSeen,
    AddressSpec,
    LinkGone,
    LinkSeen,
    Notification,
    RouteMonitor,
    RouteNetlink,
)
from tests.kernel.namespaces import Namespace, index_of, ip


class World(Protocol):
    """A kernel under test with interfaces d0 and d1, up."""

    asking: RouteNetlink
    monitor: RouteMonitor
    d0: int
    d1: int

    def down(self, index: int) -> None: ...
    def up(self, index: int) -> None: ...
    def delete(self, index: int) -> None: ...
    def close(self) -> None: ...


class Real:
    def __init__(self) -> None:
        self.place = Namespace()
        with self.place.entered():
            for name, peer in (("d0", "p0"), ("d1", "p1")):
                ip("link", "add", name, "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", peer)
                ip("link", "set", name, "addrgenmode", "none")
                ip("link", "set", peer, "up")
                ip("link", "set", name, "up")
            self.d0, self.d1 = index_of("d0"), index_of("d1")
            self.names = {self.d0: "d0", self.d1: "d1"}
            self.asking: RouteNetlink = NetlinkSocket()
            self.monitor: RouteMonitor = MonitorSocket()

    def down(self, index: int) -> None:
        with self.place.entered():
            ip("link", "set", self.names[index], "down")

    def up(self, index: int) -> None:
        with self.place.entered():
            ip("link", "set", self.names[index], "up")

    def delete(self, index: int) -> None:
        with self.place.entered():
            ip("link", "delete", self.names[index])

    def close(self) -> None:
        self.asking.close()
        self.monitor.close()
        self.place.close()


class Fake:
    def __init__(self) -> None:
        self.kernel = FakeKernel()
        self.asking: RouteNetlink = self.kernel.netlink()
        self.d0, self.d1 = (self.kernel.add_link(name, kind="veth") for name in ("d0", "d1"))
        for index in (self.d0, self.d1):
            self.kernel.set_link(index, up=True, running=True)
        self.monitor: RouteMonitor = self.kernel.monitor()

    def down(self, index: int) -> None:
        self.kernel.set_link(index, up=False, running=False)

    def up(self, index: int) -> None:
        self.kernel.set_link(index, up=True, running=True)

    def delete(self, index: int) -> None:
        self.kernel.delete_link(index)

    def close(self) -> None:
        self.monitor.close()


@pytest.fixture(params=[Real, Fake])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World = request.param()
    yield made
    made.close()


def spec(text: str, prefix_length: int, preferred_lft_s: int | None = None) -> AddressSpec:
    return AddressSpec(
        address=parse(text), prefix_length=prefix_length, preferred_lft_s=preferred_lft_s, nodad=":" in text
    )


def add(world: World, index: int, *specs: AddressSpec) -> list[int]:
    return world.asking.request_batch([patch_ifindex(address_messages(one).add, index) for one in specs])


def delete(world: World, index: int, *specs: AddressSpec) -> list[int]:
    return world.asking.request_batch([patch_ifindex(address_messages(one).delete, index) for one in specs])


def on(world: World, index: int) -> list[AddressSeen]:
    """The addresses of an interface, but for what the kernel makes of its own accord (link-local)."""
    return [seen for seen in world.asking.dump_addresses() if seen.index == index and seen.scope != 253]


def texts(world: World, index: int) -> set[Address]:
    return {seen.address for seen in on(world, index)}


def until(world: World, wanted: Notification) -> None:
    """Read notifications until `wanted` comes."""
    while select.select([world.monitor.fileno()], [], [], 5)[0]:
        if wanted in world.monitor.read():
            return
    raise AssertionError(f"never heard {wanted}")


def test_links(world: World) -> None:
    links = {seen.name: seen for seen in world.asking.dump_links()}
    assert links["lo"].loopback
    assert (links["d0"].index, links["d0"].mac.hex(), links["d0"].kind) == (world.d0, "020000000001", "veth")
    assert (links["d0"].up, links["d0"].running, links["d0"].multicast, links["d0"].noarp) == (True, True, True, False)


def test_an_address_comes_and_goes(world: World) -> None:
    vip = spec("192.0.2.10", 24)
    seen = AddressSeen(index=world.d0, address=vip.address, prefix_length=24, flags=0x80, protocol=112, label="d0")
    assert add(world, world.d0, vip) == [0]
    assert on(world, world.d0) == [seen]
    until(world, seen)
    assert delete(world, world.d0, vip) == [0]
    assert on(world, world.d0) == []
    until(world, AddressGone(index=world.d0, address=vip.address, prefix_length=24))


def test_a_deprecated_ipv6_address(world: World) -> None:
    vip = spec("2001:db8::10", 128, preferred_lft_s=0)
    assert add(world, world.d0, vip) == [0]
    (seen,) = on(world, world.d0)
    assert (seen.address, seen.prefix_length, seen.deprecated, seen.tentative, seen.ours) == (
        vip.address,
        128,
        True,
        False,
        True,
    )


def test_adding_twice_is_harmless_deleting_twice_is_told(world: World) -> None:
    vips = [spec("192.0.2.10", 24), spec("2001:db8::10", 64)]
    assert add(world, world.d0, *vips, *vips) == [0, 0, 0, 0]
    assert len(on(world, world.d0)) == 2
    assert delete(world, world.d0, *vips, *vips) == [0, 0, errno.EADDRNOTAVAIL, errno.EADDRNOTAVAIL]


def test_what_cannot_be(world: World) -> None:
    assert add(world, 4242, spec("192.0.2.10", 24)) == [errno.ENODEV]
    assert add(world, world.d0, spec("192.0.2.10", 33), spec("2001:db8::1", 129), spec("192.0.2.11", 32)) == [
        errno.EINVAL,
        errno.EINVAL,
        0,
    ]


def test_a_primary_takes_its_secondaries_along(world: World) -> None:
    first, second, third = (spec(f"198.51.100.{n}", 24) for n in (1, 2, 3))
    other = spec("198.51.100.9", 32)
    assert add(world, world.d0, first, second, third, other) == [0, 0, 0, 0]
    assert [seen.secondary for seen in on(world, world.d0) if seen.prefix_length == 24] == [False, True, True]
    assert delete(world, world.d0, second) == [0]
    assert texts(world, world.d0) == {first.address, third.address, other.address}
    assert delete(world, world.d0, first) == [0]
    assert texts(world, world.d0) == {other.address}


def test_a_link_that_goes_down_and_away(world: World) -> None:
    vips = [spec("192.0.2.10", 24), spec("2001:db8::10", 64)]
    add(world, world.d1, *vips)
    world.down(world.d1)
    assert [seen.address for seen in on(world, world.d1)] == [vips[0].address]  # IPv6 addresses go with the link
    until(world, AddressGone(index=world.d1, address=vips[1].address, prefix_length=64))
    (link,) = (seen for seen in world.asking.dump_links() if seen.index == world.d1)
    assert (link.up, link.running) == (False, False)
    world.up(world.d1)
    (link,) = (seen for seen in world.asking.dump_links() if seen.index == world.d1)
    assert link.up
    world.delete(world.d1)
    until(world, LinkGone(index=world.d1, name="d1"))
    assert on(world, world.d1) == []
    assert add(world, world.d1, vips[0]) == [errno.ENODEV]


def test_nothing_happened_nothing_said(world: World) -> None:
    while world.monitor.read():
        pass
    assert world.monitor.read() == []


def test_the_fake_refuses_on_demand_and_overruns() -> None:
    made = Fake()
    vip = spec("192.0.2.10", 24)
    made.kernel.refuse[vip.address] = errno.EPERM
    assert add(made, made.d0, vip, spec("192.0.2.11", 24)) == [errno.EPERM, 0]
    made.kernel.overrun()
    assert [type(said).__name__ for said in made.monitor.read()] == ["Overrun"]
    made.kernel.promote = True
    add(made, made.d0, spec("192.0.2.12", 24))
    delete(made, made.d0, spec("192.0.2.11", 24))
    assert [seen.secondary for seen in on(made, made.d0)] == [False]
    said = made.monitor.read()
    assert not any(isinstance(one, LinkSeen) for one in said)
    made.close()
