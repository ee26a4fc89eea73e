"""Adverts that carry authentication at the edge: absorbed when they say the same, and judged each and every one."""

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from holdfast.edge import adverts as edge
from holdfast.edge.adverts import Adverts, Arrived, Port
from holdfast.edge.outgoing import Outgoing, Together, in_parts, messages_of
from holdfast.engine.messages import AdvertArrived, AdvertRefused, RoutineHeard
from holdfast.kernel.advert_sockets import AH_PROTOCOL, VRRP_PROTOCOL
from holdfast.vrrp.config import AuthMode, InstanceConfig
from holdfast.vrrp.receive import ReceivedPacket, ReceiveRules
from tests.vrrp.test_guard import AH, NOON, Router, signed
from tests.vrrp.test_receive import GROUP_4, OURS, PEER, V3

SLOT, VRID = 1, 51


class Receiver:
    """Adverts with one guarded slot; every accepted packet is watched."""

    def __init__(self, config: InstanceConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Any] = []
        self.wall_ns = NOON
        monkeypatch.setattr(edge, "wall_ns", lambda: self.wall_ns)
        self.adverts = Adverts(lambda *_: None, lambda *_: None, self.take)
        self.port = cast(
            Port, SimpleNamespace(slots={VRID: [SLOT]}, filter=None, family=config.family, interface="eth0")
        )
        self.adverts._rules[SLOT] = (VRID, ReceiveRules.from_config(config))
        self.adverts._port_of[SLOT] = self.port
        self.adverts._guard(SLOT, config)

    def take(self, event: Any, now: int) -> None:
        self.events.append(event)
        if isinstance(event, AdvertArrived):
            self.adverts.watch(SLOT)

    def arrive(self, packet: ReceivedPacket, now: int) -> None:
        look = packet.source + packet.destination + packet.payload
        length = len(packet.payload) + 20
        arrived = Arrived(self.port, packet.payload, packet.source, packet.destination, packet.ttl, look, length)
        arrived.ah, arrived.ip_header = packet.ah, packet.ip_header
        self.adverts._take(arrived, now)

    def told(self) -> list[str]:
        return [event.reason if isinstance(event, AdvertRefused) else type(event).__name__ for event in self.events]


