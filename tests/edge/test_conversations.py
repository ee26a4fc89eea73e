"""The driver of conversations: refused, silent, reset, bound, many at once; on the real kernel."""

import gc
import os
import resource
import socket
import struct
import time

import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.check.config import Target
from holdfast.check.conversation import NOTHING, Outcome, Said
from holdfast.check.tcp import TCP
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.conversations import Conversations
from holdfast.edge.loop import Loop
from tests.check.asking import converse, datagrams, listening, target, unused_port


class Listener:
    """Says `first`, then keeps everything it hears until `wanted` octets or the end came."""

    def __init__(self, first: bytes = b"", wanted: int = 1 << 60) -> None:
        self.first = first
        self.wanted = wanted
        self.heard = 0
        self.pieces = 0

    def begin(self) -> Said:
        return self.first

    def received(self, octets: bytes) -> Said:
        self.heard += len(octets)
        self.pieces += 1
        return Outcome(True, f"{self.heard}") if self.heard >= self.wanted else NOTHING

    def closed(self) -> Said:
        return Outcome(True, f"{self.heard} and the end")

    def expired(self, span: str) -> Outcome:
        return Outcome(False, f"{self.heard} in {span}")


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_tcp_accepted_and_refused(address: str) -> None:
    with listening(lambda peer: None, address) as port:
        assert converse("tcp", target(port, address), TCP) == Outcome(True, "connection accepted")
    refused = converse("tcp", target(port, address), TCP)
    shown = f"[::1]:{port}" if ":" in address else f"127.0.0.1:{port}"
    assert refused == Outcome(False, f"{shown}: connection refused")


def test_nobody_accepts_in_time() -> None:
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = server.getsockname()[1]
    waiting = []
    for _ in range(4):  # the queue of connections not yet accepted is full after these
        peer = socket.socket()
        peer.setblocking(False)
        peer.connect_ex(("127.0.0.1", port))
        waiting.append(peer)
    begun = time.monotonic()
    outcome = converse("tcp", target(port, timeout_ns=200 * MILLISECOND), TCP)
    assert outcome == Outcome(False, "connection not accepted within 200 ms")
    assert 0.2 <= time.monotonic() - begun < 2
    for peer in (*waiting, server):
        peer.close()


def test_what_is_said_and_heard_arrives_whole_however_large() -> None:
    def echo(peer: socket.socket) -> None:
        left = 9_000_000
        while left:
            octets = peer.recv(65536)
            left -= len(octets)
            peer.sendall(octets)

    with listening(echo) as port:
        listener = Listener(bytes(9_000_000))
        assert converse("tcp", target(port), listener) == Outcome(True, "9000000 and the end")


def test_octets_and_the_end_in_one_are_both_heard() -> None:
    with listening(lambda peer: peer.sendall(b"x" * 100)) as port:
        assert converse("tcp", target(port), Listener()) == Outcome(True, "100 and the end")


def test_a_reset_is_named() -> None:
    def behave(peer: socket.socket) -> None:
        peer.recv(10)
        reset(peer)

    with listening(behave) as port:
        assert converse("tcp", target(port), Listener(b"hello")) == Outcome(
            False, f"127.0.0.1:{port}: connection reset"
        )


def test_octets_that_drip_do_not_move_the_deadline() -> None:
    def drip(peer: socket.socket) -> None:
        while True:
            peer.sendall(b"x")
            time.sleep(0.03)

    with listening(drip) as port:
        begun = time.monotonic()
        outcome = converse("tcp", target(port, timeout_ns=300 * MILLISECOND), Listener())
        assert not outcome.ok
        assert 0.3 <= time.monotonic() - begun < 2


def test_udp_refused_and_answered() -> None:
    nobody = unused_port(socket.SOCK_DGRAM)
    assert converse("udp", target(nobody), Listener(b"x")) == Outcome(
        False, f"127.0.0.1:{nobody}: answered by ICMP: connection refused"
    )
    with datagrams(lambda octets: [octets * 2]) as port:
        assert converse("udp", target(port), Listener(b"abc", wanted=6)) == Outcome(True, "6")


def test_source_address_and_port_are_kept() -> None:
    def behave(peer: socket.socket) -> None:
        peer.sendall("{}:{} ".format(*peer.getpeername()).encode())

    class Told(Listener):
        seen = b""

        def received(self, octets: bytes) -> Said:
            self.seen += octets
            return Outcome(True, self.seen.decode().strip()) if b" " in self.seen else NOTHING

    free = unused_port()
    with listening(behave) as port:
        outcome = converse("tcp", target(port, bind_address=parse("127.0.0.9")), Told())
        assert outcome.detail.startswith("127.0.0.9:")
        for _ in range(2):  # and again: the first one's port doesn't linger
            assert converse("tcp", target(port, bind_port=free), Told()).detail == f"127.0.0.1:{free}"

    def patient(peer: socket.socket) -> None:
        peer.recv(1)

    with listening(patient) as port:
        for _ in range(2):  # and where we close first
            assert converse("tcp", target(port, bind_port=free), TCP).ok


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_device_and_mark(transport: str) -> None:
    whom = target(unused_port(), bind_interface="lo", fwmark=7, timeout_ns=SECOND)
    outcome = converse(transport, whom, Listener(b"x"))
    assert "connection refused" in outcome.detail


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"bind_interface": "nowhere0"}, "cannot bind to the device: no such device"),
        ({"bind_address": parse("192.0.2.77")}, "cannot bind: address not available"),
    ],
)
def test_a_place_that_is_not_there_is_a_failure(more: dict[str, object], said: str) -> None:
    outcome = converse("tcp", target(9, **more), TCP)  # type: ignore[arg-type]
    assert not outcome.ok
    assert outcome.made
    assert said in outcome.detail


