"""Many packets in one call, over real sockets."""

import errno
import gc
import socket
import struct

import pytest

from holdfast.base.address import parse
from holdfast.kernel.advert_sockets import destination
from holdfast.kernel.batches import JoinedBatch, ReceiveBatch, SendBatch
from holdfast.kernel.errors import KernelRefused
from tests.kernel.namespaces import Namespace, ip


def to(port: int, address: str = "127.0.0.1") -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8s", port, socket.inet_aton(address), b"")


def hearing() -> tuple[socket.socket, int]:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.setblocking(False)
    return opened, opened.getsockname()[1]


def test_all_arrive_in_order_and_again(alone: Namespace) -> None:
    listening, port = hearing()
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    batch = SendBatch(sending.fileno(), [(bytes([n]) * (n + 1), to(port), b"") for n in range(40)])
    gc.collect()  # nothing the kernel reads may depend on our arguments
    arriving = ReceiveBatch(listening.fileno(), 32, 64)
    for _ in range(2):
        assert (batch.send(), list(batch.errors)) == (40, [])
        assert arriving.receive() == 32
        assert [bytes(arriving.payload(n)) for n in range(32)] == [bytes([n]) * (n + 1) for n in range(32)]
        assert arriving.source(31) == b"\x7f\0\0\x01"
        assert arriving.receive() == 8
        assert [bytes(arriving.payload(n)) for n in range(8)] == [bytes([n]) * (n + 1) for n in range(32, 40)]
        assert arriving.receive() == 0


def test_octets_change_in_place(alone: Namespace) -> None:
    listening, port = hearing()
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    batch = SendBatch(sending.fileno(), [(b"first", to(port), b""), (b"other", to(port), b"")])
    batch.payload(1)[0:2] = b"br"
    batch.send()
    assert [listening.recv(64), listening.recv(64)] == [b"first", b"brher"]


def test_one_refused_does_not_stop_the_rest(alone: Namespace) -> None:
    listening, port = hearing()
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nowhere = to(9, "198.51.100.1")
    batch = SendBatch(
        sending.fileno(), [(b"0", nowhere, b""), (b"1", to(port), b""), (b"2", nowhere, b""), (b"3", to(port), b"")]
    )
    assert batch.send() == 2
    assert batch.errors == [(0, errno.ENETUNREACH), (2, errno.ENETUNREACH)]
    assert [listening.recv(64), listening.recv(64)] == [b"1", b"3"]


def test_a_full_queue_stops_it_and_is_told() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    batch = SendBatch(one.fileno(), [(b"x" * 1000, b"", b"")] * 2000)
    sent = batch.send()
    assert 0 < sent < 2000
    assert batch.errors == [(n, errno.EAGAIN) for n in range(sent, 2000)]
    other.close()


def test_errors_are_forgotten_when_all_is_well(alone: Namespace) -> None:
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    batch = SendBatch(sending.fileno(), [(b"x", to(9, "203.0.113.1"), b"")])
    assert (batch.send(), batch.errors) == (0, [(0, errno.ENETUNREACH)])
    ip("route", "add", "local", "203.0.113.0/24", "dev", "lo")
    assert (batch.send(), list(batch.errors)) == (1, [])
    assert SendBatch(sending.fileno(), []).send() == 0


def test_batches_without_a_message_leave_at_once(alone: Namespace) -> None:
    """An instance may have nobody to speak to: a list of unicast peers that is empty."""
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    empty = SendBatch(sending.fileno(), [])
    assert JoinedBatch([empty, empty]).send() == []


def test_batches_of_one_socket_leave_together(alone: Namespace) -> None:
    listening, port = hearing()
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nowhere = to(9, "198.51.100.1")
    first = SendBatch(sending.fileno(), [(b"a", to(port), b""), (b"b", to(port), b"")])
    second = SendBatch(sending.fileno(), [(b"c", to(port), b""), (b"d", nowhere, b"")])
    together = JoinedBatch([first, second])
    for again in (b"a", b"A"):
        assert together.send() == [(1, errno.ENETUNREACH)]  # of the second batch
        assert [listening.recv(9) for _ in range(3)] == [again, b"b", b"c"]
        first.payload(0)[:] = b"A"
    assert JoinedBatch([first]).send() == []
    with pytest.raises(AssertionError, match="batches of several sockets"):
        JoinedBatch([first, SendBatch(listening.fileno(), [])])


def test_a_packet_too_long_is_marked(alone: Namespace) -> None:
    listening, port = hearing()
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    SendBatch(sending.fileno(), [(b"y" * 65, to(port), b""), (b"y" * 64, to(port), b"")]).send()
    arriving = ReceiveBatch(listening.fileno(), 4, 64)
    assert arriving.receive() == 2
    assert [arriving.truncated(0), arriving.truncated(1)] == [True, False]
    assert len(arriving.payload(0)) == 64


def test_where_a_packet_came_in(alone: Namespace) -> None:
    listening = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    listening.bind(("::1", 0))
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    sending = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sending.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 77)
    sending.sendto(b"hello", listening.getsockname())
    arriving = ReceiveBatch(listening.fileno(), 2, 64)
    assert arriving.receive() == 1
    assert arriving.arrival(0) == (1, parse("::1"))
    assert arriving.hop_limit(0) == 77
    assert arriving.source(0) == parse("::1")
    four, port = hearing()
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    arriving = ReceiveBatch(four.fileno(), 2, 64)
    asking.sendto(b"hello", ("127.0.0.1", port))
    assert (arriving.receive(), arriving.arrival(0)) == (1, None)
    four.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO; that nothing was told before must not matter
    asking.sendto(b"hello", ("127.0.0.1", port))
    assert arriving.receive() == 1
    assert (arriving.arrival(0), arriving.hop_limit(0)) == ((1, parse("127.0.0.1")), None)


def test_a_socket_that_is_gone() -> None:
    with pytest.raises(KernelRefused, match="cannot receive packets"):
        ReceiveBatch(1 << 20, 1, 64).receive()
    assert destination(parse("fe80::1"), 3)[-4:] == struct.pack("=I", 3)
    assert destination(parse("2001:db8::1"), 3)[-4:] == bytes(4)
