"""The routers a lab's hosts run: holdfast, keepalived, FRR's vrrpd, ucarp."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from holdfast.base.address import text
from holdfast.lab.hosts import Host, Spawned, wait_until
from holdfast.vrrp.config import InstanceConfig

FRR_DIRECTORY = Path("/usr/lib/frr")


def source_environment() -> dict[str, str]:
    """What makes a Python started on a host find this very holdfast."""
    where = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (where, os.environ.get("PYTHONPATH"))))}


def holdfast_command(*words: str) -> tuple[str, ...]:
    """The command line of this very holdfast."""
    installed = Path(sys.executable).with_name("holdfast")
    if os.access(installed, os.X_OK):
        return str(installed), *words
    return sys.executable, "-c", "from holdfast.cli.main import main; main()", *words


def start_holdfast(host: Host, configuration: str, name: str = "keepalived.conf") -> Spawned:
    """`holdfast run` with this configuration text; its run directory is the default one of the host's own /run."""
    path = host.write(name, configuration)
    return host.spawn(
        *holdfast_command("run", "-f", path, "--run-dir", "/run/holdfast"), environment=source_environment()
    )


def holdfast_status(host: Host) -> Any:
    """The document of `holdfast status --json` on `host`; CalledProcessError when no daemon answers."""
    return msgspec.json.decode(host.run(*holdfast_command("status", "--json", "--run-dir", "/run/holdfast")))


def holdfast_state(host: Host) -> str:
    """The state of the first instance of the daemon on `host`; "" while none answers, or it has not begun."""
    try:
        instances = holdfast_status(host)["instances"]
    except subprocess.CalledProcessError:
        return ""
    return str(instances[0]["state"]) if instances else ""


def start_keepalived(host: Host, configuration: str, name: str = "keepalived.conf") -> Spawned:
    """keepalived in the foreground with this configuration text, logging to its output only."""
    return host.spawn(keepalived(), "-n", "-l", "-D", "-G", "-f", host.write(name, configuration))


