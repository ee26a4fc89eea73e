"""The daemon's side of the local socket: many clients, none of them trusted to read, write or leave in time.

Each connection holds at most one line of a request and the replies it has not read yet; requests are answered one after
another. A client that makes no progress is dropped, and when all places are taken the one that was quiet longest goes.
Nothing a client does raises out of here.
"""

import errno
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.control.access import listen, peer_of
from holdfast.control.messages import BadRequestError, Failure, Request, encode, parse_request

PLACES = 64
"""Connections served at once."""

REQUEST_BOUND_BYTES = 64 * 1024
"""The longest request."""

UNREAD_BOUND_BYTES = 32 * 1024 * 1024
"""What clients may leave unread, all together; beyond it the slowest is dropped."""

IDLE_NS: Nanoseconds = 60 * SECOND
"""How long a client may stay without asking anything."""

PROGRESS_NS: Nanoseconds = 15 * SECOND
"""How long a reply may wait for its reader, or a request for its answer."""

READ_AT_ONCE_BYTES = 16 * 1024


class LoopLike(Protocol):
    """What is needed of the loop (edge/loop.py)."""

    def watch(self, fd: int, callback: Callable[[], None], writable: bool = False) -> None:
        """Call back when `fd` can be read or written."""

    def unwatch(self, fd: int, writable: bool | None = None) -> None:
        """Stop that."""


class Reply:
    """The answer to one request, now or later, whole or in pieces; once it or the client has ended, more is ignored."""

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection
        self.ended = False

    @property
    def uid(self) -> int:
        """The user who asks."""
        return self._connection.uid

    @property
    def wanted(self) -> bool:
        """Whether the client still waits for it."""
        return not self.ended and not self._connection.closed

    def send(self, whole: dict[str, Any] | bytes | object) -> None:
        """The whole answer: something that becomes a JSON object, or its bytes."""
        self.write(whole.rstrip(b"\n") if isinstance(whole, bytes) else encode(whole)[:-1])
        self.end()

    def fail(self, error: str, cure: str = "") -> None:
        """Say that it can't be done, why, and what would help."""
        self.send(Failure(error, cure))

    def write(self, piece: bytes) -> None:
        """One piece of the answer's JSON (without line ends)."""
        if self.wanted:
            self._connection.put(piece)

    def end(self) -> None:
        """The answer is complete."""
        wanted, self.ended = self.wanted, True
        if wanted:
            self._connection.answered()


Handler = Callable[[Request, Reply], None]


class _Connection:
    """One client. Requests are taken one by one: the next only when the answer to the last has been read."""

    def __init__(self, server: "ControlServer", link: socket.socket, uid: int, now: Nanoseconds) -> None:
        self._server = server
        self.uid = uid
        self._socket = link
        self._asked = bytearray()
        self._unread: deque[bytes] = deque()
        self._offset = 0  # how much of the first unread piece is sent
        self.unread_bytes = 0
        self.reply: Reply | None = None
        self.active_at = now
        self.closed = False
        self._hung_up = False  # the client has said all it will
        self._last_words = False  # we have
        self._advancing = False
        self._blocked = False
        server.loop.watch(link.fileno(), self._readable)

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way to it."""
        return self.reply is not None or self.unread_bytes > 0

    def limit_ns(self) -> Nanoseconds:
        """How long it may make no progress."""
        return PROGRESS_NS if self.busy or self._asked else IDLE_NS

    def _readable(self) -> None:
        try:
            octets = self._socket.recv(READ_AT_ONCE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not octets:
            self._hung_up = True
            self._server.loop.unwatch(self._socket.fileno(), writable=False)
            if self._asked:
                self._asked += b"\n"
        elif not self._asked and not self.busy:
            self.active_at = time.monotonic_ns()  # not renewed while a request trickles in
        self._asked += octets
        self._advance()
        if len(self._asked) > REQUEST_BOUND_BYTES and not self._last_words:
            if self.busy:
                self.close()
            else:
                self._farewell(f"a request is at most {REQUEST_BOUND_BYTES} bytes long", "send one JSON object a line")

    def _advance(self) -> None:
        """Take up the next request, or close when there is nothing left to say."""
        if self._advancing:
            return
        self._advancing = True
        while not self.busy and not self._last_words and not self.closed:
            end = self._asked.find(b"\n")
            if end < 0:
                break
            line = bytes(self._asked[:end])
            del self._asked[: end + 1]
            if line.strip():
                self._ask(line)
        self._advancing = False
        if not self.busy and (self._last_words or self._hung_up):
            self.close()

    def _ask(self, line: bytes) -> None:
        self.reply = reply = Reply(self)
        self.active_at = time.monotonic_ns()
        try:
            self._server.handler(parse_request(line), reply)
        except BadRequestError as wrong:
            reply.fail(str(wrong), 'send one JSON object a line, such as {"command": "status"}')
        except Exception as failed:  # a mistake of ours in one command must not end the daemon
            sys.stderr.write(f"holdfast: a command on the control socket failed: {failed!r}\n")
            reply.fail(f"the command failed inside the daemon: {failed!r}", "this is a mistake in holdfast: report it")

    def put(self, piece: bytes) -> None:
        """Queue a piece and send what the client takes."""
        if not piece or self.closed:
            return
        self._unread.append(piece)
        self.unread_bytes += len(piece)
        self._server.unread_bytes += len(piece)
        if not self._blocked:
            self._drain()
        self._server.bound_unread()

    def answered(self) -> None:
        """The reply is complete: end its line and go on."""
        self.active_at = time.monotonic_ns()
        self.put(b"\n")
        self.reply = None
        self._advance()

    def _drain(self) -> None:
        try:
            while self._unread:
                sent = self._socket.send(memoryview(self._unread[0])[self._offset :], socket.MSG_NOSIGNAL)
                self.active_at = time.monotonic_ns()
                self.unread_bytes -= sent
                self._server.unread_bytes -= sent
                self._offset += sent
                if self._offset == len(self._unread[0]):
                    self._unread.popleft()
                    self._offset = 0
        except BlockingIOError:
            if not self._blocked:
                self._blocked = True
                self._server.loop.watch(self._socket.fileno(), self._drain, writable=True)
            return
        except OSError:
            self.close()
            return
        if self._blocked:
            self._blocked = False
            self._server.loop.unwatch(self._socket.fileno(), writable=True)
        self._advance()

    def _farewell(self, error: str, cure: str) -> None:
        """Say why, once, and close."""
        self._asked.clear()
        self.reply = None
        self._last_words = True
        self.put(encode(Failure(error, cure)))

    def expire(self) -> None:
        """No progress for too long: an answer that never came is told as such, anything else just ends."""
        if self.reply is not None and not self.unread_bytes:
            self._farewell("the daemon did not answer in time", "try again; if it stays so, look at its log")
        self.close()

    def close(self) -> None:
        """Let the client go; a reply still to come is ignored."""
        if self.closed:
            return
        self.closed = True
        self._server.loop.unwatch(self._socket.fileno())
        self._server.forget(self)
        self._unread.clear()
        self._asked.clear()
        self._socket.close()

    def abandon(self) -> None:
        """Give the descriptor back in a forked child, and leave the parent's loop alone."""
        self.closed = True
        self._socket.close()


