"""Mail to the operators: a queue, and a process of its own for each message, by smtplib.

Resolving the relay's name, talking to it, waiting for it: all that happens there, and ends there. A message is tried
three times; when the relay is away for long the oldest wait no longer, and how many were lost is said.
"""

import os
import signal
from collections import deque
from collections.abc import Callable

import msgspec

from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.config.plan import MailConfig
from holdfast.edge.loop import Loop
from holdfast.vrrp.messages import Level

MOST = 1000
"""So many messages wait."""

WAITS: tuple[Nanoseconds, ...] = (10 * SECOND, 60 * SECOND)
"""Before the second and the third time."""

EXCHANGES = 8
"""Replies awaited in a conversation: after so many time-outs the process is ended."""

SAID_BYTES = 500


class Message(msgspec.Struct, kw_only=True):
    """One mail; `tries` counts those that failed."""

    subject: str
    body: str
    tries: int = 0


class Mailer:
    """Sends messages one after another. `say` logs, `after` calls back later."""

    def __init__(
        self, loop: Loop, say: Callable[[Level, str], None],
        after: Callable[[Nanoseconds, Callable[[Nanoseconds], None]], None],
    ) -> None:  # fmt: skip
        self._loop = loop
        self._say = say
        self._after = after
        self._config: MailConfig | None = None
        self._queue: deque[Message] = deque()
        self._current: Message | None = None  # out of the queue: a reload or a full queue doesn't touch it
        self._lost = 0
        self._pid = self._pidfd = self._pipe = -1
        self._round = 0
        self._waiting = False
        self._leaving = False

    def load(self, config: MailConfig | None) -> None:
        """Send by these settings from now on; None: no more."""
        self._config = config
        if config is None:
            self._queue.clear()

    def send(self, subject: str, body: str) -> None:
        """Queue a message, without its `[router_id]`; nothing when nobody gets mail."""
        if self._config is None:
            return
        if len(self._queue) >= MOST:
            self._queue.popleft()
            self._lost += 1
        self._queue.append(Message(subject=_plain(subject), body=body))
        self._next()

    def pending(self) -> bool:
        """Whether something is still to be sent."""
        return self._current is not None or (bool(self._queue) and not self._waiting)

    def leave(self) -> None:
        """The daemon leaves: what fails now is not tried again, nor is what waits for its next time."""
        self._leaving = True
        if self._waiting:
            self._say(Level.WARNING, f"mail: {len(self._queue)} messages were not sent: the daemon stops")

    def _next(self) -> None:
        if self._pid >= 0 or self._waiting or not self._queue or self._config is None:
            return
        if self._lost:
            self._say(Level.WARNING, f"mail: {self._lost} messages were lost: the relay did not take them in time")
            self._lost = 0
        config = self._config
        self._current = message = self._queue.popleft()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = os.fork()
        except OSError as refused:
            os.close(reader)
            os.close(writer)
            self._failed(f"no process can be started: {refused.strerror}")
            return
        if self._pid == 0:
            _be_the_sender(config, message, writer)
        os.close(writer)
        self._pipe, self._pidfd = reader, os.pidfd_open(self._pid)
        self._round += 1
        self._loop.watch(self._pidfd, self._ended)
        limit_ns, number = EXCHANGES * config.timeout_ns, self._round
        self._after(limit_ns, lambda now: self._too_long(number, limit_ns))

    def _too_long(self, number: int, limit_ns: Nanoseconds) -> None:
        if number == self._round and self._pid > 0:
            self._say(Level.WARNING, f"mail: the conversation takes longer than {span_text(limit_ns)}: it is ended")
            os.kill(self._pid, signal.SIGKILL)

    def _ended(self) -> None:
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        said = os.read(self._pipe, SAID_BYTES).decode("utf-8", "replace")
        os.close(self._pipe)
        _, status = os.waitpid(self._pid, 0)
        self._pid = -1
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            self._current = None
            self._next()
        else:
            self._failed(said or f"ended by signal {-code}")

    def _failed(self, why: str) -> None:
        self._pid = -1
        message, self._current = self._current, None
        if message is None or self._config is None:
            return
        place = f"{self._config.server}:{self._config.port}"
        message.tries += 1
        if self._leaving or message.tries > len(WAITS):
            self._say(Level.WARNING, f"mail by {place}: {why}; given up: {message.subject}")
            self._next()
            return
        self._queue.appendleft(message)
        wait_ns = WAITS[message.tries - 1]
        self._say(Level.WARNING, f"mail by {place}: {why}; trying again in {span_text(wait_ns)}")
        self._waiting = True
        self._after(wait_ns, self._again)

    def _again(self, now: Nanoseconds) -> None:
        self._waiting = False
        self._next()


def _plain(text: str) -> str:
    """Without what would end a header."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _be_the_sender(config: MailConfig, message: Message, writer: int) -> None:
    """The whole life of the process: 0 when the relay took the message, else why not, through the pipe."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _deliver(config, message)
        status = 0
    except BaseException as failed:
        os.write(writer, f"{type(failed).__name__}: {failed}".encode("utf-8", "replace")[:SAID_BYTES])
    finally:
        os._exit(status)


def _deliver(config: MailConfig, message: Message) -> None:
    import smtplib
    from email.message import EmailMessage
    from email.utils import formatdate, parseaddr

    mail = EmailMessage()
    mail["Date"] = formatdate(localtime=True)
    mail["From"] = config.sender
    mail["Subject"] = f"[{config.router_id}] {message.subject}" if config.router_id else message.subject
    mail["X-Mailer"] = "holdfast"
    mail["To"] = ", ".join(config.recipients)
    mail.set_content(message.body)
    timeout_s = config.timeout_ns / SECOND
    with smtplib.SMTP(config.server, config.port, local_hostname=config.helo, timeout=timeout_s) as relay:
        relay.helo(config.helo)
        refused = relay.send_message(
            mail, from_addr=parseaddr(config.sender)[1], to_addrs=[parseaddr(one)[1] for one in config.recipients]
        )
    if refused:
        raise OSError(f"not taken for {', '.join(refused)}")
