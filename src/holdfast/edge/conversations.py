"""Holds thousands of conversations at once: sockets, deadlines, octets back and forth.

Each conversation costs as few calls into the kernel as it can: a TCP check is socket, connect, one epoll_ctl and
close; a short HTTP check adds one send and one recv. Descriptors are watched edge-triggered for everything at once, so
nothing is changed while a conversation goes on; the end of the stream comes with the event that brings the last octets.

Outcomes are told after a batch of events has been worked through: whoever hears of one may start or cancel others.
Its own epoll descriptor, `fileno()`, nests in any loop. One that is attached to a loop paces itself: while many checks
are begun, it looks every 5 ms at what came instead of being woken by each answer, which costs more than the answer.
"""

import select
import socket
from collections.abc import Callable

from holdfast.base.address import text as address_text
from holdfast.base.time import MILLISECOND, Nanoseconds, span_text
from holdfast.check.config import Target
from holdfast.check.conversation import Conversation, Outcome, Said
from holdfast.check.rota import BEAT_NS
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.loop import Loop
from holdfast.kernel.check_sockets import CheckRefused, open_towards, reason

READ_BYTES = 65536
READS_AT_ONCE = 4
"""After so many full reads others get their turn."""

BUSY = 40
"""From so many conversations begun in BUSY_SPAN_NS on, answers are looked for once a beat."""

BUSY_SPAN_NS = 100 * MILLISECOND

Told = Callable[[Outcome, Nanoseconds], None]
"""Hears how a conversation ended, and when."""

_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_SOMETHING_CAME = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_BATCH = 1024


def _nobody(outcome: Outcome, now: Nanoseconds) -> None:
    """Hears of what was cancelled."""


class Talk:
    """One conversation under way. `ended` once its outcome is settled or it was cancelled."""

    __slots__ = ("begun", "conversation", "deadline", "ended", "fd", "socket", "stream", "target", "told", "unsent")

    def __init__(self, target: Target, conversation: Conversation, told: Told, deadline: Nanoseconds) -> None:
        self.target = target
        self.conversation = conversation
        self.told = told
        self.deadline = deadline
        self.begun = False
        self.ended = False
        self.fd = -1
        self.socket: socket.socket | None = None
        self.stream = False
        self.unsent = b""