class ControlServer:
    """Listens at `path` (RUN_DIR/control.sock) from its making on; raises AlreadyRunningError or OSError.

    `handler` gets each request with the Reply to answer it by, now or later. Call `on_due` when `due_at` has come.
    """

    def __init__(self, path: str, handler: Handler, loop: LoopLike) -> None:
        self.path = path
        self.handler = handler
        self.loop = loop
        self.unread_bytes = 0
        self._connections: dict[_Connection, None] = {}
        self._listener = listen(path, PLACES)
        self._inode = os.lstat(path).st_ino
        self._spare_fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        loop.watch(self._listener.fileno(), self._acceptable)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def due_at(self) -> Nanoseconds | None:
        """When `expire` has something to do (monotonic clock); None with no client."""
        return min((c.active_at + c.limit_ns() for c in self._connections), default=None)

    def on_due(self, now: Nanoseconds) -> None:
        """Drop the clients that made no progress for too long."""
        for connection in [c for c in self._connections if c.active_at + c.limit_ns() <= now]:
            connection.expire()

    def _acceptable(self) -> None:
        now = time.monotonic_ns()
        self.on_due(now)
        for _ in range(PLACES):
            try:
                link, _address = self._listener.accept()
            except OSError as failed:
                if failed.errno in (errno.EMFILE, errno.ENFILE):
                    self._make_room()
                return
            link.setblocking(False)
            _pid, uid = peer_of(link)
            if uid not in (0, os.geteuid()):
                self._turn_away(link)
                continue
            if len(self._connections) >= PLACES:
                self._drop_quietest()
            self._connections[_Connection(self, link, uid, now)] = None

    def _drop_quietest(self) -> None:
        if self._connections:
            min(self._connections, key=lambda c: (c.busy, c.active_at)).close()

    def _make_room(self) -> None:
        """No descriptor is left: without this the loop would be woken for ever by a client that can't be accepted."""
        if self._connections:
            self._drop_quietest()
            return
        os.close(self._spare_fd)
        try:
            self._listener.accept()[0].close()
        except OSError:
            pass
        self._spare_fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _turn_away(self, link: socket.socket) -> None:
        reason = encode(Failure("only root may ask this daemon", "run the command with sudo"))
        try:
            link.send(reason, socket.MSG_NOSIGNAL)
        except OSError:
            pass
        link.close()

    def forget(self, connection: _Connection) -> None:
        """A connection has ended."""
        self._connections.pop(connection, None)
        self.unread_bytes -= connection.unread_bytes
        connection.unread_bytes = 0

    def bound_unread(self) -> None:
        """Hold what is unread to its bound, at the expense of the slowest reader."""
        while self.unread_bytes > UNREAD_BOUND_BYTES:
            max(self._connections, key=lambda c: c.unread_bytes).close()

    def close(self, unlink: bool = True) -> None:
        """Let everybody go; `unlink` False in a forked child, where socket file and loop belong to the parent."""
        for connection in list(self._connections):
            if unlink:
                connection.close()
            else:
                connection.abandon()
        self._connections.clear()
        if unlink:
            self.loop.unwatch(self._listener.fileno())
            try:
                if os.lstat(self.path).st_ino == self._inode:
                    os.unlink(self.path)
            except OSError:
                pass
        self._listener.close()
        os.close(self._spare_fd)
