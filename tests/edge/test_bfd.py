"""BFD over real sockets on loopback: what is injected, whether it counts, and which counter says so."""

import socket
import time
from collections.abc import Iterator

import msgspec
import pytest

from holdfast.base.address import parse
from holdfast.bfd.config import ANY_TTL, SessionConfig
from holdfast.bfd.packet import BfdState, ControlPacket, decode_bfd, encode_bfd
from holdfast.edge.bfd import BfdSessions
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.loop import Loop
from holdfast.engine.messages import TrackerReported
from tests.kernel.namespaces import Namespace

OURS, THEIRS, OTHER = "127.9.0.1", "127.9.0.2", "127.9.0.3"
PEER = SessionConfig(name="peer", neighbor=parse(THEIRS), source=parse(OURS), multiplier=3, passive=True)
DOWN = ControlPacket(
    state=BfdState.DOWN, detect_mult=3, my_discriminator=7, your_discriminator=0, desired_min_tx_us=1_000_000,
    required_min_rx_us=1_000_000,
)  # fmt: skip


class Wire:
    """Our sessions, and a neighbour that is only a socket."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.told: list[TrackerReported] = []
        self.lines: list[str] = []
        self.sessions = BfdSessions(self.loop, self.told.append, lambda level, line: self.lines.append(line))
        self.neighbor = self.listen(THEIRS)

    @staticmethod
    def listen(address: str, port: int = 3784) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.bind((address, port))
        return opened

    def inject(self, octets: bytes, ttl: int = 255, source: str = THEIRS, port: int = 3784, to: str = OURS) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sender.bind((source, 0))
            sender.sendto(octets, (to, port))
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        """Let the loop run until nothing is to be done at once, or for so long."""
        end = time.monotonic() + seconds
        while True:
            self.loop.wait(monotonic_ns() + 2_000_000)
            now = monotonic_ns()
            if self.sessions.due_at is not None and self.sessions.due_at <= now:
                self.sessions.on_due(now)
            elif time.monotonic() >= end:
                return

    def said(self) -> list[ControlPacket]:
        """What the neighbour was told since it was asked last."""
        heard = []
        while True:
            try:
                heard.append(decode_bfd(self.neighbor.recv(100)))
            except BlockingIOError:
                return heard

    def state(self) -> BfdState:
        return self.sessions.slots["peer"].session.state

    def counters(self) -> dict[str, int]:
        return {name: n for name, n in self.sessions.slots["peer"].counters.items() if name not in ("sent", "received")}


@pytest.fixture
def wire() -> Iterator[Wire]:
    space = Namespace()  # BFD's ports belong to one process of a network at a time
    with space.entered():
        made = Wire()
        made.sessions.load([PEER])
        yield made
        made.sessions.close()
        made.neighbor.close()
        made.loop.close()
    space.close()


@pytest.mark.parametrize(
    ("changes", "ttl", "state", "counted"),
    [  # keepalived's verdict on each
        ({}, 255, BfdState.INIT, ""),
        ({}, 254, BfdState.DOWN, "ttl_errors"),
        ({}, 1, BfdState.DOWN, "ttl_errors"),
        ({"version": 0}, 255, BfdState.DOWN, "version_errors"),
        ({"version": 2}, 255, BfdState.DOWN, "version_errors"),
        ({"detect_mult": 0}, 255, BfdState.DOWN, "multiplier_errors"),
        ({"multipoint": True}, 255, BfdState.DOWN, "multipoint_set"),
        ({"my_discriminator": 0}, 255, BfdState.DOWN, "discriminator_errors"),
        ({"auth_present": True, "length": 26, "authentication": b"\1\2"}, 255, BfdState.DOWN, "authentication_set"),
        ({"length": 23}, 255, BfdState.DOWN, "length_errors"),
        ({"length": 26, "authentication": b"\0\0"}, 255, BfdState.INIT, ""),
        ({"authentication": b"\0\0\0\0"}, 255, BfdState.DOWN, "length_errors"),
        ({"diag": 9}, 255, BfdState.DOWN, "diagnostic_errors"),
        ({"poll": True, "final": True}, 255, BfdState.DOWN, "poll_and_final"),
        ({"state": BfdState.INIT}, 255, BfdState.DOWN, "discriminator_errors"),
        ({"state": BfdState.UP}, 255, BfdState.DOWN, "discriminator_errors"),
        ({"state": BfdState.ADMIN_DOWN}, 255, BfdState.DOWN, ""),
        ({"your_discriminator": 0x77777777}, 255, BfdState.DOWN, "unknown_session"),
        ({"poll": True}, 255, BfdState.INIT, ""),
        ({"demand": True}, 255, BfdState.INIT, ""),
        ({"control_plane_independent": True}, 255, BfdState.INIT, ""),
    ],
)
def test_injected(wire: Wire, changes: dict[str, object], ttl: int, state: BfdState, counted: str) -> None:
    wire.inject(encode_bfd(msgspec.structs.replace(DOWN, **changes)), ttl)
    assert wire.state() is state
    mine = {} if counted == "unknown_session" else {counted: 1} if counted else {}
    assert wire.counters() == mine
    assert wire.sessions.refused == ({counted: 1} if counted else {})
    if state is BfdState.INIT:
        assert [one.final for one in wire.said()].count(True) == bool(changes.get("poll"))


@pytest.mark.parametrize("octets", [b"", b"\x20", bytes(23), b"\xff" * 24, bytes(600)])
def test_no_packets_at_all(wire: Wire, octets: bytes) -> None:
    wire.inject(octets)
    assert wire.state() is BfdState.DOWN
    assert sum(wire.counters().values()) == 1


def test_other_senders_and_ports_are_nobody(wire: Wire) -> None:
    wire.inject(encode_bfd(DOWN), source=OTHER)
    wire.inject(encode_bfd(DOWN), port=4784)
    assert wire.state() is BfdState.DOWN
    assert wire.counters() == {}
    assert wire.sessions.refused == {"unknown_session": 1}


def test_what_is_for_another_port_or_address_of_ours_is_nobodys(wire: Wire) -> None:
    """With a session that names no source_ip, one socket hears every address."""
    anywhere = SessionConfig(name="any", neighbor=parse(OTHER), passive=True)
    hops = SessionConfig(name="hops", neighbor=parse(OTHER), source=parse(OURS), multihop=True, passive=True)
    wire.neighbor.close()  # it has the port on an address of this host
    wire.sessions.load([PEER, anywhere, hops])
    mine = wire.sessions.slots["peer"].session.discriminator
    wire.inject(encode_bfd(msgspec.structs.replace(DOWN, your_discriminator=mine)), port=4784)
    assert wire.sessions.refused == {"unknown_session": 1}
    wire.inject(encode_bfd(DOWN), to="127.9.0.4")
    assert wire.sessions.refused == {"unknown_session": 2}
    assert wire.state() is BfdState.DOWN
    wire.inject(encode_bfd(DOWN), source=OTHER, to="127.9.0.4")
    wire.inject(encode_bfd(DOWN), source=OTHER, port=4784)
    assert {name: slot.session.state for name, slot in wire.sessions.slots.items()} == {
        "peer": BfdState.DOWN, "any": BfdState.INIT, "hops": BfdState.INIT,
    }  # fmt: skip
    wire.inject(encode_bfd(DOWN))
    assert wire.state() is BfdState.INIT


@pytest.mark.alone  # it keeps to a detection time of 60 ms
def test_an_election_and_its_end(wire: Wire) -> None:
    assert [(one.name, one.value) for one in wire.told] == [("peer", False)]
    wire.inject(encode_bfd(DOWN))
    (init,) = wire.said()
    assert (init.state, init.your_discriminator, init.detect_mult) == (BfdState.INIT, 7, 3)
    up = msgspec.structs.replace(
        DOWN, state=BfdState.UP, your_discriminator=init.my_discriminator, desired_min_tx_us=20_000,
        required_min_rx_us=20_000,
    )  # fmt: skip
    wire.inject(encode_bfd(up))
    assert wire.told[-1] == TrackerReported("bfd", "peer", True, "session up")
    assert wire.said()[-1].poll
    wire.inject(encode_bfd(msgspec.structs.replace(up, final=True)))
    for _ in range(6):
        wire.inject(encode_bfd(up))
        wire.turn(0.02)
    assert len(wire.told) == 2
    assert {one.state for one in wire.said()} == {BfdState.UP}
    wire.inject(encode_bfd(up), ttl=64)  # the same octets from far away are not the same packet
    assert wire.counters() == {"ttl_errors": 1}
    wire.turn(0.1)
    assert wire.told[-1] == TrackerReported("bfd", "peer", False, "nothing heard for 60 ms")
    assert {one.state for one in wire.said()} == {BfdState.UP}  # a passive session does not speak first, again


def test_what_waits_unread_counts_before_the_time_is_up(wire: Wire) -> None:
    """Our loop stands still for longer than the detection time; the neighbour spoke meanwhile."""
    wire.inject(encode_bfd(DOWN))
    (init,) = wire.said()
    up = msgspec.structs.replace(
        DOWN, state=BfdState.UP, your_discriminator=init.my_discriminator, desired_min_tx_us=10_000,
        required_min_rx_us=1_000_000,
    )  # fmt: skip
    wire.inject(encode_bfd(up))
    time.sleep(0.04)  # the stall that is meant
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        sender.bind((THEIRS, 0))
        sender.sendto(encode_bfd(up), (OURS, 3784))
    wire.sessions.on_due(monotonic_ns())
    assert wire.state() is BfdState.UP
    time.sleep(0.04)
    wire.sessions.on_due(monotonic_ns())
    assert wire.state() is BfdState.DOWN


def test_a_port_that_is_taken_is_told_and_tried_again(wire: Wire) -> None:
    taken = wire.listen(OTHER)
    second = SessionConfig(name="second", neighbor=parse(THEIRS), source=parse(OTHER), least_ttl=ANY_TTL)
    wire.sessions.load([PEER, second])
    (line,) = wire.lines
    assert line.startswith("BFD session second: cannot listen for BFD on 127.9.0.3 port 3784: address already in use; ")
    slot = wire.sessions.slots["second"]
    assert slot.trouble
    taken.close()
    slot.retry_at = monotonic_ns()
    wire.sessions.on_due(monotonic_ns())
    assert (slot.trouble, wire.lines[1:]) == ("", ["BFD session second: its sockets are open now"])


def test_switched_off() -> None:
    loop, told = Loop(), list[TrackerReported]()
    sessions = BfdSessions(loop, told.append, lambda level, line: None)
    sessions.off = True
    sessions.load([PEER])
    assert [one.value for one in told] == [False]
    (view,) = sessions.views(str)
    assert (view.up, view.trouble) == (False, "BFD is switched off (-B)")
    loop.close()