class Conversations:
    """Starts conversations and tells how they ended. Watch `fileno()` for reading; call `on_due` at `due_at()`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._talks: dict[int, Talk] = {}
        self._by_span: dict[Nanoseconds, dict[Talk, None]] = {}  # each in order of its deadlines
        self._wake_at: Nanoseconds | None = None
        self._ended: list[tuple[Talk, Outcome]] = []
        self._loop: Loop | None = None
        self._beat_at: Nanoseconds | None = None  # while paced: when to look next
        self._begun = 0  # since _counted_at
        self._counted_at: Nanoseconds = 0
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)

    def __len__(self) -> int:
        return len(self._talks)

    def fileno(self) -> int:
        """Readable when somebody answered."""
        return self._epoll.fileno()

    def attach(self, loop: Loop) -> None:
        """In place of watching `fileno()`: be woken by `loop` when somebody answers, or look by itself in a busy time.

        `on_due` is still to be called.
        """
        self._loop = loop
        loop.watch(self.fileno(), self._woken)

    def _woken(self) -> None:
        self.on_readable(monotonic_ns())

    def due_at(self) -> Nanoseconds | None:
        """When `on_due` is to be called, if nothing happens before; it may come early."""
        if self._beat_at is None or (self._wake_at is not None and self._wake_at < self._beat_at):
            return self._wake_at
        return self._beat_at

    def start(self, transport: str, target: Target, conversation: Conversation, told: Told, now: Nanoseconds) -> Talk:
        """Begin to ask `target`. `told` is called later, from `on_readable` or `on_due`, never from here."""
        talk = Talk(target, conversation, told, now + target.timeout_ns)
        self._begun += 1
        try:
            opened = open_towards(
                transport, target.address, target.port, target.bind_address, target.bind_port, target.bind_interface,
                target.fwmark,
            )  # fmt: skip
        except CheckRefused as refused:
            self._end(talk, Outcome(False, f"{_shown(target)}: {refused}", made=not refused.local))
            self._wake_at = now
            return talk
        talk.socket = opened
        talk.fd = fd = opened.fileno()
        talk.stream = transport == "tcp"
        self._talks[fd] = talk
        self._by_span.setdefault(target.timeout_ns, {})[talk] = None
        if self._wake_at is None or talk.deadline < self._wake_at:
            self._wake_at = talk.deadline
        if not talk.stream:
            talk.begun = True
            if self._said(talk, conversation.begin()):
                self._wake_at = now
                return talk
        self._epoll.register(fd, _EDGES)
        return talk

    def cancel(self, talk: Talk) -> None:
        """Break off; nothing more is told of it."""
        talk.told = _nobody
        if not talk.ended:
            self._close(talk)

    def on_readable(self, now: Nanoseconds) -> None:
        """Go on with every conversation that can, and tell which ended."""
        self._go_on()
        if self._ended:
            self._tell(now)
        if now - self._counted_at >= BUSY_SPAN_NS:
            self._count(now)

    def _go_on(self) -> bool:
        """One batch of those that can go on; whether there may be more."""
        ready = self._epoll.poll(0, _BATCH)
        for fd, events in ready:
            talk = self._talks.get(fd)
            if talk is not None:
                self._advance(talk, events)
        return len(ready) == _BATCH

    def on_due(self, now: Nanoseconds) -> None:
        """End what took too long; while paced, go on with what can."""
        if self._beat_at is not None and now >= self._beat_at:
            self.on_readable(now)
        if now - self._counted_at >= BUSY_SPAN_NS:
            self._count(now)
        if self._beat_at is not None:
            self._beat_at = (now // BEAT_NS + 1) * BEAT_NS
        if self._wake_at is None or now < self._wake_at:
            return
        while self._go_on():
            pass  # who has answered, and waits for us to read it, is not late
        earliest: Nanoseconds | None = None
        for span, talks in list(self._by_span.items()):
            while talks:
                talk = next(iter(talks))
                if talk.deadline > now:
                    if earliest is None or talk.deadline < earliest:
                        earliest = talk.deadline
                    break
                self._end(talk, talk.conversation.expired(span_text(span)))
            if not talks:
                del self._by_span[span]
        self._wake_at = earliest
        self._tell(now)

    def _count(self, now: Nanoseconds) -> None:
        """Whether this is a busy time, by how many conversations were begun lately."""
        busy = self._begun * BUSY_SPAN_NS >= BUSY * (now - self._counted_at)
        self._begun = 0
        self._counted_at = now
        if busy == (self._beat_at is not None) or self._loop is None:
            return
        if busy:
            self._loop.unwatch(self.fileno())
            self._beat_at = now
        else:
            self._beat_at = None
            self._loop.watch(self.fileno(), self._woken)

    def close(self) -> None:
        """Break everything off."""
        if self._loop is not None:
            self._loop.unwatch(self.fileno())
        for talk in list(self._talks.values()):
            self._close(talk)
        self._ended.clear()
        self._epoll.close()

    # ---- one conversation -------------------------------------------------------------------------------------------

    def _advance(self, talk: Talk, events: int) -> None:
        opened = talk.socket
        if opened is None:
            return
        if not talk.begun:
            if events & select.EPOLLERR:
                self._refused(talk, opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                return
            if not events & select.EPOLLOUT:
                return
            talk.begun = True
            if self._said(talk, talk.conversation.begin()):
                return
        elif talk.unsent and events & select.EPOLLOUT and self._send(talk):
            return
        if events & _SOMETHING_CAME:
            self._read(talk, events)

    def _read(self, talk: Talk, events: int) -> None:
        """Read until nothing is left; `events` may say that the end follows, which spares asking for it."""
        opened, buffer = talk.socket, self._buffer
        assert opened is not None
        for _ in range(READS_AT_ONCE):
            try:
                count = opened.recv_into(buffer)
            except BlockingIOError:
                return
            except OSError as error:
                self._refused(talk, error.errno or 0)
                return
            if count and self._said(talk, talk.conversation.received(bytes(self._view[:count]))):
                return
            if talk.stream and (not count or (count < READ_BYTES and events & select.EPOLLRDHUP)):
                self._said(talk, talk.conversation.closed(), at_end=True)
                return
            if talk.stream and count < READ_BYTES:
                return
        # more may wait: setting the same edges again makes the kernel tell of it anew
        self._epoll.modify(talk.fd, _EDGES)

    def _said(self, talk: Talk, said: Said, at_end: bool = False) -> bool:
        """Carry out what the conversation says; whether that was its end."""
        if isinstance(said, Outcome):
            if said.parting and not talk.unsent and talk.socket is not None:
                try:
                    talk.socket.send(said.parting)
                except OSError:
                    pass  # a farewell that can't be said isn't
            self._end(talk, said)
            return True
        if said:
            talk.unsent += said
            return self._send(talk)
        if at_end:
            self._end(talk, Outcome(False, "closed by the server"))
            return True
        return False

    def _send(self, talk: Talk) -> bool:
        """Send what is waiting, or as much as goes; whether that ended the conversation."""
        assert talk.socket is not None
        try:
            count = talk.socket.send(talk.unsent)
        except BlockingIOError:
            return False
        except OSError as error:
            self._refused(talk, error.errno or 0)
            return True
        talk.unsent = talk.unsent[count:]
        return False

    def _refused(self, talk: Talk, errno: int) -> None:
        what = reason(errno) if talk.stream else f"answered by ICMP: {reason(errno)}"
        self._end(talk, Outcome(False, f"{_shown(talk.target)}: {what}"))

    def _end(self, talk: Talk, outcome: Outcome) -> None:
        self._close(talk)
        self._ended.append((talk, outcome))

    def _close(self, talk: Talk) -> None:
        talk.ended = True
        opened = talk.socket
        if opened is not None:
            talk.socket = None
            del self._talks[talk.fd]
            self._by_span[talk.target.timeout_ns].pop(talk, None)
            opened.close()

    def _tell(self, now: Nanoseconds) -> None:
        while self._ended:
            ended, self._ended = self._ended, []
            for talk, outcome in ended:
                talk.told(outcome, now)




def _shown(target: Target) -> str:
    where = address_text(target.address)
    if not target.port:
        return where
    return f"[{where}]:{target.port}" if len(target.address) == 16 else f"{where}:{target.port}"