def keepalived() -> str:
    """The path of keepalived; FileNotFoundError when it is not installed."""
    found = shutil.which("keepalived", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError("keepalived is not installed: apt-get install keepalived")
    return found


class FrrRouter(msgspec.Struct, frozen=True, kw_only=True):
    """One VRRP router of FRR. FRR holds its addresses on a macvlan with the virtual MAC (RFC 9568 §7.3)."""

    vrid: int
    priority: int
    version: int
    interval_ms: int
    vip: str
    prefix: int
    preempt: bool = True

    def virtual_mac(self) -> str:
        """00:00:5e:00:01:VRID, or 02 for IPv6 in place of 01."""
        return f"00:00:5e:00:{2 if ':' in self.vip else 1:02x}:{self.vrid:02x}"


def start_frr(host: Host, router: FrrRouter) -> list[Spawned]:
    """FRR's zebra and vrrpd on `host`, as the user `frr` that the package made."""
    six = ":" in router.vip
    macvlan = f"vrrp{6 if six else 4}-1"
    host.sysctl("net/ipv4/conf/all/arp_ignore", "1")  # eth0 must not answer for the macvlan's addresses
    if macvlan not in host.links.names().values():
        host.links.make_macvlan(macvlan, "eth0", router.virtual_mac())
    host.sysctl(f"net/ipv6/conf/{macvlan}/accept_dad", "0")
    host.sysctl(f"net/ipv6/conf/{macvlan}/addr_gen_mode", "1")
    host.links.add_address(macvlan, router.vip, router.prefix)
    if six:
        host.links.add_address(macvlan, f"fe80::a{host.number:x}", 64)
    host.links.up(macvlan)
    lines = [
        f"vrrp {router.vrid} version {router.version}",
        f"vrrp {router.vrid} priority {router.priority}",
        f"vrrp {router.vrid} advertisement-interval {router.interval_ms}",
        f"{'' if router.preempt else 'no '}vrrp {router.vrid} preempt",
        f"vrrp {router.vrid} {'ipv6' if six else 'ip'} {router.vip}",
    ]
    vrrp = host.write("vrrpd.conf", "log stdout\ninterface eth0\n" + "".join(f" {line}\n" for line in lines) + "!\n")
    spawned, common = _start_zebra(host)
    spawned.append(host.spawn(str(FRR_DIRECTORY / "vrrpd"), *common, "-f", vrrp, "-i", "/run/frr/vrrpd.pid"))
    return spawned


def start_frr_bfd(host: Host, configuration: str) -> list[Spawned]:
    """FRR's zebra and bfdd on `host`."""
    written = host.write("bfdd.conf", "log stdout\n" + configuration)
    spawned, common = _start_zebra(host)
    spawned.append(host.spawn(str(FRR_DIRECTORY / "bfdd"), *common, "-f", written, "-i", "/run/frr/bfdd.pid"))
    return spawned


def _start_zebra(host: Host) -> tuple[list[Spawned], tuple[str, ...]]:
    """zebra as the user `frr` that the package made, and the options FRR's daemons share."""
    zebra = host.write("zebra.conf", "log stdout\n")
    host.run("sh", "-c", "install -d -o frr -g frr /run/frr")
    common = ("-u", "frr", "-g", "frr", "-P", "0", "-z", "/run/frr/zserv.api", "--vty_socket", "/run/frr")
    spawned = [host.spawn(str(FRR_DIRECTORY / "zebra"), *common, "-f", zebra, "-i", "/run/frr/zebra.pid")]
    wait_until(lambda: host.run("ls", "/run/frr").count("zserv.api") > 0, 5, "zebra listens")
    return spawned, common


class UcarpHost(msgspec.Struct, frozen=True, kw_only=True):
    """One ucarp. Its scripts put the address on the interface and take it off."""

    vhid: int
    password: str
    vip: str
    prefix: int = 24
    advbase: int = 1
    advskew: int = 0
    dead_ratio: int = 3
    preempt: bool = False
    broadcast: bool = False  # in frames to everyone
    interface: str = "eth0"
    source: str = ""  # "": the host's address on the lab's wire


def ucarp_like(config: InstanceConfig, source: str) -> UcarpHost:
    """The ucarp that stands for a `carp_instance`; ValueError when none can."""
    terms = config.carp
    alone = len(config.addresses) == 1 and len(config.addresses[0].address) == 4 and not config.excluded
    if terms is None or not alone or config.unicast:
        raise ValueError("ucarp can play a carp_instance with one virtual IPv4 address and no unicast, nothing else")
    (vip,) = config.addresses
    return UcarpHost(
        vhid=config.vrid,
        password=terms.password.decode("utf-8", "surrogateescape"),
        vip=text(vip.address),
        prefix=vip.prefix_length,
        advbase=terms.advbase,
        advskew=terms.advskew + terms.demotion,
        dead_ratio=terms.dead_ratio,
        preempt=config.preempt,
        broadcast=terms.broadcast,
        interface=config.interface,
        source=source,
    )


def start_ucarp(host: Host, router: UcarpHost) -> Spawned:
    """ucarp in the foreground on `host`, as the package has it; FileNotFoundError when it is not installed."""
    program = shutil.which("ucarp", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise FileNotFoundError("ucarp is not installed: apt-get install ucarp")
    scripts = []
    for verb in ("add", "del"):
        path = host.write(f"vip-{verb}", f'#!/bin/sh\nexec ip addr {verb} "$2/{router.prefix}" dev "$1"\n')
        os.chmod(path, 0o755)
        scripts.append(path)
    command = [
        program, "-i", router.interface, "-s", router.source or host.ip4, "-v", str(router.vhid),
        "-p", router.password, "-a", router.vip,
        "-b", str(router.advbase), "-k", str(router.advskew), "-r", str(router.dead_ratio),
        "-u", scripts[0], "-d", scripts[1], "-z",
    ]  # fmt: skip
    return host.spawn(*command, *(["-P"] if router.preempt else []), *(["-M"] if router.broadcast else []))
