"""The channel between two processes: what the other end said before it ended is never lost."""

import array
import os
import socket
from collections.abc import Callable

import msgspec
import pytest

from holdfast.edge.channel import Channel
from holdfast.edge.loop import Loop
from holdfast.engine.messages import LogLine
from holdfast.vrrp.messages import Level

LAST_WORDS = [LogLine(Level.ERROR, "first"), LogLine(Level.ERROR, "and last")]


class End:
    """Our end with its loop; `other` is the raw socket of the other process."""

    def __init__(self) -> None:
        mine, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.loop = Loop()
        self.heard: list[object] = []
        self.closings = 0
        self.channel = Channel(mine, LogLine, self.loop, self._message, self._closed)

    def _message(self, message: object, fd: int | None) -> None:
        self.heard.append(message)

    def _closed(self) -> None:
        self.closings += 1

    def speak_and_end(self) -> None:
        for message in LAST_WORDS:
            self.other.send(msgspec.msgpack.encode([message]))
        self.other.close()

    def by_loop(self) -> None:
        while not self.channel.closed:
            self.loop.wait(None)

    def by_drain(self) -> None:
        self.channel.drain()


TAKEN_IN = pytest.mark.parametrize("take_in", [End.by_loop, End.by_drain])


@TAKEN_IN
def test_last_words_of_one_that_read_all(take_in: Callable[[End], None]) -> None:
    end = End()
    end.speak_and_end()
    take_in(end)
    assert (end.heard, end.closings) == (LAST_WORDS, 1)


@TAKEN_IN
def test_last_words_of_one_that_left_a_message_unread(take_in: Callable[[End], None]) -> None:
    end = End()
    end.channel.send(LogLine(Level.INFO, "unread"))
    end.speak_and_end()
    take_in(end)
    assert (end.heard, end.closings) == (LAST_WORDS, 1)


@TAKEN_IN
@pytest.mark.parametrize("unread", [False, True])
def test_last_words_of_one_that_ended_before_we_spoke(take_in: Callable[[End], None], unread: bool) -> None:
    end = End()
    if unread:
        end.channel.send(LogLine(Level.INFO, "unread"))
    end.speak_and_end()
    read, write = os.pipe()
    end.channel.send(LogLine(Level.INFO, "to nobody"))
    end.channel.send(LogLine(Level.INFO, "to nobody, with a descriptor"), write)
    assert not end.channel.closed
    take_in(end)
    assert (end.heard, end.closings) == (LAST_WORDS, 1)
    assert os.read(read, 1) == b""  # the descriptor was not kept open
    os.close(read)


def test_what_waits_in_the_queue_is_given_up_with_the_other_end() -> None:
    end, (read, write) = End(), os.pipe()
    big = LogLine(Level.INFO, "x" * 40_000)
    for _ in range(1000):
        end.channel.send(big)
    end.channel.send(big, write)
    end.speak_and_end()
    end.by_loop()
    assert (end.heard, end.closings) == (LAST_WORDS, 1)
    assert os.read(read, 1) == b""
    os.close(read)


def test_a_descriptor_goes_over() -> None:
    end, (read, write) = End(), os.pipe()
    end.channel.send(LogLine(Level.INFO, "with it"), write)
    packet, ancillary, _, _ = end.other.recvmsg(4096, socket.CMSG_SPACE(4))
    assert msgspec.msgpack.decode(packet, type=list[LogLine]) == [LogLine(Level.INFO, "with it")]
    got = array.array("i", ancillary[0][2][:4])[0]
    os.write(got, b"x")
    os.close(got)
    assert os.read(read, 2) == b"x"
    assert os.read(read, 2) == b""
    os.close(read)
    end.other.close()


def test_that_nobody_listens_is_known_before_it_is_read() -> None:
    end = End()
    assert not end.channel.gone
    end.speak_and_end()
    end.channel.send(LogLine(Level.INFO, "to nobody"))
    assert end.channel.gone
    assert not end.channel.closed
