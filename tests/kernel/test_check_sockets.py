"""Sockets of checks in namespaces: link-local servers, devices, marks and the group range of pings."""

import errno
import resource

import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND
from holdfast.check.conversation import Outcome
from holdfast.check.ping import PingConversation
from holdfast.check.tcp import TCP
from holdfast.kernel.check_sockets import CheckRefused, allow_descriptors, allow_pings, open_towards
from holdfast.kernel.sysctl import Sysctls
from tests.check.asking import converse, listening, target
from tests.kernel.namespaces import Namespace, ip

ACCEPTED = Outcome(True, "connection accepted")


def test_a_link_local_server_needs_its_device(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair
    with there.entered(), listening(lambda peer: None, "::") as port, here.entered():
        assert converse("tcp", target(port, "fe80::2", bind_interface="va"), TCP) == ACCEPTED
        source = parse("fe80::1")
        assert converse("tcp", target(port, "fe80::2", bind_interface="va", bind_address=source), TCP) == ACCEPTED
        without = converse("tcp", target(port, "fe80::2", timeout_ns=200 * MILLISECOND), TCP)
        assert not without.ok


def test_pings_go_over_the_wire(pair: tuple[Namespace, Namespace]) -> None:
    here, _ = pair
    with here.entered():
        sysctls = Sysctls()
        allow_pings(sysctls, 0)  # of this namespace only
        for version, address, device in ((4, "192.0.2.2", ""), (4, "192.0.2.2", "va"), (6, "fe80::2", "va")):
            echo = PingConversation(version, b"0123456789abcdef")
            assert converse("ping", target(0, address, bind_interface=device), echo) == Outcome(True, "echo answered")
        nobody = converse("ping", target(0, "192.0.2.9", 200 * MILLISECOND), PingConversation(4, bytes(16)))
        assert nobody == Outcome(False, "no echo within 200 ms")


@pytest.mark.parametrize("transport", ["tcp", "udp", "ping"])
def test_the_mark_decides_about_the_route(pair: tuple[Namespace, Namespace], transport: str) -> None:
    here, _ = pair
    with here.entered():
        allow_pings(Sysctls(), 0)
        ip("rule", "add", "fwmark", "7", "unreachable", "pref", "10")
        address = parse("192.0.2.2")
        for mark in (0, 8):
            open_towards(transport, address, 80, None, 0, "", mark).close()
        with pytest.raises(CheckRefused) as refused:
            open_towards(transport, address, 80, None, 0, "", 7)
        assert refused.value.errno == errno.ENETUNREACH
        assert not refused.value.local
        assert str(refused.value) == (
            "cannot connect: network unreachable; there is no route to it: give the interface an address, or add a route"
        )


def test_as_many_descriptors_as_may_be() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        assert allow_descriptors() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_network_without_a_route(pair: tuple[Namespace, Namespace]) -> None:
    with pair[0].entered():
        outcome = converse("tcp", target(80, "198.51.100.1"), TCP)
    assert outcome.detail.startswith("198.51.100.1:80: cannot connect: network unreachable; there is no route to it")


def test_no_local_port_left_says_nothing_of_the_server(pair: tuple[Namespace, Namespace]) -> None:
    here, _ = pair
    with here.entered():
        Sysctls().set("net/ipv4/ip_local_port_range", "50000\t50001")
        nobody = parse("192.0.2.9")  # doesn't answer, so that connections stay on their way
        held = [open_towards("tcp", nobody, 80, None, 0, "", 0) for _ in range(2)]
        with pytest.raises(CheckRefused) as refused:
            open_towards("tcp", nobody, 80, None, 0, "", 0)
        for opened in held:
            opened.close()
    assert refused.value.local
    assert "widen net.ipv4.ip_local_port_range" in str(refused.value)
