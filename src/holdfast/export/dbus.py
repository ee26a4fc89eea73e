"""The process on the system bus: `org.keepalived.Vrrp1` as keepalived offers it, by dbus-fast.

It knows only what the supervisor tells it, and may die: nothing else depends on it.
"""

import asyncio
import socket
from typing import Annotated

import msgspec
from dbus_fast import BusType, NameFlag, PropertyAccess, RequestNameReply
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusSignature, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from holdfast.export.dbus_messages import STATES, BusCall, BusInstance, BusPlan, BusSaid, BusState, BusStop, ToBus

TRY_AGAIN_S = 10.0
"""The bus may come later than we, and may be restarted."""

MESSAGE_BYTES = 256 * 1024

_Name = Annotated[list[str], DBusSignature("(s)")]
_State = Annotated[list[int | str], DBusSignature("(us)")]


class VrrpInterface(ServiceInterface):
    """The daemon's own object."""

    def __init__(self, link: "Link") -> None:
        super().__init__("org.keepalived.Vrrp1.Vrrp")
        self._link = link

    @dbus_method()
    def PrintData(self) -> None:  # noqa: N802
        """Write the data dump."""
        self._link.say(BusCall("PrintData"))

    @dbus_method()
    def PrintStats(self) -> None:  # noqa: N802
        """Write the statistics."""
        self._link.say(BusCall("PrintStats"))

    @dbus_method()
    def PrintStatsClear(self) -> None:  # noqa: N802
        """Write the statistics, and begin counting afresh."""
        self._link.say(BusCall("PrintStatsClear"))

    @dbus_method()
    def ReloadConfig(self) -> None:  # noqa: N802
        """Read the configuration again."""
        self._link.say(BusCall("ReloadConfig"))

    @dbus_signal()
    def VrrpStarted(self) -> None:  # noqa: N802
        """The daemon is here."""

    @dbus_signal()
    def VrrpReloaded(self) -> None:  # noqa: N802
        """It runs another configuration."""

    @dbus_signal()
    def VrrpStopped(self) -> None:  # noqa: N802
        """It leaves."""


class InstanceInterface(ServiceInterface):
    """The object of a virtual router."""

    def __init__(self, link: "Link", instance: BusInstance) -> None:
        super().__init__("org.keepalived.Vrrp1.Instance")
        self._link = link
        self.instance = instance
        self.state = instance.state

    @dbus_method()
    def SendGarp(self) -> None:  # noqa: N802
        """Tell the neighbours again where the addresses are, if they are here."""
        self._link.say(BusCall("SendGarp", self.instance.name))

    @dbus_signal()
    def VrrpStatusChange(self) -> DBusUInt32:  # noqa: N802
        """The number of the new state."""
        return STATES[self.state]

    @dbus_property(PropertyAccess.READ)
    def Name(self) -> _Name:  # noqa: N802
        """The instance's name."""
        return [self.instance.name]

    @dbus_property(PropertyAccess.READ)
    def State(self) -> _State:  # noqa: N802
        """Number and word of its state."""
        return [STATES[self.state], self.state.capitalize()]