@pytest.mark.parametrize("config", [signed(V3), AH], ids=["hmac", "ah"])
def test_what_says_the_same_is_absorbed_once_it_is_judged(
    config: InstanceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, master = Receiver(config, monkeypatch), Router(config, PEER)
    said = [master.says(NOON + n) for n in range(4)]
    for now, packet in enumerate(said, 1):
        receiver.arrive(packet, 10 * now)
    assert receiver.told() == ["AdvertArrived"]
    assert receiver.adverts.heard(SLOT) == (40, 3)
    replay = "ah_replay" if config is AH else "auth_ext_replay"
    for now, packet in enumerate(said, 1):  # somebody has recorded them
        receiver.arrive(packet, 100 * now)
    assert receiver.told() == ["AdvertArrived"] + [replay] * 4
    assert receiver.adverts.heard(SLOT) == (40, 0), "a replay is no sign of life"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda packet: replace(packet, payload=packet.payload[:-1] + b"?"), "auth_ext_invalid_hmac"),
        (lambda packet: replace(packet, payload=packet.payload[:-28]), "auth_ext_missing"),
        (lambda packet: replace(packet, payload=packet.payload[:-28] + bytes(28)), "auth_ext_malformed"),
        (lambda packet: replace(packet, payload=packet.payload + b"?"), "packet_len_err"),
    ],
)
def test_what_is_not_authentic_is_no_sign_of_life(
    spoil: Callable[[ReceivedPacket], ReceivedPacket], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, master = Receiver(signed(V3), monkeypatch), Router(signed(V3), PEER)
    receiver.arrive(master.says(NOON), 10)
    receiver.arrive(master.says(NOON + 1), 20)
    receiver.arrive(spoil(master.says(NOON + 2)), 30)
    assert receiver.told() == ["AdvertArrived", reason]
    assert receiver.adverts.heard(SLOT) == (20, 1)


def test_a_skew_that_grows_while_watched_is_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, master = Receiver(signed(V3), monkeypatch), Router(signed(V3), PEER)
    receiver.arrive(master.says(NOON), 10)
    receiver.wall_ns = NOON + 4_000_000_000
    receiver.arrive(master.says(NOON + 1), 20)
    receiver.arrive(master.says(NOON + 2), 30)
    assert receiver.told() == ["AdvertArrived", "AdvertArrived"]
    assert receiver.events[1].remarks == (
        "authentication clock skew 4 sec from 192.0.2.12 approaching window 5 sec",
    )
    assert receiver.adverts.heard(SLOT) == (30, 1)


def test_a_master_that_begins_to_sign_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver(signed(V3, mode=AuthMode.PERMISSIVE), monkeypatch)
    master = Router(signed(V3, mode=AuthMode.RECEIVE_ONLY), PEER)
    receiver.arrive(master.says(NOON), 10)
    receiver.arrive(master.says(NOON + 1), 20)
    master.becomes(signed(V3))
    receiver.arrive(master.says(NOON + 2), 30)
    receiver.arrive(master.says(NOON + 3), 40)
    assert [type(event) for event in receiver.events] == [AdvertArrived, RoutineHeard, AdvertArrived]
    assert receiver.adverts.heard(SLOT) == (40, 1)


def test_a_slot_with_ah_hears_who_speaks_without(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver(AH, monkeypatch)
    opened: dict[int, Any] = {}

    def listen(key: tuple[Any, Any, int], *_: object) -> Any:
        return opened.setdefault(key[2], SimpleNamespace(slots={}, key=key, filter=None, family=AH.family))

    closed: list[int] = []
    monkeypatch.setattr(receiver.adverts, "_listen", listen)
    monkeypatch.setattr(receiver.adverts, "_close", lambda port: closed.append(port.key[2]))
    receiver.adverts._port_of.clear()
    receiver.adverts.configure(SLOT, AH, 3, ReceiveRules.from_config(AH), None)
    assert {protocol: port.slots for protocol, port in opened.items()} == {
        AH_PROTOCOL: {VRID: [SLOT]},
        VRRP_PROTOCOL: {VRID: [SLOT]},
    }
    closed.clear()
    receiver.port = opened[VRRP_PROTOCOL]
    receiver.arrive(replace(Router(AH, PEER).says(), ah=b"", ip_header=b""), 10)
    assert receiver.told() == ["auth_failure"]
    receiver.adverts.dismiss(SLOT)
    assert sorted(closed) == [AH_PROTOCOL, VRRP_PROTOCOL]


# ---- out -------------------------------------------------------------------------------------------------------------


def outgoing(router: Router) -> Outgoing:
    messages = messages_of(router.config, OURS, 100, 0, router.guard)
    return Outgoing(1, messages, messages_of(router.config, OURS, 0, 0, router.guard), router.guard)


def test_every_advert_is_new_the_farewell_too() -> None:
    router, listener = Router(signed(V3), OURS), Router(signed(V3), PEER)
    made = outgoing(router)
    for priority in (100, 100, 0, 100):
        packet = bytes(made.to_send(priority).payload(0))
        heard = ReceivedPacket(
            source=OURS, destination=GROUP_4, ttl=packet[8], payload=packet[20:], family=V3.family
        )
        now = int.from_bytes(packet[-24:-20], "big") * 1_000_000_000
        assert packet[22] == priority
        assert listener.hears(heard, now) is None


def test_a_thousand_leave_in_small_parts_and_plain_ones_as_one() -> None:
    guarded = [(number, outgoing(Router(signed(V3)))) for number in range(130)]
    assert [len(part) for part in in_parts([guarded])] == [64, 64, 2]
    messages = messages_of(V3, OURS, 100, 0, None)
    plain = [(number, Outgoing(1, messages, messages, None)) for number in range(130)]
    assert [len(part) for part in in_parts([plain])] == [130]
    assert len(Together(guarded[:2]).guarded) == 2
    assert Together(plain).guarded == []


def test_the_daemon_is_without_openssl_until_it_is_needed() -> None:
    code = (
        "import sys, holdfast.daemon.roles, holdfast.daemon.supervise, holdfast.edge.worker\n"
        "print(sorted(sys.modules.keys() & {'hashlib', '_hashlib', 'hmac', 'holdfast.vrrp.guard'}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
