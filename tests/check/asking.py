"""Makes one check, as the daemon would, against whoever listens on loopback."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from holdfast.base.address import parse
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.check.config import Check, Target
from holdfast.check.conversation import Conversation, Occasion, Outcome, Said
from holdfast.check.prepare import Tools, prepare
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.conversations import Conversations
from holdfast.edge.loop import Loop
from holdfast.edge.pcre2 import Pcre2Expression
from holdfast.edge.tls_contexts import TlsContexts

PATIENCE_S = 10


def occasion() -> Occasion:
    """Chance and the wall clock, as the edge gives them."""
    return Occasion(os.urandom(16), time.time())


def tools() -> Tools:
    """Certificates and expressions from this machine."""
    return Tools(TlsContexts().context, Pcre2Expression)


def target(port: int, address: str = "127.0.0.1", timeout_ns: Nanoseconds = 5 * SECOND, **more: object) -> Target:
    """Somebody on loopback."""
    return Target(address=parse(address), port=port, timeout_ns=timeout_ns, **more)  # type: ignore[arg-type]


def ask(check: Check, stage: int = 0) -> Outcome:
    """The outcome of one run of `check`."""
    asking = prepare(check, tools())
    assert asking is not None
    return converse(asking.transport, asking.target, asking.stages[stage](occasion()))


def converse(transport: str, whom: Target, conversation: Conversation) -> Outcome:
    """Hold one conversation to its end."""
    loop, conversations = Loop(), Conversations()
    told: list[Outcome] = []
    loop.watch(conversations.fileno(), lambda: conversations.on_readable(monotonic_ns()))
    try:
        conversations.start(transport, whom, conversation, lambda outcome, now: told.append(outcome), monotonic_ns())
        until = monotonic_ns() + PATIENCE_S * SECOND
        while not told and monotonic_ns() < until:
            loop.wait(min(until, conversations.due_at() or until))
            conversations.on_due(monotonic_ns())
        assert len(told) == 1, "no outcome in time"
        assert len(conversations) == 0
        return msgspec.structs.replace(told[0], parting=b"")
    finally:
        loop.unwatch(conversations.fileno())
        conversations.close()
        loop.close()


@contextmanager
def listening(behaviour: Callable[[socket.socket], None], address: str = "127.0.0.1") -> Iterator[int]:
    """A server in a thread that treats each connection as `behaviour` says; its port."""
    server = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(PATIENCE_S)
                try:
                    behaviour(peer)
                except OSError:
                    pass  # the check has heard enough

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(PATIENCE_S)


@contextmanager
def datagrams(behaviour: Callable[[bytes], list[bytes]], address: str = "127.0.0.1") -> Iterator[int]:
    """A server in a thread that answers each datagram as `behaviour` says; its port."""
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 0))
    ended = threading.Event()

    def serve() -> None:
        while True:
            octets, peer = server.recvfrom(65536)
            if ended.is_set():
                return
            for answer in behaviour(octets):
                server.sendto(answer, peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = int(server.getsockname()[1])
    try:
        yield port
    finally:
        ended.set()
        server.sendto(b"", (address, port))
        thread.join(PATIENCE_S)
        server.close()


def unused_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port where nobody listens."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def feed(conversation: Conversation, *pieces: bytes, end: bool = True) -> Said:
    """What a conversation says at last to a stream that comes in `pieces`."""
    said = conversation.begin()
    for piece in pieces:
        if isinstance(said, Outcome):
            return said
        said = conversation.received(piece)
    return conversation.closed() if end and not isinstance(said, Outcome) else said
