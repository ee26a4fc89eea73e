"""Hosts on this machine: each a network of its own, all on one switch, with faults on command.

    with Lab() as lab:
        a, b, client = lab.host("a"), lab.host("b"), lab.host("client")
        daemon = a.spawn("keepalived", "-n", "-f", path)
        lab.cut(a)

The Nth host has the interface eth0 with 192.0.2.N/24, 2001:db8:1::N/64, fe80::N/64 and the MAC 02:00:00:00:00:0N, its
own /run and its own host name. Nothing has a name outside the lab, so leftovers of a dead lab clash with nothing; and
nothing is left over: every process inside is ended by its id, and the kernel does the rest.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from holdfast.kernel.namespaces import mount
from holdfast.lab.capture import BRIDGE, Capture, tap_here
from holdfast.lab.links import DISABLED, FORWARDING, HeldAddress, Links
from holdfast.lab.namespaces import Namespaces, die_with_parent

NETWORK_4 = "192.0.2."
NETWORK_6 = "2001:db8:1::"


class NotInTimeError(Exception):
    """What was awaited did not come to pass; the text says what, and shows the hosts' logs."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str, step: float = 0.004) -> float:
    """Ask `condition` until it holds; the seconds that took. NotInTimeError after `seconds`."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise NotInTimeError(f"not within {seconds:g} s: {what}")
        time.sleep(step)
    return time.monotonic() - begun


class Spawned:
    """A process of a host, leader of its own process group; what it says goes to `log`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, command: tuple[str, ...]) -> None:
        self.process, self.log, self.command = process, log, command
        self.pid = process.pid

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Its exit status (negative: the signal that ended it); NotInTimeError when it goes on."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NotInTimeError(
                f"{' '.join(self.command)} has not ended within {seconds:g} s\n{self.text()}"
            ) from None

    def text(self) -> str:
        """What it said so far, output and errors together."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Cable(msgspec.Struct, frozen=True, kw_only=True):
    """From a port of a switch to an interface of a host; its addresses as (text, prefix length)."""

    port: str
    interface: str
    mac: str
    addresses: tuple[tuple[str, int], ...]
    switch: str = BRIDGE


class Host:
    """One host of a lab."""

    def __init__(self, lab: "Lab", name: str, number: int) -> None:
        self.lab, self.name, self.number = lab, name, number
        self.directory = lab.directory / name
        self.directory.mkdir()
        self.port = f"p{number}"
        self.ip4, self.ip6, self.link_local = f"{NETWORK_4}{number}", f"{NETWORK_6}{number:x}", f"fe80::{number:x}"
        self.mac = f"02:00:00:00:00:{number:02x}"
        self.spawned: list[Spawned] = []
        self.cables: dict[str, Cable] = {}
        self.namespaces = Namespaces(name, self._prepare)
        with self.namespaces.network():
            self.links = Links()
        self.links.up("lo")

    @staticmethod
    def _prepare() -> None:
        mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
        with contextlib.suppress(OSError):  # refused in some containers; only /sys/class/net would show the outside
            mount("sysfs", "/sys", "sysfs")

    def add_interface(self, port: str, name: str = "eth0") -> None:
        """Plug a cable from the switch's `port` into this host's `name`, with this host's addresses."""
        addresses = ((self.ip4, 24), (self.link_local, 64), (self.ip6, 64))
        self.plug(Cable(port=port, interface=name, mac=self.mac, addresses=addresses))

    def plug(self, cable: "Cable") -> None:
        """Plug a cable in: its interface appears, up, with its addresses."""
        name = cable.interface
        self.cables[name] = cable
        self.lab.links.make_veth(cable.port, name, self.namespaces.net)
        self.sysctl(f"net/ipv6/conf/{name}/accept_dad", "0")
        self.sysctl(f"net/ipv6/conf/{name}/addr_gen_mode", "1")
        self.links.set_mac(name, cable.mac)
        self.lab.links.join(cable.port, cable.switch)
        self.lab.links.up(cable.port)
        self.links.up(name)
        for address, prefix in cable.addresses:
            self.links.add_address(name, address, prefix)

    def sysctl(self, path: str, value: str) -> None:
        """Write /proc/sys/PATH as seen in this host's network."""
        with self.inside(), open(f"/proc/sys/{path}", "w") as file:
            file.write(value)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the host's network inside the block: sockets made there stay there."""
        with self.namespaces.network():
            yield

    def join(self) -> None:
        """This process lives on the host from now on; for a child between fork and exec."""
        die_with_parent()
        self.namespaces.enter_all()
        os.chdir(self.directory)

    def spawn(self, *command: str, environment: dict[str, str] | None = None, log: str = "") -> Spawned:
        """Start a process on this host, in its own process group, its output in a log of the lab."""
        path = self.directory / (log or f"{len(self.spawned)}-{Path(command[0]).name}.log")
        with path.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=self.join,
                start_new_session=True,
                env=os.environ | (environment or {}),
            )
        spawned = Spawned(process, path, command)
        self.spawned.append(spawned)
        return spawned

    def run(self, *command: str, seconds: float = 20, check: bool = True) -> str:
        """Run a command on this host to its end; what it printed. CalledProcessError when it fails and `check`."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=self.join,
            timeout=seconds,
            check=check,
            text=True,
        )
        return done.stdout

    def write(self, name: str, text: str, mode: int = 0o644) -> str:
        """Put a file into the host's directory, in place of one of that name (which may be running); its path."""
        path = self.directory / name
        beside = self.directory / f"{name}.new"
        beside.write_text(text)
        beside.chmod(mode)
        beside.replace(path)
        return str(path)

    def addresses(self) -> list[HeldAddress]:
        """Every address this host holds now."""
        return self.links.addresses()

    def holds(self, address: str) -> bool:
        """Whether some interface of this host has `address`."""
        return any(held.address == address for held in self.links.addresses())

    def processes(self) -> list[int]:
        """The ids of everything running on this host."""
        return self.namespaces.processes()

    def stop(self, process: Spawned) -> None:
        """Freeze a process and all its descendants (SIGSTOP), as a hypervisor freezes a guest."""
        self._signal_tree(process, signal.SIGSTOP)

    pause = stop

    def resume(self, process: Spawned) -> None:
        """Let a frozen process tree go on."""
        self._signal_tree(process, signal.SIGCONT)

    @staticmethod
    def _signal_tree(process: Spawned, number: signal.Signals) -> None:
        for pid in (process.pid, *descendants(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_everything(self) -> None:
        """SIGKILL to every process on this host, by id."""
        for _ in range(50):
            inside = self.processes()
            for pid in inside:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for spawned in self.spawned:
                spawned.process.poll()
            if not inside:
                return
            time.sleep(0.01)

    def power_off(self) -> None:
        """The host dies: at one moment its cable is dead and nothing runs on it any more."""
        self.lab.cut(self)
        self.kill_everything()

    def power_on(self) -> None:
        """The host comes back as after a boot: its own addresses only, /run empty, plugged in."""
        for cable in list(self.cables.values()):
            self.links.delete(cable.interface)
        self.run("sh", "-c", "rm -rf /run/*")
        for cable in list(self.cables.values()):
            self.plug(cable)

    def logs(self) -> str:
        """All logs of this host's processes, for a failing test."""
        return "".join(f"--- {self.name}: {' '.join(s.command)}\n{s.text()[-4000:]}\n" for s in self.spawned)

    def close(self) -> None:
        """End everything on this host and the host itself."""
        self.kill_everything()
        self.links.close()
        self.namespaces.close()


class Lab:
    """A switch and its hosts. A context manager: at its end nothing is left, whatever happened."""

    def __init__(self, keep_directory: Path | None = None) -> None:
        """`keep_directory`: where the hosts' files and logs go and stay; a temporary one otherwise."""
        self._temporary = keep_directory is None
        self.directory = keep_directory or Path(tempfile.mkdtemp(prefix="holdfast-lab-"))
        self.directory.chmod(0o755)
        self.hosts: list[Host] = []
        self.namespaces = Namespaces("switch")
        with self.namespaces.network():
            self.links = Links()
            for path in ("all", "default"):
                with contextlib.suppress(OSError), open(f"/proc/sys/net/ipv6/conf/{path}/disable_ipv6", "w") as file:
                    file.write("1")
        self.links.make_bridge(BRIDGE)
        self.links.up(BRIDGE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NotInTimeError | AssertionError):
            error.add_note(self.logs())
        self.close()

    def host(self, name: str) -> Host:
        """A new host, plugged in and up."""
        made = self.bare_host(name)
        made.add_interface(made.port)
        return made

    def bare_host(self, name: str) -> Host:
        """A new host without a cable."""
        made = Host(self, name, len(self.hosts) + 1)
        self.hosts.append(made)
        return made

    def switch(self, number: int) -> str:
        """One more switch, for another segment; its name for `Cable.switch`."""
        name = f"{BRIDGE}{number}"
        self.links.make_bridge(name)
        self.links.up(name)
        return name

    def cut(self, *hosts: Host) -> None:
        """The switch's ports of `hosts` go dead: nothing in, nothing out; the hosts still see a carrier."""
        for port in self._ports(hosts):
            self.links.port(port, state=DISABLED)

    @staticmethod
    def _ports(hosts: Sequence[Host]) -> list[str]:
        return [cable.port for host in hosts for cable in host.cables.values()]

    def deafen(self, host: Host) -> None:
        """A one-way cut: `host` still sends, but hears nothing."""
        for port in self._ports(self.hosts):  # a switch that has learnt where `host` is would still deliver unicast
            self.links.port(port, learning=0)
        for port in self._ports((host,)):
            self.links.port(port, unicast_flood=0, mcast_flood=0, bcast_flood=0)

    def mute(self, host: Host) -> None:
        """A one-way cut: `host` still hears, but nobody hears it."""
        for port in self._ports((host,)):
            self.links.port(port, locked=1, learning=0)

    def split(self, *hosts: Host) -> None:
        """`hosts` no longer hear one another; everybody else still hears them all, and they hear the others."""
        for port in self._ports(hosts):
            self.links.port(port, isolated=1)

    def heal(self, *hosts: Host) -> None:
        """Undo every cut of `hosts` (all when none is named)."""
        for port in self._ports(hosts or self.hosts):
            self.links.port(
                port, state=FORWARDING, learning=1, unicast_flood=1, mcast_flood=1, bcast_flood=1,
                isolated=0, locked=0,
            )  # fmt: skip

    def capture(self, protocols: frozenset[int] | None = None) -> Capture:
        """Start recording every frame that enters the switch, with the kernel's times."""
        with self.namespaces.network():
            tap = tap_here()
        return Capture(tap, incoming_only=True, protocols=protocols)

    def logs(self) -> str:
        """All logs of all hosts."""
        return "".join(host.logs() for host in self.hosts)

    def close(self) -> None:
        """End every process and every namespace of this lab."""
        for host in self.hosts:
            with contextlib.suppress(OSError):
                host.close()
        self.links.close()
        self.namespaces.close()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)


def descendants(pid: int) -> list[int]:
    """The ids of all children of `pid`, and theirs, parents first."""
    found: list[int] = []
    pending = [pid]
    while pending:
        current = pending.pop()
        try:
            tasks = os.listdir(f"/proc/{current}/task")
            children = [
                int(child)
                for task in tasks
                for child in Path(f"/proc/{current}/task/{task}/children").read_text().split()
            ]
        except OSError:
            continue
        found += children
        pending += children
    return found