def test_no_descriptor_left_says_nothing_of_the_server() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    loop, conversations = Loop(), Conversations()
    told: list[Outcome] = []
    try:
        first_free = os.dup(0)
        os.close(first_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, hard))
        conversations.start("tcp", target(9), TCP, lambda outcome, now: told.append(outcome), monotonic_ns())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told == []
    conversations.on_due(monotonic_ns())
    assert [outcome.made for outcome in told] == [False]
    assert "too many open files; raise the limit of open files" in told[0].detail
    conversations.close()
    loop.close()


def test_hundreds_at_once_and_no_descriptor_is_left() -> None:
    loop, conversations = Loop(), Conversations()
    gc.collect()  # what other tests left behind
    before = len(os.listdir("/proc/self/fd"))
    server = socket.create_server(("127.0.0.1", 0), backlog=2048)
    whom = target(server.getsockname()[1])
    told: list[Outcome] = []
    loop.watch(conversations.fileno(), lambda: conversations.on_readable(monotonic_ns()))
    for _ in range(400):
        conversations.start("tcp", whom, TCP, lambda outcome, now: told.append(outcome), monotonic_ns())
    until = monotonic_ns() + 10 * SECOND
    while len(told) < 400 and monotonic_ns() < until:
        loop.wait(until)
    assert sum(outcome.ok for outcome in told) == 400
    assert len(conversations) == 0
    server.close()
    assert len(os.listdir("/proc/self/fd")) == before
    conversations.close()
    loop.close()


def test_who_hears_of_an_end_may_start_and_cancel_others() -> None:
    conversations = Conversations()
    told: list[str] = []
    whom: Target = target(unused_port(socket.SOCK_DGRAM), timeout_ns=50 * MILLISECOND)
    now = monotonic_ns()

    def first(outcome: Outcome, at: int) -> None:
        told.append("first")
        conversations.cancel(second)
        conversations.start("udp", whom, Listener(), lambda outcome, at: told.append("third"), at)

    conversations.start("udp", whom, Listener(), first, now)
    second = conversations.start("udp", whom, Listener(), lambda outcome, at: told.append("second"), now)
    due = conversations.due_at()
    assert due == now + 50 * MILLISECOND
    conversations.on_due(due - 1)
    assert told == []
    conversations.on_due(due)
    assert told == ["first"]
    conversations.on_due(due + 50 * MILLISECOND)
    assert told == ["first", "third"]
    assert conversations.due_at() is None
    conversations.close()


def test_the_nearest_deadline_comes_first() -> None:
    conversations = Conversations()
    told: list[str] = []
    nobody, now = unused_port(socket.SOCK_DGRAM), monotonic_ns()
    for name, span_ns in (("slow", 5000 * MILLISECOND), ("quick", 50 * MILLISECOND), ("middle", 900 * MILLISECOND)):
        whom = target(nobody, timeout_ns=span_ns)
        conversations.start("udp", whom, Listener(), lambda outcome, at, name=name: told.append(name), now)  # type: ignore[misc]
    for span_ns, ended in ((50, ["quick"]), (900, ["quick", "middle"]), (5000, ["quick", "middle", "slow"])):
        assert conversations.due_at() == now + span_ns * MILLISECOND
        conversations.on_due(now + span_ns * MILLISECOND)
        assert told == ended
    conversations.close()


def test_in_a_busy_time_it_looks_once_a_beat_and_later_is_woken_again() -> None:
    loop, conversations = Loop(), Conversations()
    conversations.attach(loop)
    told: list[Outcome] = []

    def hear(count: int) -> None:
        """As a worker's loop goes."""
        until = monotonic_ns() + 10 * SECOND
        while len(told) < count and monotonic_ns() < until:
            loop.wait(min(until, conversations.due_at() or until))
            due = conversations.due_at()
            if due is not None and due <= monotonic_ns():
                conversations.on_due(monotonic_ns())
        assert len(told) == count

    def paced() -> bool:
        due = conversations.due_at()
        return due is not None and due % (5 * MILLISECOND) == 0 and due - monotonic_ns() < 100 * MILLISECOND

    with datagrams(lambda octets: [octets]) as port:
        answered, until = 0, monotonic_ns() + 10 * SECOND
        while not paced() and monotonic_ns() < until:
            now, answered = monotonic_ns(), answered + 1
            whom = target(port)
            conversations.start("udp", whom, Listener(b"x", wanted=1), lambda outcome, at: told.append(outcome), now)
            hear(answered)
        assert paced(), "one after another without a pause, and it is still woken by each"
        time.sleep(0.11)  # a quiet time is one in which nothing is begun
        answered += 1
        conversations.start("udp", target(port), Listener(b"x", wanted=1), lambda outcome, at: told.append(outcome), now)
        hear(answered)
        assert not paced()
        assert all(outcome.ok for outcome in told)
    conversations.close()
    loop.close()
