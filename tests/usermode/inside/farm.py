"""A client, a director and three servers on one switch; servers say their name and echo; all in this process."""

import contextlib
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from holdfast.edge.services import Memory, Services
from holdfast.kernel.ipvs import IpvsSocket
from holdfast.lab.hosts import Host, Lab
from holdfast.lvs import machine
from tests.usermode.inside.beside import plan_of

VIP, VIP6, PORT = "192.0.2.100", "2001:db8:1::100", 80
NAMES = "abc"


class Speakers:
    """Every server's listener, in one thread: the name on accepting, then an echo."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        for host in hosts:
            with host.inside():
                listener = socket.create_server(("::", PORT), family=socket.AF_INET6, backlog=64, dualstack_ipv6=True)
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, host.name)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopping:
            for ready, _ in self._selector.select(0.2):
                made = ready.fileobj
                assert isinstance(made, socket.socket)
                if ready.data is not None:
                    with contextlib.suppress(OSError):
                        accepted, _ = made.accept()
                        accepted.sendall(ready.data.encode())
                        self._selector.register(accepted, selectors.EVENT_READ, None)
                    continue
                try:
                    said = made.recv(64)
                    made.sendall(said)
                except OSError:
                    said = b""
                if not said:
                    self._selector.unregister(made)
                    made.close()

    def close(self) -> None:
        """Stop listening; open connections end too."""
        self._stopping = True
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


class Farm:
    """The hosts, and the director's table."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.client, self.director = self.lab.host("client"), self.lab.host("director")
        self.servers = [self.lab.host(name) for name in NAMES]
        self.director.links.add_address("eth0", VIP, 24)
        self.director.links.add_address("eth0", VIP6, 64)
        for name in ("all", "eth0"):
            self.director.sysctl(f"net/ipv4/conf/{name}/send_redirects", "0")
        self.director.sysctl("net/ipv4/ip_forward", "1")
        self.director.sysctl("net/ipv6/conf/all/forwarding", "1")
        for number in range(20):
            self.client.links.add_address("eth0", f"192.0.2.{150 + number}", 24)
        for server in self.servers:
            for name in ("all", "eth0"):
                server.sysctl(f"net/ipv4/conf/{name}/arp_ignore", "1")
                server.sysctl(f"net/ipv4/conf/{name}/arp_announce", "2")
                server.sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
                server.sysctl(f"net/ipv6/conf/{name}/accept_redirects", "0")
        with self.director.inside():
            self.ipvs = IpvsSocket()
        self._back = [  # the client's addresses, in the director's hands: NAT needs the answers to come that way
            ("-4", f"{self.client.ip4}/32", self.director.ip4),
            ("-4", "192.0.2.128/25", self.director.ip4),
            ("-6", f"{self.client.ip6}/128", self.director.ip6),
        ]
        self.speakers = Speakers(self.servers)
        self.services = Services(self.ipvs, Memory(""))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.speakers.close()
        self.ipvs.close()
        self.lab.close()

    def everywhere(self, command: str) -> None:
        """A shell command on every server."""
        for server in self.servers:
            server.run("sh", "-c", command)

    @contextlib.contextmanager
    def answering(self, how: str) -> Iterator[None]:
        """The servers are set up for NAT, DR or a tunnel, and put back afterwards."""
        doing, undoing = {
            "NAT": (
                "; ".join(f"ip {family} route add {client} via {by}" for family, client, by in self._back),
                "; ".join(f"ip {family} route del {client} via {by}" for family, client, by in self._back),
            ),
            "DR": (
                f"ip addr add {VIP}/32 dev lo; ip addr add {VIP6}/128 dev lo",
                f"ip addr del {VIP}/32 dev lo; ip addr del {VIP6}/128 dev lo",
            ),
            "TUN": (_tunnel("tunl0"), f"ip addr del {VIP}/32 dev tunl0"),
            "GUE": (f"ip fou add port 6080 gue; {_tunnel('tunl0')}", f"ip addr del {VIP}/32 dev tunl0"),
            "GRE": (_tunnel("gre0"), f"ip addr del {VIP}/32 dev gre0"),
        }[how]
        self.everywhere(doing)
        try:
            yield
        finally:
            self.everywhere(undoing)

    def configure(self, inside: str, where: str = f"{VIP} {PORT}", weights: Sequence[int] = (1, 1, 1)) -> list[str]:
        """The director takes a virtual_server block with the three servers in it; lines about what failed."""
        six = ":" in where
        lines = [f"virtual_server {where} {{", "protocol TCP", inside]
        for server, weight in zip(self.servers, weights, strict=True):
            lines.append(f"real_server {server.ip6 if six else server.ip4} {PORT} {{\nweight {weight}\n}}")
        [self.service] = plan_of(self.director.write("keepalived.conf", "\n".join([*lines, "}"]))).services
        self.state, _ = machine.begin(self.service)
        return self.services.begin(machine.wanted_pools(self.service, self.state))

    def connect(self, source: str = "", target: str = VIP, port: int = 0) -> "Held":
        """A connection of the client, which has heard who serves it."""
        with self.client.inside():
            made = socket.create_connection((target, PORT), 5, source_address=(source, port) if source else None)
        return Held(made)

    def spread(self, count: int, source: str = "", target: str = VIP) -> dict[str, int]:
        """Who served `count` connections, one after another."""
        served: Counter[str] = Counter()
        for _ in range(count):
            one = self.connect(source, target)
            served[one.name] += 1
            one.close()
        return dict(sorted(served.items()))


def _tunnel(device: str) -> str:
    return f"ip link set {device} up; ip addr add {VIP}/32 dev {device}; echo 0 > /proc/sys/net/ipv4/conf/{device}/rp_filter"


class Held:
    """An open connection; `name` of its server."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        made.settimeout(5)
        self.name = made.recv(1).decode()

    def works(self) -> bool:
        """Whether what is said comes back."""
        self.socket.sendall(b"hello")
        return self.socket.recv(64) == b"hello"

    def close(self) -> None:
        """End it, leaving no port in TIME_WAIT."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()
