"""`enable_dbus`: the object tree, properties, methods and signals that keepalived's clients know."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

from holdfast.export.dbus_messages import element, instance_path, root_path
from holdfast.lab.daemons import holdfast_command, source_environment
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>
"""
ONE = """
vrrp_instance web-%(vrid)d {
    interface eth0
    virtual_router_id %(vrid)d
    version 3
    advert_int 0.1
    virtual_ipaddress {
        192.0.2.%(vrid)d/24
    }
}
"""
HEAD = "instance east\nglobal_defs {\n    enable_dbus\n}\n"
ROOT = "/org/keepalived/Vrrp1/east"
FIRST = f"{ROOT}/Instance/eth0/51/IPv4"
SECOND = f"{ROOT}/Instance/eth0/52/IPv4"
OWN, INSTANCE = "org.keepalived.Vrrp1.Vrrp", "org.keepalived.Vrrp1.Instance"


def text(*vrids: int) -> str:
    return HEAD + "".join(ONE % {"vrid": vrid} for vrid in vrids)


@pytest.fixture
def host() -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host("host")


def start_bus(host: Host) -> str:
    path = f"{host.directory}/bus"
    host.spawn("dbus-daemon", f"--config-file={host.write('bus.conf', BUS % path)}", "--nofork")
    wait_until(lambda: reaches(path), 5, "the bus listens")
    return f"unix:path={path}"


def reaches(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(path) == 0


def start(host: Host, configuration: str, address: str) -> Spawned:
    environment = {**source_environment(), "DBUS_SYSTEM_BUS_ADDRESS": address}
    command = holdfast_command("run", "-f", host.write("keepalived.conf", configuration), "--run-dir", "/run/holdfast")
    return host.spawn(*command, environment=environment)


class Client:
    """Somebody on the bus: `signals` gathers what it hears, as (path, member, arguments)."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.signals: list[tuple[str, str, list[Any]]] = []
        bus.add_message_handler(self._heard)

    def _heard(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and str(message.interface).startswith("org.keepalived"):
            self.signals.append((str(message.path), str(message.member), list(message.body)))

    @classmethod
    async def connected(cls, address: str) -> "Client":
        one = cls(await MessageBus(bus_address=address, bus_type=BusType.SYSTEM).connect())
        await one.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s",
                       ["type='signal'"], "org.freedesktop.DBus")  # fmt: skip
        return one

    async def call(
        self, path: str, interface: str, member: str, signature: str = "", body: list[Any] | None = None,
        to: str = "org.keepalived.Vrrp1",
    ) -> list[Any]:  # fmt: skip
        answer = await self.bus.call(
            Message(to, path, interface, member, signature=signature, body=body or []),
        )
        assert answer is not None
        assert answer.message_type is MessageType.METHOD_RETURN, answer.body
        return list(answer.body)

    async def read(self, path: str, name: str) -> Any:
        told = await self.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", [INSTANCE, name])
        return told[0].value

    async def hears(self, *wanted: tuple[str, str, list[Any]]) -> None:
        for _ in range(1000):
            if all(one in self.signals for one in wanted):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{wanted} not among {self.signals}")


def test_what_keepalived_s_clients_find(host: Host) -> None:
    address = start_bus(host)

    async def session() -> None:
        client = await Client.connected(address)
        daemon = start(host, text(51, 52), address)
        await client.hears((f"{ROOT}/Vrrp", "VrrpStarted", []))
        await client.hears((FIRST, "VrrpStatusChange", [2]), (SECOND, "VrrpStatusChange", [2]))
        assert await client.read(FIRST, "State") == (2, "Master")
        assert await client.read(FIRST, "Name") == ("web-51",)

        before = len(daemon.text().splitlines())
        await client.call(FIRST, INSTANCE, "SendGarp")
        await client.call(f"{ROOT}/Vrrp", OWN, "PrintStats")
        wait_until(lambda: "D-Bus: SendGarp web-51" in daemon.text(), 5, "the daemon was asked")
        assert len(daemon.text().splitlines()) > before

        host.run("ip", "link", "set", "eth0", "down")
        await client.hears((FIRST, "VrrpStatusChange", [3]))
        assert await client.read(FIRST, "State") == (3, "Fault")
        host.run("ip", "link", "set", "eth0", "up")
        await client.hears((FIRST, "VrrpStatusChange", [1]))

        host.write("keepalived.conf", text(51))
        await client.call(f"{ROOT}/Vrrp", OWN, "ReloadConfig")
        await client.hears((SECOND, "VrrpStatusChange", [97]), (f"{ROOT}/Vrrp", "VrrpReloaded", []))
        names = await client.call(f"{ROOT}/Instance/eth0", "org.freedesktop.DBus.Introspectable", "Introspect")
        assert '"51"' in names[0]
        assert '"52"' not in names[0]

        daemon.signal(signal.SIGTERM)
        await client.hears((FIRST, "VrrpStatusChange", [98]), (f"{ROOT}/Vrrp", "VrrpStopped", []))
        client.bus.disconnect()
        assert daemon.wait(10) == 0

    asyncio.run(session())


def test_without_a_bus_it_is_said_and_elections_go_on(host: Host) -> None:
    daemon = start(host, text(51), f"unix:path={host.directory}/nowhere")
    wait_until(lambda: host.holds("192.0.2.51"), 10, "the instance is master")
    wait_until(lambda: "D-Bus: " in daemon.text(), 10, "it is said")
    assert daemon.text().count("trying again") == 1
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0


def test_paths() -> None:
    assert root_path("", "") == "/org/keepalived/Vrrp1"
    assert root_path("blue", "east-1") == "/org/keepalived/Vrrp1/blue/east_1"
    assert instance_path("/r", "eth0.10", 7, True) == "/r/Instance/eth0_10/7/IPv6"
    assert element("ä-Z9") == "__Z9"
