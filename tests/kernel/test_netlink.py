"""Routing netlink against the real kernel, with pyroute2 as a second opinion on the bytes."""

import errno
import select
import struct
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from holdfast.base.address import Address, parse
from holdfast.kernel import netlink
from holdfast.kernel.errors import KernelRefused, cure_for, errno_name
from holdfast.kernel.ports import AddressGone, AddressSeen, AddressSpec, LinkGone, LinkSeen, Notification, Overrun
from tests.kernel.namespaces import Namespace, index_of, ip


def spec(text: str, prefix_length: int, **options: Any) -> AddressSpec:
    return AddressSpec(address=parse(text), prefix_length=prefix_length, **options)


def add(text: str, prefix_length: int, index: int) -> bytes:
    return netlink.patch_ifindex(netlink.address_messages(spec(text, prefix_length)).add, index)


def test_the_bytes_of_an_ipv4_address() -> None:
    made = netlink.address_messages(spec("192.0.2.10", 24))
    assert made.add.hex() == (
        "30000000140001050000000000000000"  # 48 octets, RTM_NEWADDR, REQUEST|REPLACE|CREATE
        "0218000000000000"  # AF_INET, /24, no flags, scope global, index to come
        "08000200c000020a"  # IFA_LOCAL
        "08000100c000020a"  # IFA_ADDRESS
        "05000b0070000000"  # IFA_PROTO 112
    )
    assert made.delete.hex() == "28000000150001000000000000000000021800000000000008000200c000020a08000100c000020a"


def test_the_interface_index_is_patched_in_place() -> None:
    made = netlink.address_messages(spec("2001:db8::10", 64)).add
    patched = netlink.patch_ifindex(made, 0x01020304)
    assert patched[20:24].hex() == "04030201"
    assert (patched[:20], patched[24:]) == (made[:20], made[24:])


@pytest.mark.parametrize(
    ("wanted", "attributes"),
    [
        (
            spec("192.0.2.9", 25, broadcast=parse("192.0.2.127"), label="eth0:v", scope=253),
            {"IFA_BROADCAST": "192.0.2.127", "IFA_LABEL": "eth0:v", "IFA_LOCAL": "192.0.2.9"},
        ),
        (spec("192.0.2.9", 32, peer=parse("192.0.2.8")), {"IFA_LOCAL": "192.0.2.9", "IFA_ADDRESS": "192.0.2.8"}),
        (spec("2001:db8::9", 64, nodad=True, home=True), {"IFA_LOCAL": "2001:db8::9", "IFA_FLAGS": 0x12}),
        (spec("2001:db8::9", 64, mngtmpaddr=True, noprefixroute=True, autojoin=True), {"IFA_FLAGS": 0x700}),
        (spec("2001:db8::9", 128, preferred_lft_s=0), {"IFA_ADDRESS": "2001:db8::9"}),
    ],
)
def test_pyroute2_reads_the_same(wanted: AddressSpec, attributes: dict[str, Any]) -> None:
    read = ifaddrmsg(netlink.address_messages(wanted).add)
    read.decode()
    assert (read["prefixlen"], read["scope"]) == (wanted.prefix_length, wanted.scope)
    assert read["family"] == (2 if len(wanted.address) == 4 else 10)
    assert {name: read.get_attr(name) for name in attributes} == attributes
    if wanted.preferred_lft_s is not None:
        lifetime = read.get_attr("IFA_CACHEINFO")
        assert (lifetime["ifa_preferred"], lifetime["ifa_valid"]) == (0, 0xFFFFFFFF)


def test_decoding_agrees_with_pyroute2(alone: Namespace) -> None:
    for kind, request, reader in (
        (netlink.RTM_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0), ifinfmsg),
        (netlink.RTM_GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0), ifaddrmsg),
    ):
        asking = netlink.open_netlink(0, "test")
        asking.send(netlink.message(kind, netlink.NLM_F_DUMP, request))
        octets = asking.recv(65536)
        asking.close()
        ours = netlink.decode(octets)
        assert ours
        start = 0
        for said in ours:
            theirs = reader(octets[start:])
            theirs.decode()
            start += theirs["header"]["length"]
            assert said.index == theirs["index"]  # type: ignore[union-attr]
            if isinstance(said, LinkSeen):
                assert said.name == theirs.get_attr("IFLA_IFNAME")
                assert said.mac.hex(":") == theirs.get_attr("IFLA_ADDRESS")
                assert (said.mtu, said.flags) == (theirs.get_attr("IFLA_MTU"), theirs["flags"])
            if isinstance(said, AddressSeen):
                assert said.prefix_length == theirs["prefixlen"]
                assert said.flags == theirs.get_attr("IFA_FLAGS")


