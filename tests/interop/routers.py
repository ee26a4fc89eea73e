"""Two routers and a client on one wire, and the questions the interoperation tests ask of them."""

import os
import signal
import time

import msgspec

from holdfast.lab.ask import who_answers
from holdfast.lab.capture import Advert, Capture
from holdfast.lab.daemons import FrrRouter, holdfast_state, start_frr, start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

# INTEROP_OURS=keepalived puts keepalived into holdfast's place: the tests themselves on trial
OURS = os.environ.get("INTEROP_OURS", "holdfast")
VRID = 51
INSTANCE = "VI_1"


class Setting(msgspec.Struct, frozen=True):
    """How the routers of one test speak."""

    version: int = 3
    six: bool = False
    unicast: bool = False
    password: str = ""
    vmac: bool = False
    xmit_base: bool = False
    link_local_only: bool = False  # FRR has no global VIP beside the link-local one in these tests

    def __str__(self) -> str:
        words = (f"v{self.version}", "ipv6" if self.six else "ipv4", "unicast" if self.unicast else "multicast")
        more = ("-pass" if self.password else "") + ("-vmac" if self.vmac else "")
        return "-".join(words) + more + ("-base" if self.xmit_base else "")

    @property
    def interval_s(self) -> float:
        return 1.0 if self.version == 2 else 0.1

    @property
    def vip(self) -> str:
        return "fe80::64" if self.six else "192.0.2.100"

    @property
    def prefix(self) -> int:
        return 64 if self.six else 24

    def down_s(self, priority: int) -> float:
        """Master_Down_Interval: in v2 the skew does not scale with the interval (RFC 3768 §6.1)."""
        return 3 * self.interval_s + (256 - priority) / 256 * (1.0 if self.version == 2 else self.interval_s)


class Node:
    """One router: a daemon of some kind on a host."""

    def __init__(self, kind: str, host: Host, setting: Setting) -> None:
        self.kind, self.host, self.setting = kind, host, setting
        self.peer: Node
        self.daemons: list[Spawned] = []
        self.leaving = False  # asked to stop: it may linger without saying more
        self.dead = False  # without power: what it holds is nobody's concern

    @property
    def mac(self) -> str:
        """What answers for the VIP when this node is master."""
        return self._frr(1, True).virtual_mac() if self.kind == "frr" or self.setting.vmac else self.host.mac

    @property
    def sources(self) -> set[str]:
        """Where its adverts come from."""
        if self.kind == "frr" and self.setting.six:
            return {f"fe80::a{self.host.number:x}"}
        return {self.host.ip4, self.host.ip6, self.host.link_local}

    def _frr(self, priority: int, preempt: bool) -> FrrRouter:
        setting = self.setting
        return FrrRouter(
            vrid=VRID, priority=priority, version=setting.version, interval_ms=round(setting.interval_s * 1000),
            vip=setting.vip, prefix=setting.prefix, preempt=preempt,
        )  # fmt: skip

    def configuration(self, priority: int, preempt: bool) -> str:
        setting, host, other = self.setting, self.host, self.peer.host
        lines = [
            "interface eth0", f"version {setting.version}", f"virtual_router_id {VRID}", f"priority {priority}",
            f"advert_int {setting.interval_s:g}",
        ]  # fmt: skip
        if setting.vmac:
            lines.append("use_vmac")
        if setting.xmit_base:
            lines.append("vmac_xmit_base")
        if not preempt:
            lines.append("nopreempt")
        if setting.unicast:
            mine, theirs = (host.ip6, other.ip6) if setting.six else (host.ip4, other.ip4)
            lines += [f"unicast_src_ip {mine}", f"unicast_peer {{\n        {theirs}\n    }}"]
        if setting.password:
            lines += [f"authentication {{\n        auth_type PASS\n        auth_pass {setting.password}\n    }}"]
        vips = [f"{setting.vip}/{setting.prefix}"]
        if setting.six and not setting.link_local_only:
            vips.append("2001:db8:1::64/64")
        lines.append("virtual_ipaddress {\n        " + "\n        ".join(vips) + "\n    }")
        return f"vrrp_instance {INSTANCE} {{\n    " + "\n    ".join(lines) + "\n}\n"

    def start(self, priority: int, preempt: bool = True) -> None:
        if self.kind == "frr":
            self.daemons = start_frr(self.host, self._frr(priority, preempt))
            return
        start = start_holdfast if self.kind == "holdfast" else start_keepalived
        self.daemons = [start(self.host, self.configuration(priority, preempt))]

    def term(self) -> None:
        """A clean stop is asked for (FRR: of vrrpd, which owns the protocol)."""
        self.leaving = True
        self.daemons[-1].signal(signal.SIGTERM)

    def ended(self) -> int:
        return self.daemons[-1].wait(5)

    def holds(self) -> bool:
        """Whether the VIP is on an interface (FRR keeps it on a macvlan that is down while backup: asked on the wire)."""
        return self.kind != "frr" and not self.dead and self.host.holds(self.setting.vip)

    def die(self) -> None:
        self.host.power_off()
        self.dead = True

    def revive(self) -> None:
        self.host.lab.heal(self.host)
        self.host.power_on()
        self.dead = False


