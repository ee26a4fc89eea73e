"""`enable_dbus`: a process of its own speaks to the system bus, and dies alone."""

import os
import socket
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config.plan import Settings
from holdfast.daemon.roles import fork_role
from holdfast.edge.channel import Channel
from holdfast.engine.messages import LogLine, StateNotice
from holdfast.export.dbus_messages import (
    BusCall,
    BusInstance,
    BusPlan,
    BusSaid,
    BusState,
    BusStop,
    FromBus,
    instance_path,
    root_path,
)
from holdfast.kernel import process
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

AGAIN: Nanoseconds = 10 * SECOND
"""After this long a process that ended is started again."""

CURE = "install holdfast[dbus], and the policy packaging/dbus/org.keepalived.Vrrp1.conf in /etc/dbus-1/system.d"


class OnBus(msgspec.Struct, frozen=True):
    """The part of an instance that its object needs."""

    name: str
    vrid: int
    family: int
    interface: str = ""


class BusPart(msgspec.Struct, frozen=True):
    """The part of a plan that the bus needs."""

    settings: Settings = Settings()
    instances: tuple[OnBus, ...] = ()


class Bus:
    """The process on the bus, as the supervisor sees it."""

    def __init__(self, supervisor: "Supervisor", states: dict[str, str]) -> None:
        """`states`: of the instances, as told so far."""
        self._here = supervisor
        self._plan: BusPlan | None = None
        self._channel: Channel | None = None
        self._pid = 0
        self._pidfd = -1
        self._states = states
        self._said = ""

    def load(self, octets: bytes, reloaded: bool = False) -> None:
        """Offer what a plan asks for, from now on."""
        part = msgspec.msgpack.decode(octets, type=BusPart)
        if not part.settings.dbus_service:
            self._plan = None
            self.stop()
            return
        settings = part.settings
        absent = settings.dbus_no_interface or "none"
        root = root_path(self._here.options.net_namespace, settings.instance_name)
        self._plan = BusPlan(
            service=settings.dbus_service,
            root=root,
            instances=tuple(
                BusInstance(
                    name=one.name,
                    path=instance_path(root, one.interface or absent, one.vrid, one.family == 6),
                )
                for one in part.instances
            ),
        )
        if self._channel is None:
            self._start(0)
        else:
            self._channel.send(self._current(reloaded))

    def _current(self, reloaded: bool = False) -> BusPlan:
        assert self._plan is not None
        known = tuple(
            msgspec.structs.replace(one, state=self._states.get(one.name, "INIT")) for one in self._plan.instances
        )
        return msgspec.structs.replace(self._plan, instances=known, reloaded=reloaded)

    def state(self, notice: StateNotice) -> None:
        """An instance has another state."""
        if notice.kind != "INSTANCE":
            return
        self._states[notice.name] = notice.state
        if self._channel is not None:
            self._channel.send(BusState(notice.name, notice.state))

    def stop(self) -> None:
        """Say goodbye to who listens; the process ends by itself."""
        if self._channel is not None:
            self._channel.send(BusStop())

    def _start(self, now: Nanoseconds) -> None:
        if self._plan is None or self._channel is not None or self._here.stopping_at is not None:
            return

        def live(end: socket.socket, parent: int) -> int:
            process.set_name("keepalived_dbus" if self._here.options.compatible else "holdfast_dbus")
            if not process.die_with_parent(parent):
                return 1
            try:
                from holdfast.export.dbus import run
            except ImportError as missing:
                end.send(msgspec.msgpack.encode([BusSaid(f"{missing.name} is not installed", False)]))
                return 1
            run(end)
            return 0

        try:
            self._pid, end = fork_role("dbus", live)
        except OSError as refused:
            self._here.log.say(Level.ERROR, f"D-Bus: no process can be started: {refused.strerror}")
            self._here.after(AGAIN, self._start)
            return
        self._pidfd = os.pidfd_open(self._pid)
        self._channel = Channel(end, FromBus | LogLine, self._here.loop, self._told, lambda: None)
        self._here.loop.watch(self._pidfd, self._ended)
        self._channel.send(self._current())

    def _ended(self) -> None:
        assert self._channel is not None
        self._here.loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        os.waitpid(self._pid, 0)
        self._channel.drain()
        self._channel.close()
        self._channel = None
        if self._plan is not None and self._here.stopping_at is None:
            self._here.after(AGAIN, self._start)

    def _told(self, message: Any, fd: int | None) -> None:
        here = self._here
        if isinstance(message, BusSaid):
            level = Level.INFO if message.reached else Level.WARNING
            cure = "" if message.reached else f": trying again; {CURE}"
            text = f"D-Bus: {message.text}{cure}"
            if text != self._said:
                here.log.say(level, text)
            self._said = text
        elif isinstance(message, LogLine):
            here.log.line(message, self._pid)
        elif isinstance(message, BusCall):
            here.log.say(Level.INFO, f"D-Bus: {message.method} {message.instance}".rstrip())
            if message.method == "ReloadConfig":
                here.reload("D-Bus ReloadConfig")
            elif message.method == "SendGarp":
                here.reannounce(message.instance)
            elif message.method in _DUMPS:
                here.dump(*_DUMPS[message.method], cause="D-Bus")


_DUMPS = {"PrintData": ("data", False), "PrintStats": ("stats", False), "PrintStatsClear": ("stats", True)}
