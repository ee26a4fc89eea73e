"""Absorbing routine adverts without the kernel's help: only what is the same in every respect counts."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from holdfast.edge.adverts import Adverts, Arrived, Port
from holdfast.engine.messages import AdvertArrived, AdvertRefused, RoutineHeard
from holdfast.vrrp.config import Family, UnicastPeer
from holdfast.vrrp.packet import encode_vrrp
from holdfast.vrrp.receive import ReceiveRules
from tests.vrrp.test_receive import OURS, PEER, SAID_3, UNICAST, but

SLOT, VRID = 1, 51


class Receiver:
    """Adverts with one slot on a port that has no filter; every accepted packet is watched."""

    def __init__(self, min_ttl: int | None) -> None:
        self.events: list[Any] = []
        config = but(UNICAST, unicast_peers=(UnicastPeer(address=PEER, min_ttl=min_ttl),))
        self.adverts = Adverts(lambda *_: None, lambda *_: None, self.take)
        port = SimpleNamespace(slots={VRID: [SLOT]}, filter=None, family=Family.IPV4, interface="eth0")
        self.port = cast(Port, port)
        self.adverts._rules[SLOT] = (VRID, ReceiveRules.from_config(config))
        self.adverts._port_of[SLOT] = self.port
        self.message = encode_vrrp(SAID_3, source=PEER, destination=OURS)

    def take(self, event: Any, now: int) -> None:
        self.events.append(event)
        if isinstance(event, AdvertArrived):
            self.adverts.watch(SLOT)

    def arrive(self, ttl: int, now: int, message: bytes | None = None) -> None:
        octets = self.message if message is None else message
        self.adverts._take(Arrived(self.port, octets, PEER, OURS, ttl, PEER + OURS + octets, 20 + len(octets)), now)


def test_a_repeat_is_absorbed_and_its_time_is_kept() -> None:
    receiver = Receiver(None)
    receiver.arrive(255, 10)
    receiver.arrive(255, 20)
    receiver.arrive(255, 30)
    assert [type(event) for event in receiver.events] == [AdvertArrived]
    assert receiver.adverts.last_heard([SLOT]) == {SLOT: 30}
    assert receiver.adverts.heard_since(SLOT) == (30, 2)
    assert receiver.adverts.heard(SLOT) == (30, 2)
    assert receiver.adverts.heard(SLOT) == (30, 0)


def test_a_copy_with_a_ttl_out_of_bounds_is_no_repeat() -> None:
    receiver = Receiver(254)
    receiver.arrive(255, 10)
    receiver.arrive(10, 20)
    assert [type(event) for event in receiver.events] == [AdvertArrived, AdvertRefused]
    assert receiver.adverts.heard(SLOT) == (0, 0)


def test_another_priority_is_no_repeat_and_unwatching_delivers_all() -> None:
    receiver = Receiver(None)
    receiver.arrive(255, 10)
    lower = msgspec.structs.replace(SAID_3, priority=SAID_3.priority - 1)
    other = encode_vrrp(lower, source=PEER, destination=OURS)
    receiver.arrive(255, 20, other)
    receiver.adverts.unwatch(SLOT)
    receiver.arrive(255, 30, other)
    assert [type(event) for event in receiver.events] == [AdvertArrived] * 3


def test_what_was_absorbed_is_told_before_an_advert_that_differs() -> None:
    receiver = Receiver(None)
    for now in (10, 20, 30):
        receiver.arrive(255, now)
    lower = msgspec.structs.replace(SAID_3, priority=SAID_3.priority - 1)
    receiver.arrive(255, 40, encode_vrrp(lower, source=PEER, destination=OURS))
    assert receiver.events[1] == RoutineHeard(SLOT, 30, 2)
    assert [type(event) for event in receiver.events] == [AdvertArrived, RoutineHeard, AdvertArrived]