class Network:
    """The wire with both nodes and a client on it."""

    def __init__(self, lab: Lab, ours: str, peer: str, setting: Setting, ours_first: bool = True) -> None:
        """`ours_first`: our address is the lower one, which loses a tie."""
        self.lab, self.setting = lab, setting
        first, second = lab.host("one"), lab.host("two")
        self.client = lab.host("client")
        self.ours = Node(ours, first if ours_first else second, setting)
        self.peer = Node(peer, second if ours_first else first, setting)
        self.ours.peer, self.peer.peer = self.peer, self.ours
        self.wire: Capture = lab.capture(frozenset((112, 0x0806, 58)))

    def adverts(self, node: Node, after_ns: int = 0) -> list[Advert]:
        return [a for a in self.wire.adverts() if a.source in node.sources and a.time_ns > after_ns]

    def speaks(self, node: Node, seconds: float, count: int = 1, after_ns: int = 0) -> None:
        """`count` adverts of `node` come within `seconds`."""
        wait_until(
            lambda: len(self.adverts(node, after_ns)) >= count, seconds, f"{count} adverts of {node.kind}", step=0.01
        )

    def alone(self, node: Node, seconds: float) -> None:
        """Within `seconds` only `node` answers for the VIP, holds it and sends adverts; and it says so itself."""
        other = node.peer
        end = time.monotonic() + seconds
        wait_until(
            lambda: who_answers(self.client, self.setting.vip, 0.02) == {node.mac} and not other.holds(),
            seconds,
            f"{node.kind} on {node.host.name} alone answers for {self.setting.vip}",
        )
        while not self._speaks_alone(node):
            # FRR loses its first IPv6 advert (it cannot bind before its macvlan is up), so that two lead for a moment
            assert "frr" in (node.kind, other.kind), f"{node.kind} and {other.kind} both send adverts"
            assert self.setting.six or self.setting.vmac  # with one MAC for both, who answers does not tell who leads
            assert time.monotonic() < end, "two speak"
        assert node.kind == "frr" or node.holds()
        if self.setting.six and not self.setting.link_local_only:
            assert who_answers(self.client, "2001:db8:1::64", 0.02) == {node.mac}
        self.says(node, "MASTER")
        if other.daemons and not other.leaving and other.daemons[-1].alive():
            self.says(other, "BACKUP")

    def _speaks_alone(self, node: Node) -> bool:
        """Whether `node` sends an advert or two, and its peer none meanwhile."""
        since = time.time_ns()
        self.speaks(node, 3 * self.setting.interval_s + 1, 1 if self.setting.version == 2 else 2, since)
        return not [a for a in self.adverts(node.peer, since) if a.priority]

    def leads(self, node: Node, seconds: float) -> None:
        """Within `seconds` `node` is master, whoever else may be (unicast adverts to a host out of reach never leave)."""
        if node.kind == "frr":
            self.speaks(node, seconds)
        else:
            wait_until(node.holds, seconds, f"{node.kind} on {node.host.name} is master")

    def says(self, node: Node, state: str) -> None:
        """The daemon's own word on its state."""
        if node.kind == "holdfast":
            wait_until(lambda: holdfast_state(node.host) == state, 3, f"status: {state}")
        elif node.kind == "keepalived":
            said = [line for line in node.daemons[-1].text().splitlines() if "Entering" in line]
            assert said, node.daemons[-1].text()
            assert f"({INSTANCE}) Entering {state} STATE" in said[-1]

    def boot_s(self, priority: int) -> float:
        """How long a node may take from exec to being master, on a busy machine."""
        return self.setting.down_s(priority) + 5