def test_add_and_delete(alone: Namespace) -> None:
    asking, index = netlink.NetlinkSocket(), index_of("d0")
    both = [netlink.address_messages(spec("192.0.2.10", 24)), netlink.address_messages(spec("2001:db8::1", 64))]
    assert asking.request_batch([netlink.patch_ifindex(one.add, index) for one in both]) == [0, 0]
    ours = [seen for seen in asking.dump_addresses() if seen.ours]
    assert [(seen.address, seen.prefix_length, seen.index) for seen in ours] == [
        (parse("192.0.2.10"), 24, index),
        (parse("2001:db8::1"), 64, index),
    ]
    assert "192.0.2.10/24" in ip("address", "show", "dev", "d0")
    assert asking.request_batch([netlink.patch_ifindex(one.add, index) for one in both]) == [
        0,
        0,
    ]  # adding twice is harmless
    assert asking.request_batch([netlink.patch_ifindex(one.delete, index) for one in both]) == [0, 0]
    assert [seen for seen in asking.dump_addresses() if seen.ours] == []
    asking.close()


def test_every_option_arrives(alone: Namespace) -> None:
    asking, index = netlink.NetlinkSocket(), index_of("d0")
    wanted = [
        spec("192.0.2.10", 24, broadcast=parse("192.0.2.255"), label="d0:vip", scope=253),
        spec("192.0.2.11", 32, peer=parse("192.0.2.99"), noprefixroute=True),
        spec("2001:db8::1", 128, preferred_lft_s=0, nodad=True),
        spec("2001:db8::2", 64, home=True),
    ]
    made = [netlink.patch_ifindex(netlink.address_messages(one).add, index) for one in wanted]
    assert asking.request_batch(made) == [0, 0, 0, 0]
    shown = ip("address", "show", "dev", "d0")
    assert "inet 192.0.2.10/24 brd 192.0.2.255 scope link d0:vip" in shown
    assert "inet 192.0.2.11 peer 192.0.2.99/32 scope global noprefixroute d0" in shown
    assert "inet6 2001:db8::1/128 scope global nodad deprecated" in shown
    assert "home" in shown
    for seen in asking.dump_addresses():
        if seen.ours:
            assert asking.request_batch([netlink.delete_message(seen)]) == [0]
    assert [seen for seen in asking.dump_addresses() if seen.ours] == []
    asking.close()


def test_a_thousand_addresses_and_the_errors_among_them(alone: Namespace) -> None:
    asking, index = netlink.NetlinkSocket(), index_of("d0")
    made = [
        netlink.address_messages(AddressSpec(address=Address(bytes((10, 9, n >> 8, n & 255))), prefix_length=32))
        for n in range(1000)
    ]
    adding = [netlink.patch_ifindex(one.add, index) for one in made]
    adding[3] = netlink.patch_ifindex(adding[3], 4242)
    adding[999] = netlink.patch_ifindex(adding[999], 4242)
    expected = [0] * 1000
    expected[3] = expected[999] = errno.ENODEV
    assert asking.request_batch(adding) == expected
    assert sum(seen.ours for seen in asking.dump_addresses()) == 998
    deleting = [netlink.patch_ifindex(one.delete, index) for one in made]
    expected[3] = expected[999] = errno.EADDRNOTAVAIL
    assert asking.request_batch(deleting) == expected
    assert asking.request_batch(deleting) == [errno.EADDRNOTAVAIL] * 1000  # a thousand errors are told one by one
    asking.close()


def test_nothing_asked_nothing_answered(alone: Namespace) -> None:
    asking = netlink.NetlinkSocket()
    assert asking.request_batch([]) == []
    asking.close()


