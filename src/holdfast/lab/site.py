"""A lab made from configuration files: each file's host with the interfaces and addresses the files tell of.

`sim/cluster.py` works out hosts, interfaces, addresses and segments; here they become real, one switch a segment, with
a client on each. The daemons read the file's own text, with stand-ins for its scripts (`stand_ins.py`).
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from holdfast.base.address import Address, Mac, is_link_local, parse, text
from holdfast.kernel.neighbour_probe import Answer, NeighbourProbe
from holdfast.lab.capture import BRIDGE
from holdfast.lab.daemons import UcarpHost, holdfast_command, keepalived, source_environment, start_ucarp, ucarp_like
from holdfast.lab.hosts import Cable, Host, Lab, Spawned, wait_until
from holdfast.lab.stand_ins import notes_file, verdict_file, with_stand_ins
from holdfast.sim.cluster import Cluster, Node
from holdfast.vrrp.config import InstanceConfig, VirtualAddress

MAKES = ("holdfast", "keepalived", "ucarp")
_ENTERED = re.compile(r"\((\S+)\) (?:Entering|entering) (\w+) STATE")
_SWITCHED = re.compile(r"Switching to state: (\w+)")


class SiteError(Exception):
    """A host can't be made or can't do what is asked; the text says why and what helps."""


class Router:
    """A host of the site, its daemon, and what the daemon says of itself."""

    def __init__(self, node: Node, host: Host, make: str, configuration: str) -> None:
        self.node, self.host, self.make = node, host, make
        self.name = node.name
        self.path = host.write("keepalived.conf", configuration)
        self.daemon: Spawned | None = None
        self.powered = True
        self.paused = False

    @property
    def running(self) -> bool:
        """Whether its daemon runs."""
        return self.powered and self.daemon is not None and self.daemon.alive()

    def start(self) -> None:
        """Start the daemon."""
        if self.make == "ucarp":
            self.daemon = start_ucarp(self.host, self._ucarp())
            return
        if self.make == "holdfast":
            command = holdfast_command("run", "-f", self.path, "--run-dir", "/run/holdfast")
        else:
            command = (keepalived(), "-n", "-l", "-D", "-G", "-f", self.path)
        self.daemon = self.host.spawn(*command, environment=source_environment())

    def states(self) -> dict[str, str]:
        """Each instance's state, in the daemon's own words; empty while none runs."""
        if not self.running:
            return {}
        if self.make == "holdfast":
            return dict(self._state_file())
        assert self.daemon is not None
        if self.make == "ucarp":
            (config,) = self.node.plan.instances
            said = _SWITCHED.findall(self.daemon.text())
            return {config.name: said[-1]} if said else {}
        return dict(_ENTERED.findall(self.daemon.text()))

    def _ucarp(self) -> UcarpHost:
        """What stands for the one instance of its file; SiteError when there are more, or ucarp can't play it."""
        try:
            (config,) = self.node.plan.instances
            on_it = [held.address for held in self.host.addresses() if held.interface == config.interface]
            source = text(config.source) if config.source else next(one for one in on_it if "." in one)
            return ucarp_like(config, source)
        except (ValueError, StopIteration) as wrong:
            why = wrong if "ucarp" in str(wrong) else "one carp_instance on an interface with an IPv4 address is needed"
            raise SiteError(f"ucarp on {self.name}: {why}") from None

    def speaks_from(self) -> set[str]:
        """The link-layer sources of what it sends: ucarp has its own for adverts."""
        own = {cable.mac for cable in self.host.cables.values()}
        if self.make != "ucarp":
            return own
        return own | {f"00:00:5e:00:00:{config.vrid:02x}" for config in self.node.plan.instances}

    def _state_file(self) -> Iterator[tuple[str, str]]:
        """RUN_DIR/state, read through the holder's root: no process is started for it."""
        with contextlib.suppress(OSError):
            root = f"/proc/{self.host.namespaces.holder}/root/run/holdfast/state"
            for line in Path(root).read_text().splitlines():
                words = line.split()
                if len(words) >= 3 and words[0] == "INSTANCE":
                    yield words[1], words[2]

    def instance(self, name: str) -> InstanceConfig:
        """The instance of that name; SiteError."""
        for config in self.node.plan.instances:
            if config.name == name:
                return config
        there = ", ".join(config.name for config in self.node.plan.instances)
        raise SiteError(f"{self.name} has no instance {name!r}: it has {there}")

    def vips(self) -> list[Address]:
        """Every virtual address it may hold."""
        return [vip.address for config in self.node.plan.instances for vip in (*config.addresses, *config.excluded)]

    def holds(self) -> list[Address]:
        """The virtual addresses its kernel has now."""
        if not self.powered:
            return []
        have = {held.address for held in self.host.addresses()}
        return [vip for vip in self.vips() if text(vip) in have]

    def macs(self) -> set[str]:
        """The link-layer addresses it may answer with."""
        own = {cable.mac for cable in self.host.cables.values()}
        virtual = {
            f"00:00:5e:00:{1 if config.family == 4 else 2:02x}:{config.vrid:02x}" for config in self.node.plan.instances
        }
        return own | virtual

    def verdict(self, script: str, ok: bool) -> None:
        """What the stand-in for a check says from now on; SiteError for an unknown one."""
        known = [config.name for config in self.node.plan.scripts]
        if script not in known:
            raise SiteError(f"{self.name} has no script {script!r}: it has {', '.join(known) or 'none'}")
        verdict_file(script, self.host.directory).write_text("0\n" if ok else "1\n")

    def notes(self) -> list[str]:
        """The notifications so far."""
        path = notes_file(self.host.directory)
        return path.read_text().splitlines() if path.exists() else []