class Link:
    """The supervisor's pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)
        self._decoder = msgspec.msgpack.Decoder(list[ToBus])
        self.told: asyncio.Queue[ToBus] = asyncio.Queue()
        self.closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(end.fileno(), self._readable)

    def say(self, message: BusCall | BusSaid) -> None:
        """Tell the supervisor; a full pair loses it, and the caller may call again."""
        try:
            self._end.send(msgspec.msgpack.encode([message]))
        except OSError:
            pass

    def _readable(self) -> None:
        try:
            packet = self._end.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet:
            for message in self._decoder.decode(packet):
                self.told.put_nowait(message)
        else:
            asyncio.get_running_loop().remove_reader(self._end.fileno())
            self.closed.set()


class Offered:
    """What is on the bus now; also what is to be on it once there is a bus."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._bus: MessageBus | None = None
        self._plan: BusPlan | None = None
        self._vrrp = VrrpInterface(link)
        self._instances: dict[str, InstanceInterface] = {}
        self._gone: dict[str, InstanceInterface] = {}  # deleted, with a signal still to come

    async def come(self, bus: MessageBus) -> None:
        """Put everything on a bus just reached. Raises what dbus-fast does when the name is refused."""
        assert self._plan is not None
        self._bus = bus
        bus.export(f"{self._plan.root}/Vrrp", self._vrrp)
        for one in self._instances.values():
            bus.export(one.instance.path, one)
        answer = await bus.request_name(self._plan.service, NameFlag.DO_NOT_QUEUE)
        if answer not in (RequestNameReply.PRIMARY_OWNER, RequestNameReply.ALREADY_OWNER):
            raise OSError(f"the name {self._plan.service} is taken by another program")
        self._vrrp.VrrpStarted()

    def lost(self) -> None:
        """The bus is gone."""
        self._bus = None

    def plan(self, plan: BusPlan) -> None:
        """Offer what the plan names, and nothing else; what stays keeps its state."""
        self._plan = plan
        wanted = {one.path: one for one in plan.instances}
        for path in [path for path in self._instances if path not in wanted]:
            self._withdraw(self._instances.pop(path))
        for path, instance in wanted.items():
            there = self._instances.get(path)
            if there is not None and there.instance.name == instance.name:
                there.state = instance.state
                continue
            if there is not None:
                self._withdraw(there)
            self._instances[path] = InstanceInterface(self._link, instance)
            if self._bus is not None:
                self._bus.export(path, self._instances[path])
        if plan.reloaded and self._bus is not None:
            self._vrrp.VrrpReloaded()

    def _withdraw(self, one: InstanceInterface) -> None:
        if self._bus is None:
            return
        if one.state not in ("DELETED", "STOP"):
            one.state = "DELETED"
            one.VrrpStatusChange()
        self._bus.unexport(one.instance.path, one)

    def state(self, told: BusState) -> None:
        """Another state: the property, and the signal."""
        for one in self._instances.values():
            if one.instance.name == told.name and one.state != told.state:
                one.state = told.state
                if self._bus is not None:
                    one.VrrpStatusChange()

    def leave(self) -> None:
        """Say goodbye."""
        if self._bus is not None:
            self._vrrp.VrrpStopped()


async def serve(end: socket.socket) -> None:
    """Be on the bus until the supervisor says or is gone."""
    link = Link(end)
    offered = Offered(link)
    closed = asyncio.create_task(link.closed.wait())
    first = await link.told.get()
    assert isinstance(first, BusPlan)
    offered.plan(first)
    reaching = asyncio.create_task(_keep_reached(link, offered))
    while not closed.done():
        getting = asyncio.create_task(link.told.get())
        await asyncio.wait((getting, closed), return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            getting.cancel()
            break
        told = getting.result()
        if isinstance(told, BusPlan):
            offered.plan(told)
        elif isinstance(told, BusState):
            offered.state(told)
        elif isinstance(told, BusStop):
            break
    offered.leave()
    await asyncio.sleep(0.05)  # what was said is on its way before the connection goes
    reaching.cancel()


async def _keep_reached(link: Link, offered: Offered) -> None:
    said = ""
    while True:
        try:
            bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            await offered.come(bus)
        except asyncio.CancelledError:
            raise
        except Exception as failed:  # the bus may refuse in many ways, and none of them may end the daemon
            text = str(failed) or type(failed).__name__
            if text != said:
                link.say(BusSaid(text, False))
            said = text
            offered.lost()
            await asyncio.sleep(TRY_AGAIN_S)
            continue
        said = ""
        link.say(BusSaid("reached", True))
        try:
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            bus.disconnect()
            raise
        except Exception:
            pass  # told below, when it cannot be reached again
        offered.lost()


def run(end: socket.socket) -> None:
    """The whole life of this process."""
    asyncio.run(serve(end))