def test_links(alone: Namespace) -> None:
    ip("link", "add", "mv0", "link", "d0", "address", "00:00:5e:00:01:07", "type", "macvlan", "mode", "private")
    asking = netlink.NetlinkSocket()
    links = {seen.name: seen for seen in asking.dump_links()}
    asking.close()
    assert set(links) == {"lo", "d0", "p0", "d1", "p1", "mv0"}
    assert (links["lo"].loopback, links["lo"].up, links["d0"].up, links["mv0"].up) == (True, True, True, False)
    assert (links["d0"].noarp, links["d0"].running, links["d0"].mtu, links["d0"].kind) == (False, True, 1500, "veth")
    assert (links["mv0"].mac.hex(), links["mv0"].kind, links["mv0"].multicast) == ("00005e000107", "macvlan", True)


def heard(
    monitor: netlink.MonitorSocket, wanted: type, fits: Callable[[Any], bool] = lambda said: True
) -> Notification:
    """The next notification of the kind `wanted` that fits.

    The kernel sends it before the request is answered; what it does in its own time (a carrier, an address of IPv6 that
    nobody else has) comes in between.
    """
    while select.select([monitor], [], [], 5)[0]:
        for said in monitor.read():
            if isinstance(said, wanted) and fits(said):
                return said
    raise AssertionError(f"no {wanted.__name__} within 5 s")


def test_the_monitor_hears_of_everything(alone: Namespace) -> None:
    asking, monitor, index = netlink.NetlinkSocket(), netlink.MonitorSocket(), index_of("d1")
    made = netlink.address_messages(spec("192.0.2.7", 24, label="d1:x"))
    asking.request_batch([netlink.patch_ifindex(made.add, index)])
    came = heard(monitor, AddressSeen, lambda said: len(said.address) == 4)
    assert came == AddressSeen(
        index=index, address=parse("192.0.2.7"), prefix_length=24, flags=0x80, protocol=112, label="d1:x"
    )
    asking.request_batch([netlink.patch_ifindex(made.delete, index)])
    assert heard(monitor, AddressGone) == AddressGone(index=index, address=parse("192.0.2.7"), prefix_length=24)
    monitor.read()
    ip("link", "set", "d1", "down")
    down = heard(monitor, LinkSeen, lambda said: not said.up)
    assert isinstance(down, LinkSeen)
    assert (down.name, down.up, down.running) == ("d1", False, False)
    ip("link", "delete", "d1")
    assert heard(monitor, LinkGone, lambda said: said.name == "d1") == LinkGone(index=index, name="d1")
    asking.close()
    monitor.close()


def test_a_monitor_that_does_not_keep_up_says_so(alone: Namespace) -> None:
    asking, monitor, index = netlink.NetlinkSocket(), netlink.MonitorSocket(), index_of("d0")
    monitor._socket.setsockopt(1, 33, 4096)  # SO_RCVBUFFORCE: room for a few messages only
    made = netlink.address_messages(spec("192.0.2.7", 24))
    for _ in range(50):
        asking.request_batch([netlink.patch_ifindex(one, index) for one in (made.add, made.delete)])
    assert monitor.read() == [Overrun()]
    assert monitor.read() == []  # and it hears again
    asking.request_batch([netlink.patch_ifindex(made.add, index)])
    assert heard(monitor, AddressSeen)
    asking.close()
    monitor.close()


def test_cut_short_at_every_length_nothing_breaks(alone: Namespace) -> None:
    whole = add("192.0.2.7", 24, 1)
    assert len(netlink.decode(whole)) == 1
    for size in range(len(whole)):
        assert netlink.decode(whole[:size]) == []


def test_refusals_are_in_words() -> None:
    refused = KernelRefused("add 192.0.2.10/24", "eth0", errno.EPERM)
    assert str(refused).startswith("cannot add 192.0.2.10/24 on eth0: operation not permitted; grant CAP_NET_ADMIN")
    assert (refused.operation, refused.target, refused.errno) == ("add 192.0.2.10/24", "eth0", 1)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_errno_has_a_name_and_a_cure(number: int) -> None:
    assert errno_name(number) == errno.errorcode[number]
    assert cure_for(number)
    assert errno_name(4242) == "errno 4242"
