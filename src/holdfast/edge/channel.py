"""What the supervisor and a worker say to each other: messages over a socket pair, never waited for.

A message is one packet of a SOCK_SEQPACKET pair: a MessagePack array of tagged structs. What does not fit at the moment
is queued; when the queue is full, log lines are dropped (and counted), everything else is kept.
"""

import array
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast.edge.loop import Loop
from holdfast.engine.messages import (
    AnyNotice,
    LinkPolled,
    LogLine,
    ProcessesCounted,
    ReannounceAsked,
    ScriptFinished,
    TrackerReported,
)
from holdfast.vrrp.messages import Level

PIECE = 60  # messages a packet
BYTES_A_PACKET = 48 * 1024
QUEUE_BOUND = 20_000


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker runs the plan (after a start or a reload)."""

    instances: int


class Reply(msgspec.Struct, frozen=True, tag=True):
    """A piece of the answer to Ask number `ask`; `last` ends it."""

    ask: int
    piece: bytes
    last: bool


class Ask(msgspec.Struct, frozen=True, tag=True):
    """The supervisor asks for the worker's view; `clear` zeroes the counters afterwards."""

    ask: int
    clear: bool = False
    hints: bool = False  # where the routine of each instance is counted


class AskRoutine(msgspec.Struct, frozen=True, tag=True):
    """The supervisor asks what is counted there; answered by Reply number `ask`."""

    ask: int


class Record(msgspec.Struct, frozen=True, tag=True):
    """The supervisor asks for the recording (engine/record.py); answered by Reply number `ask` with its frames."""

    ask: int


class Reload(msgspec.Struct, frozen=True, tag=True):
    """A new plan lies in the memory file that comes with this message."""

    size: int


class Switch(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Hand an instance over (or release it); answered by Reply number `ask` with a JSON document."""

    ask: int
    instance: str
    direction: str  # here, away or release
    by: str
    for_ns: int | None = None
    force: bool = False
    dry_run: bool = False


class HoldServer(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """An operator's weight for a real server (None gives it back); answered by Reply number `ask`."""

    ask: int
    service: str
    server: str
    weight: int | None


class SyncMaster(msgspec.Struct, frozen=True, tag=True):
    """Whether the instance of `lvs_sync_daemon` is MASTER on this host."""

    master: bool


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Leave cleanly; with `keep_addresses` the addresses stay (`-V`)."""

    keep_addresses: bool = False


ToSupervisor = AnyNotice | Ready | Reply
Reported = TrackerReported | ProcessesCounted | LinkPolled
Asked = Ask | AskRoutine | Record
ToWorker = ScriptFinished | Reported | ReannounceAsked | Asked | Reload | Stop | Switch | HoldServer | SyncMaster


class Channel:
    """One end of the pair. `on_message` gets each message; `on_closed` is called once when the other end is gone."""

    def __init__(
        self,
        end: socket.socket,
        incoming: Any,
        loop: Loop,
        on_message: Callable[[Any, int | None], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._socket = end
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._decoder = msgspec.msgpack.Decoder(list[incoming])
        self._encoder = msgspec.msgpack.Encoder()
        self._loop = loop
        self._on_message = on_message
        self._on_closed = on_closed
        self._queue: deque[tuple[bytes, int | None, bool]] = deque()
        self._pending: list[Any] = []
        self._taken = 0  # messages read so far
        self.lost_lines = 0
        self.closed = False
        self._deaf = False  # the other end hears nothing any more; what it said before may still wait to be read
        loop.watch(end.fileno(), self._readable)

    def fileno(self) -> int:
        """The descriptor, for passing on."""
        return self._socket.fileno()

    @property
    def gone(self) -> bool:
        """Whether nobody is at the other end any more, as far as is known."""
        return self._deaf or self.closed

    def put(self, message: Any) -> None:
        """Gather a message for the next flush."""
        self._pending.append(message)

    def send(self, message: Any, fd: int | None = None) -> None:
        """Send one message now, with a descriptor if given (closed here once it is on its way)."""
        self.flush()
        self._enqueue(self._encoder.encode([message]), fd, False)
        self._drain()

    def flush(self) -> None:
        """Send what was gathered."""
        if self.lost_lines and len(self._queue) < QUEUE_BOUND // 2:
            lost, self.lost_lines = self.lost_lines, 0
            self.put(LogLine(Level.WARNING, f"{lost} log lines were lost: the supervisor did not keep up"))
        if not self._pending:
            return
        gathered, self._pending = self._pending, []
        for start in range(0, len(gathered), PIECE):
            piece = gathered[start : start + PIECE]
            self._encode(piece)
        self._drain()

    def _encode(self, piece: Sequence[Any]) -> None:
        packet = self._encoder.encode(piece)
        if len(packet) > BYTES_A_PACKET and len(piece) > 1:
            middle = len(piece) // 2
            self._encode(piece[:middle])
            self._encode(piece[middle:])
            return
        self._enqueue(packet, None, all(isinstance(message, LogLine) for message in piece))

    def _enqueue(self, packet: bytes, fd: int | None, only_log: bool) -> None:
        if self.gone:
            if fd is not None:
                os.close(fd)
            return
        if only_log and len(self._queue) >= QUEUE_BOUND:
            self.lost_lines += 1
            return
        self._queue.append((packet, fd, only_log))

    def _drain(self) -> None:
        while self._queue and not self.closed:
            packet, fd, _ = self._queue[0]
            try:
                if fd is None:
                    self._socket.send(packet, socket.MSG_NOSIGNAL)
                else:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
                    self._socket.sendmsg([packet], rights, socket.MSG_NOSIGNAL)
                    os.close(fd)
            except BlockingIOError:
                self._loop.watch(self._socket.fileno(), self._drain, writable=True)
                return
            except ConnectionError:
                self._give_up()
                return
            except OSError:
                self._close()
                return
            self._queue.popleft()
        if not self.closed:
            self._loop.unwatch(self._socket.fileno(), writable=True)

    def _give_up(self) -> None:
        """Nobody reads what we send; closing is left to who reads the other end's last words."""
        self._deaf = True
        for _, fd, _ in self._queue:
            if fd is not None:
                os.close(fd)
        self._queue.clear()
        if not self.closed:
            self._loop.unwatch(self._socket.fileno(), writable=True)

    def _readable(self) -> None:
        for _ in range(64):
            try:
                packet, ancillary, _flags, _address = self._socket.recvmsg(256 * 1024, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # told once, before what was said: the other end ended without reading all of ours
            except OSError:
                packet, ancillary = b"", []
            if not packet:
                self._close()
                return
            fd = None
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fd = array.array("i", payload[:4])[0]
            for message in self._decoder.decode(packet):
                self._taken += 1
                self._on_message(message, fd)
            if self.closed:
                return

    def _close(self) -> None:
        if self.closed:
            return
        self.close()
        self._on_closed()

    def drain(self) -> None:
        """Take in what still waits to be read: the other end may have spoken before it ended."""
        before = -1
        while not self.closed and before != self._taken:
            before = self._taken
            self._readable()

    def close(self) -> None:
        """Give the socket back without calling `on_closed`."""
        if not self.closed:
            self._give_up()
            self.closed = True
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