class Site:
    """All routers, the switches, and the client."""

    def __init__(
        self, lab: Lab, cluster: Cluster, texts: dict[str, list[str]], makes: dict[str, str], real: bool
    ) -> None:
        """`texts`: each host's lines; `makes`: who plays it; `real`: the files' own scripts are run."""
        self.lab, self.cluster = lab, cluster
        segments = sorted({segment for node in cluster.nodes for segment in node.segments.values()})
        self.switches = {name: BRIDGE if number == 0 else lab.switch(number) for number, name in enumerate(segments)}
        self._ports = 0
        self._slow: set[str] = set()
        self.routers: dict[str, Router] = {}
        for node in cluster.nodes:
            make = makes.get(node.name, "holdfast")
            if make == "keepalived":
                _keepalived_is_there()
            host = lab.bare_host(node.name)
            self._plug(host, node)
            lines = texts[node.name]
            configuration = "\n".join(lines) + "\n" if real else with_stand_ins(lines, host.directory)
            self.routers[node.name] = Router(node, host, make, configuration)
        self.client = lab.bare_host("client")
        self._client_ports: dict[str, str] = {}  # segment → the client's interface
        for number, segment in enumerate(segments):
            self._plug_client(segment, number)

    # ---- making -----------------------------------------------------------------------------------------------------

    def _next_port(self) -> str:
        self._ports += 1
        return f"c{self._ports}"

    def _plug(self, host: Host, node: Node) -> None:
        for interface in node.interfaces:
            segment = node.segments[interface.name]
            addresses = [(text(one), _own_prefix(one)) for one in interface.addresses]
            order = list(self.cluster.nodes).index(node)
            for number, network in enumerate(self._networks_6(segment)):
                addresses.append((text(Address(network[:8] + bytes((0, 0, 0, 0, 0, number, 0, 0xB1 + order)))), 64))
            host.plug(
                Cable(
                    port=self._next_port(),
                    interface=interface.name,
                    mac=interface.mac.hex(":"),
                    addresses=tuple(dict.fromkeys(addresses)),
                    switch=self.switches[segment],
                )
            )

    def _vips(self, segment: str) -> list[VirtualAddress]:
        found: dict[Address, VirtualAddress] = {}
        for node in self.cluster.nodes:
            for config in node.plan.instances:
                for vip in (*config.addresses, *config.excluded):
                    where = vip.interface or config.interface
                    if node.segments.get(where) == segment:
                        found.setdefault(vip.address, vip)
        return list(found.values())

    def _networks_6(self, segment: str) -> list[bytes]:
        """The IPv6 networks (/64) in which there are virtual addresses."""
        six = [vip.address for vip in self._vips(segment) if len(vip.address) == 16]
        return list(dict.fromkeys(bytes(one[:8]) for one in six if not is_link_local(one)))

    def _plug_client(self, segment: str, number: int) -> None:
        name = f"eth{number}"
        used = {one for node in self.cluster.nodes for face in node.interfaces for one in face.addresses}
        used |= {vip.address for vip in self._vips(segment)}
        fours = [
            one
            for node in self.cluster.nodes
            for face in node.interfaces
            if node.segments[face.name] == segment
            for one in face.addresses
            if len(one) == 4
        ]
        network = bytes(fours[0][:3]) if fours else bytes((198, 19, number))
        free = (Address(network + bytes((last,))) for last in range(250, 0, -1))
        own = next(one for one in free if one not in used)
        addresses = [(text(own), 24), (f"fe80::fa{number:02x}", 64)]
        addresses += [
            (text(Address(net[:8] + bytes((0, 0, 0, 0, 0, 0, 0, 0xFA)))), 64) for net in self._networks_6(segment)
        ]
        mac = f"02:00:00:00:ff:{number:02x}"
        self.client.plug(
            Cable(
                port=self._next_port(), interface=name, mac=mac, addresses=tuple(addresses),
                switch=self.switches[segment],
            )
        )  # fmt: skip
        self._client_ports[segment] = name
        for vip in self._vips(segment):
            if len(vip.address) == 4 and vip.address[:3] != own[:3]:
                self.client.run("ip", "route", "replace", f"{text(vip.address)}/32", "dev", name)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def router(self, name: str) -> Router:
        """The router of that name; SiteError."""
        if name not in self.routers:
            raise SiteError(f"there is no host {name!r}: there are {', '.join(self.routers)}")
        return self.routers[name]

    def vips(self) -> list[Address]:
        """Every virtual address of the site."""
        return list(dict.fromkeys(vip for router in self.routers.values() for vip in router.vips()))

    def segment_of(self, vip: Address) -> str:
        """Where an address is."""
        return next((name for name in self.switches if any(one.address == vip for one in self._vips(name))), "")

    def client_interface(self, vip: Address) -> str:
        """The client's interface from which an address is reached."""
        return self._client_ports[self.segment_of(vip)]

    def owners(self) -> dict[Address, list[str]]:
        """Who has each address, by the hosts' kernels."""
        owners: dict[Address, list[str]] = {vip: [] for vip in self.vips()}
        for router in self.routers.values():
            for vip in router.holds():
                owners[vip].append(router.name)
        return owners

    def answers(self, vip: Address, seconds: float = 0.06) -> set[str]:
        """The link-layer addresses that answer the client for an address."""
        name = self.client_interface(vip)
        cable = self.client.cables[name]
        own4 = parse(cable.addresses[0][0])
        own6 = parse(cable.addresses[1][0])
        with self.client.inside():
            probe = NeighbourProbe(name, Mac(bytes.fromhex(cable.mac.replace(":", ""))))
        try:
            probe.ask([vip], own4, own6)
            heard = probe.hear(seconds)
        finally:
            probe.close()
        return {one.mac.hex(":") for one in heard if isinstance(one, Answer) and one.address == vip}

    # ---- faults -----------------------------------------------------------------------------------------------------

    def crash(self, router: Router) -> None:
        """Power off: at one moment its cables are dead and nothing runs on it."""
        router.host.power_off()
        router.powered = False
        router.paused = False

    def start(self, router: Router) -> None:
        """Start its daemon, after a boot if it was off; does nothing when it runs."""
        if router.running:
            return
        if not router.powered:
            router.host.power_on()
            router.powered = True
        router.start()

    def stop(self, router: Router) -> None:
        """SIGTERM, and wait for its end."""
        if router.daemon is not None and router.running:
            router.daemon.signal(signal.SIGTERM)
            router.daemon.wait(15)

    def kill(self, router: Router) -> None:
        """SIGKILL to the daemon and all its processes: its addresses stay behind."""
        router.host.kill_everything()

    def pause(self, router: Router, paused: bool) -> None:
        """Freeze or thaw the daemon, as a hypervisor does with a guest."""
        if router.daemon is not None:
            (router.host.stop if paused else router.host.resume)(router.daemon)
            router.paused = paused

    def link(self, router: Router, interface: str, up: bool) -> None:
        """Take one of its interfaces up or down."""
        if interface not in router.host.cables:
            there = ", ".join(router.host.cables)
            raise SiteError(f"{router.name} has no interface {interface!r}: it has {there}")
        (router.host.links.up if up else router.host.links.down)(interface)

    def cut(self, source: Router, target: Router) -> None:
        """Nothing that `source` sends reaches `target` any more."""
        macs = source.speaks_from()
        for interface in target.host.cables:
            for mac in sorted(macs):
                self._rule(target, interface, f"ether saddr {mac} drop")

    def lose(self, router: Router, per_cent: float) -> None:
        """So much of what is sent to and by the host is lost, at random."""
        share = f"numgen random mod 1000 < {round(per_cent * 10)} " if per_cent < 100 else ""
        for interface in router.host.cables:
            self._rule(router, interface, f"{share}drop")
        for other in self.routers.values():
            if other is not router:
                for cable in router.host.cables.values():
                    for interface in other.host.cables:
                        self._rule(other, interface, f"ether saddr {cable.mac} {share}drop")

    def _rule(self, router: Router, interface: str, rule: str) -> None:
        """A rule at the very entry of an interface, before ARP and IP see the frame."""
        script = (
            f"add table netdev lab; add chain netdev lab {interface} "
            f'{{ type filter hook ingress device "{interface}" priority 0; }}; add rule netdev lab {interface} {rule}'
        )
        self._tool(router, "nft", script)

    def delay(self, router: Router, milliseconds: float) -> None:
        """What the host sends is delayed."""
        for interface in router.host.cables:
            self._tool(
                router, "tc", "qdisc", "replace", "dev", interface, "root", "netem", "delay", f"{milliseconds:g}ms"
            )
        self._slow.add(router.name)

    @staticmethod
    def _tool(router: Router, *words: str) -> None:
        try:
            router.host.run(*words)
        except FileNotFoundError:
            raise SiteError(f"this needs the program `{words[0]}`: install it") from None
        except subprocess.CalledProcessError as failed:
            said = (failed.stderr or "").strip().splitlines()
            raise SiteError(f"{words[0]}: {said[0] if said else failed.returncode}: can this kernel do it?") from None

    def heal(self) -> None:
        """Undo cuts, losses and delays, and take every interface up."""
        for router in self.routers.values():
            if not router.powered:
                continue
            self.lab.heal(router.host)
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                router.host.run("nft", "delete table netdev lab")
            if router.name in self._slow:
                for interface in router.host.cables:
                    router.host.run("tc", "qdisc", "delete", "dev", interface, "root", check=False)
            for interface in router.host.cables:
                router.host.links.up(interface)
        self._slow.clear()

    def isolate(self, router: Router) -> None:
        """Its cables are dead; it goes on."""
        self.lab.cut(router.host)

    def command(self, router: Router, *words: str) -> str:
        """Run a `holdfast` command on a host whose daemon is holdfast; what it printed."""
        if router.make != "holdfast":
            raise SiteError(f"{router.name} runs {router.make}: it has no such command")
        environment = ("env", *(f"{name}={value}" for name, value in source_environment().items()))
        try:
            return router.host.run(*environment, *holdfast_command(*words), "--run-dir", "/run/holdfast", seconds=60)
        except subprocess.CalledProcessError as failed:
            raise SiteError(
                (failed.stderr or failed.stdout or "").strip() or f"ended with {failed.returncode}"
            ) from None

    def stop_all(self) -> None:
        """Every daemon leaves."""
        for router in self.routers.values():
            if router.running and router.daemon is not None:
                if router.paused:
                    self.pause(router, False)
                router.daemon.signal(signal.SIGTERM)
        for router in self.routers.values():
            if router.daemon is not None and router.powered:
                daemon = router.daemon
                wait_until(lambda daemon=daemon: not daemon.alive(), 15, f"{router.name} stops")  # type: ignore[misc]


def _own_prefix(address: Address) -> int:
    return 24 if len(address) == 4 else 64


def _keepalived_is_there() -> None:
    try:
        keepalived()
    except FileNotFoundError as missing:
        raise SiteError(str(missing)) from None


def shell(router: Router) -> None:
    """An interactive shell on the host."""
    program = os.environ.get("SHELL", "/bin/sh")
    subprocess.run([program], preexec_fn=router.host.join, check=False)
