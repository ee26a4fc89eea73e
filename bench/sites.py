"""Where it is measured: a router and a peer, joined by four cables; the products; configurations of any size."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import msgspec

from holdfast.lab.capture import Capture, tap_here
from holdfast.lab.daemons import start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

CABLES = 4
VRIDS = 250
BUFFER_BYTES = 192 << 20
RTMGRP_IPV4_IFADDR = 0x10
STARTERS: dict[str, Callable[[Host, str], Spawned]] = {"holdfast": start_holdfast, "keepalived": start_keepalived}


def vip(cable: int, vrid: int) -> str:
    """The one address of an instance."""
    return f"10.{10 + cable}.1.{vrid}"


def router_address(cable: int) -> str:
    return f"10.{10 + cable}.0.1"


def peer_address(cable: int) -> str:
    return f"10.{10 + cable}.0.2"


def split(count: int) -> list[tuple[int, int]]:
    """(cable, vrid) of `count` instances."""
    return [(number // VRIDS, number % VRIDS + 1) for number in range(count)]


def configuration(count: int, priority: int, interval_s: float, vips_each: int = 1) -> str:
    """keepalived.conf with `count` VRRPv3 instances, `vips_each` addresses each."""
    blocks = []
    for cable, vrid in split(count):
        more = "".join(f"        10.{10 + cable}.{2 + n}.{vrid}/32\n" for n in range(vips_each - 1))
        blocks.append(
            f"vrrp_instance VI_{cable}_{vrid} {{\n    interface x{cable}\n    version 3\n    virtual_router_id {vrid}\n"
            f"    priority {priority}\n    advert_int {interval_s:g}\n    virtual_ipaddress {{\n"
            f"        {vip(cable, vrid)}/32\n{more}    }}\n}}\n"
        )
    return "".join(blocks)


def virtual_servers(lines: int) -> str:
    """keepalived.conf with about `lines` lines of virtual servers, 33 lines each."""
    blocks = []
    for number in range(lines // 33):
        real = "".join(
            f"    real_server 10.{20 + n}.{number // 250}.{number % 250 + 1} 80 {{\n        weight {n + 1}\n"
            "        TCP_CHECK {\n            connect_timeout 3\n            retry 2\n"
            "            delay_before_retry 1\n        }\n    }\n"
            for n in range(3)
        )
        blocks.append(
            f"virtual_server 10.19.{number // 250}.{number % 250 + 1} 80 {{\n    delay_loop 6\n    lb_algo rr\n"
            f"    lb_kind NAT\n    protocol TCP\n    persistence_timeout 50\n    quorum 1\n    alpha\n{real}}}\n"
        )
    return "".join(blocks)


class Site(msgspec.Struct, frozen=True):
    """The two ends."""

    lab: Lab
    router: Host
    peer: Host

    def start(self, product: str, text: str) -> Spawned:
        """Start `product` on the router."""
        return STARTERS[product](self.router, text)

    def processes(self) -> list[int]:
        """Everything that runs on the router."""
        return self.router.processes()

    def held(self) -> int:
        """How many virtual addresses the router holds."""
        return sum(a.interface.startswith("x") and not a.address.endswith(".0.1") for a in self.router.addresses())

    def settled(self, holds: int, seconds: float = 30) -> None:
        """Wait until the router holds `holds` virtual addresses."""
        wait_until(lambda: self.held() == holds, seconds, f"{holds} addresses on the router", step=0.05)

    def listen(self, host: Host, protocols: frozenset[int]) -> Capture:
        """Frames that arrive at `host`."""
        with host.inside():
            tap = tap_here()
        return Capture(tap, protocols=protocols, buffer_bytes=BUFFER_BYTES)

    def address_monitor(self) -> socket.socket:
        """Address changes on the router, as the kernel tells them."""
        with self.router.inside():
            monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            monitor.bind((0, RTMGRP_IPV4_IFADDR))
        monitor.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
        monitor.setblocking(False)
        return monitor

    def advert_socket(self, cable: int) -> socket.socket:
        """Where the peer sends adverts from."""
        with self.peer.inside():
            return advert_socket(peer_address(cable))


def advert_socket(source: str) -> socket.socket:
    """A socket of the network the caller is in, for adverts from `source`."""
    made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 112)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    return made


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """A fresh site; gone at the end."""
    with Lab() as lab:
        router, peer = lab.host("router"), lab.host("peer")
        for cable in range(CABLES):
            name = f"x{cable}"
            router.links.make_veth(name, name, peer.namespaces.net)
            for host, address in ((router, router_address(cable)), (peer, peer_address(cable))):
                host.sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
                host.links.add_address(name, address, 16)
                host.links.up(name)
        yield Site(lab, router, peer)


def cores() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))
