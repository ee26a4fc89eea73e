"""The log: one line in, out to every sink; none of them can hold the daemon up.

A sink that can't take a line now keeps it in a bounded queue and tries again; what doesn't fit is counted, and said
once there is room. Sinks: standard error (as the journal likes it, when the journal reads it), syslog, a file in
keepalived's line form, JSON lines.
"""

import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from holdfast import __version__
from holdfast.base.problem import Grade, Problem
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.engine.messages import LogLine
from holdfast.vrrp.messages import Level

SEVERITY = {Level.ERROR: 3, Level.WARNING: 4, Level.INFO: 6, Level.DEBUG: 7}
"""Syslog's severities (RFC 5424 §6.2.1)."""

FACILITIES = {"kern": 0, "user": 1, "daemon": 3} | {f"local{n}": 16 + n for n in range(8)}
"""Syslog's facilities, those that keepalived's `-S` takes (RFC 5424 §6.2.1)."""

WAITING_BYTES = 1 << 18
"""How much a sink that takes nothing may have waiting."""

_TRY_AGAIN_NS = 50 * MILLISECOND
_LINE_BYTES = 8192
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: " ", 10: "\\n", 13: "\\r"}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line: when (wall clock, ns), who, how bad, what; `category` only for debug lines."""

    wall_ns: int
    ident: str
    pid: int
    level: Level
    text: str
    category: str = ""


class LineLog(Protocol):
    """What the daemon's parts need of a log."""

    def say(self, level: Level, text: str, category: str = "") -> None:
        """Log one line."""


Form = Callable[[Record], bytes]


class _Clock:
    """The text of a second, made once a second."""

    def __init__(self, make: Callable[[time.struct_time], str]) -> None:
        self._make = make
        self._second = -1
        self._text = ""

    def text(self, wall_ns: int) -> str:
        second = wall_ns // SECOND
        if second != self._second:
            self._second, self._text = second, self._make(time.localtime(second))
        return self._text


_console_clock = _Clock(time.asctime)
_syslog_clock = _Clock(lambda t: f"{_MONTHS[t.tm_mon - 1]} {t.tm_mday:2d} {time.strftime('%H:%M:%S', t)}")
_json_clock = _Clock(lambda t: time.strftime("%Y-%m-%dT%H:%M:%S|%z", t))


def console_form(record: Record) -> bytes:
    """As keepalived on its console and in its file: `Sun Nov 22 22:32:12 2026: (VI_1) Entering MASTER STATE`."""
    return f"{_console_clock.text(record.wall_ns)}: {record.text}\n".encode("utf-8", "replace")


def journal_form(record: Record) -> bytes:
    """For a standard error that the journal reads: `<6>(VI_1) Entering MASTER STATE` (sd-daemon(3))."""
    return f"<{SEVERITY[record.level]}>{record.text}\n".encode("utf-8", "replace")


def syslog_form(facility: int) -> Form:
    """For a local syslog socket: `<30>Nov 22 22:32:12 Keepalived_vrrp[123]: text` (RFC 3164 §4.1, no host name)."""

    def form(record: Record) -> bytes:
        head = f"<{facility * 8 + SEVERITY[record.level]}>{_syslog_clock.text(record.wall_ns)}"
        return f"{head} {record.ident}[{record.pid}]: {record.text}".encode("utf-8", "replace")

    return form


def json_form(record: Record) -> bytes:
    """One JSON document a line: time (ISO 8601, local), level, ident, pid, text, category."""
    date, zone = _json_clock.text(record.wall_ns).split("|")
    when = f"{date}.{record.wall_ns % SECOND // 1000:06d}{zone[:3]}:{zone[3:]}"
    line = {"time": when, "level": record.level, "ident": record.ident, "pid": record.pid, "text": record.text}
    if record.category:
        line["category"] = record.category
    return msgspec.json.encode(line) + b"\n"


# ---- sinks ----------------------------------------------------------------------------------------------------------


class Sink:
    """Where lines go. `_send` gives False when it can't take a line now; what waits is bounded."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.accepts: Callable[[Record], bool] = lambda record: True
        self.lost = 0  # lines that were dropped and not yet spoken of
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0

    def write(self, record: Record) -> None:
        """Pass a line on, or keep it, or count it as lost."""
        line = self.form(record)
        if len(line) > _LINE_BYTES:
            line = line[: _LINE_BYTES - 1] + line[-1:]
        if self._waiting or self.lost or not self._send(line):
            if self._waiting_bytes + len(line) > WAITING_BYTES:
                self.lost += 1
            else:
                self._waiting.append(line)
                self._waiting_bytes += len(line)

    def flush(self) -> bool:
        """Pass on what waits; True when nothing waits any more."""
        while self._waiting:
            if not self._send(self._waiting[0]):
                return False
            self._waiting_bytes -= len(self._waiting.popleft())
        return True

    def pending(self) -> bool:
        """Whether `flush` should be called again."""
        return bool(self._waiting or self.lost)

    def reopen(self) -> None:
        """Begin anew, for a file that was moved away."""

    def close(self) -> None:
        """Pass on what can be passed on and let go."""
        self.flush()

    def _send(self, line: bytes) -> bool:
        raise NotImplementedError


class StreamSink(Sink):
    """A descriptor that others share (standard error): never made non-blocking under their hands, never waited for."""

    def __init__(self, fd: int, form: Form) -> None:
        super().__init__(form)
        self._socket: socket.socket | None = None
        kind = os.fstat(fd).st_mode
        self._own = os.dup(fd)
        self._may_block = False
        if stat.S_ISSOCK(kind):
            self._socket = socket.socket(fileno=self._own)
        elif stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            try:  # an open file description of our own, which may be non-blocking
                opened = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:
                self._may_block = True
            else:
                os.close(self._own)
                self._own = opened
        self._poll = select.poll()
        self._poll.register(self._own, select.POLLOUT)

    def _send(self, line: bytes) -> bool:
        try:
            if self._may_block and not self._poll.poll(0):
                return False
            if self._socket is not None:
                sent = self._socket.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            else:
                sent = os.write(self._own, line)
        except BlockingIOError:
            return False
        except OSError:  # nobody reads any more (EPIPE, EIO): the line is of no use to anyone
            return True
        if sent < len(line):
            self._waiting.appendleft(line[sent:])
            self._waiting_bytes += len(line) - sent
        return True

    def flush(self) -> bool:
        """Pass on what waits; True when nothing waits any more."""
        while self._waiting:
            line = self._waiting.popleft()
            self._waiting_bytes -= len(line)
            before = len(self._waiting)
            if not self._send(line):
                self._waiting.appendleft(line)
                self._waiting_bytes += len(line)
                return False
            if len(self._waiting) > before:
                return False
        return True

    def close(self) -> None:
        """Pass on what can be passed on and let go of our copy."""
        self.flush()
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._own)


class SyslogSink(Sink):
    """The local syslog daemon. While it isn't there, lines wait; it is looked for again once a second."""

    def __init__(self, facility: int = FACILITIES["daemon"], path: str = "/dev/log",
                 monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:  # fmt: skip
        super().__init__(syslog_form(facility))
        self._path = path
        self._monotonic_ns = monotonic_ns
        self._socket: socket.socket | None = None
        self._look_again_at = 0

    def _send(self, line: bytes) -> bool:
        if self._socket is None and not self._connect():
            return False
        assert self._socket is not None
        try:
            self._socket.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:  # the daemon was restarted: its new socket is another one
            self._socket.close()
            self._socket = None
            return False
        return True

    def _connect(self) -> bool:
        now = self._monotonic_ns()
        if now < self._look_again_at:
            return False
        self._look_again_at = now + SECOND
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            return False
        self._socket = made
        return True

    def close(self) -> None:
        """Pass on what can be passed on and hang up."""
        self.flush()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class FileSink(Sink):
    """A file of lines, appended to. Without `flush_each`, lines are written together, ten times a second."""

    def __init__(self, path: str, form: Form = console_form, *, flush_each: bool = False, mode: int = 0o644) -> None:
        """Raises OSError when the file can't be opened; `mode` is reduced by the umask."""
        super().__init__(form)
        self.path = path
        self._flush_each = flush_each
        self._mode = mode
        self._fd = self._open()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(self.path, flags, self._mode)

    def _send(self, line: bytes) -> bool:
        if not self._flush_each:
            return False  # waits for `flush`
        return self._put(line)

    def _put(self, lines: bytes) -> bool:
        try:
            written = os.write(self._fd, lines)
        except OSError:
            return False
        if written < len(lines):  # a full disk: what is left of these lines is lost
            self.lost += max(1, lines[written:].count(b"\n"))
        return True

    def flush(self) -> bool:
        """Write what waits; True when nothing waits any more."""
        if self._waiting and not self._put(b"".join(self._waiting)):
            return False
        self._waiting.clear()
        self._waiting_bytes = 0
        return True

    def reopen(self) -> None:
        """Open the path anew (after log rotation); the old file stays in use when that fails."""
        self.flush()
        try:
            fd = self._open()
        except OSError:
            return
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        """Write what waits and close."""
        self.flush()
        os.close(self._fd)


def read_by_journal(fd: int = 2, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the journal reads this descriptor: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


# ---- the log --------------------------------------------------------------------------------------------------------


class Log:
    """Lines from anywhere in the daemon, to all sinks. Call `on_due` at `due_at()`."""

    def __init__(self, ident: str, sinks: Iterable[Sink] = (), *, debug: Iterable[str] = (),
                 wall_ns: Callable[[], int] = time.time_ns,
                 monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:  # fmt: skip
        """`debug`: the categories whose debug lines are wanted; `all` wants every one."""
        self.ident = ident
        self.suffix = ""  # follows every ident
        self.sinks = list(sinks)
        self.debug = frozenset(debug)
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._try_at: Nanoseconds | None = None

    def say(self, level: Level, text: str, category: str = "", *, ident: str = "", pid: int = 0) -> None:
        """Log one line; `ident` and `pid` when it is another process's. Control characters are shown, not sent."""
        if level is Level.DEBUG and category not in self.debug and "all" not in self.debug:
            return
        record = Record(
            wall_ns=self._wall_ns(),
            ident=(ident or self.ident) + self.suffix,
            pid=pid or os.getpid(),
            level=level,
            text=text if text.isprintable() else text.translate(_CONTROL),
            category=category,
        )
        for sink in self.sinks:
            if sink.accepts(record):
                sink.write(record)
        if self._try_at is None and any(sink.pending() for sink in self.sinks):
            self._try_at = self._monotonic_ns() + _TRY_AGAIN_NS

    def line(self, line: LogLine, pid: int = 0) -> None:
        """Log a line that the vrrp worker handed over."""
        self.say(line.level, line.text, line.category, ident=f"{self.ident}_vrrp", pid=pid)

    def problem(self, problem: Problem) -> None:
        """Log a problem of the configuration: where, what, the cure; then the line and the caret under the word."""
        for text in problem.text().split("\n"):
            self.say(_GRADES[problem.grade], text)

    def say_error(self, text: str) -> None:
        """A line somebody should act on now."""
        self.say(Level.ERROR, text)

    def say_start(self, problems: Sequence[Problem]) -> None:
        """The first line of a run: who we are, and how the configuration was."""
        counts = [(sum(p.grade is grade for p in problems), grade) for grade in (Grade.ERROR, Grade.WARNING)]
        found = " and ".join(f"{count} {grade}{'s' if count > 1 else ''}" for count, grade in counts if count)
        configuration = f"; the configuration has {found}" if found else ""
        self.say(Level.INFO, f"Starting holdfast v{__version__}{configuration}")

    def due_at(self) -> Nanoseconds | None:
        """When sinks that couldn't take a line are to be tried again; None when nothing waits."""
        return self._try_at

    def on_due(self, now: Nanoseconds) -> None:
        """Pass on what waits in the sinks, and say what they lost."""
        if self._try_at is None or now < self._try_at:
            return
        self.flush()
        waits = any(sink.pending() for sink in self.sinks)
        self._try_at = now + _TRY_AGAIN_NS if waits else None

    def flush(self) -> None:
        """Pass on what can be passed on without waiting."""
        for sink in self.sinks:
            if sink.flush() and sink.lost:
                lost, sink.lost = sink.lost, 0
                text = f"{lost} lines were lost here: this log could not be written for a while"
                ident = self.ident + self.suffix
                sink.write(Record(wall_ns=self._wall_ns(), ident=ident, pid=os.getpid(), level=Level.WARNING,
                                  text=text))  # fmt: skip

    def reopen(self) -> None:
        """Open files anew (at a reload)."""
        for sink in self.sinks:
            sink.reopen()

    def close(self) -> None:
        """Pass on what can be passed on without waiting, and close."""
        self.flush()
        for sink in self.sinks:
            sink.close()
        self.sinks.clear()


_GRADES = {Grade.ERROR: Level.ERROR, Grade.WARNING: Level.WARNING, Grade.ADVICE: Level.INFO}


class LogOptions(Protocol):
    """What the command line may say about the log."""

    @property
    def compatible(self) -> bool:
        """Stand in for keepalived: its idents and file names."""

    @property
    def log_console(self) -> bool:
        """To standard error."""

    @property
    def log_syslog(self) -> bool:
        """To the local syslog daemon."""

    @property
    def log_facility(self) -> int:
        """Syslog's facility, by number."""

    @property
    def log_file(self) -> str:
        """To this file; empty: to none."""

    @property
    def log_flush(self) -> bool:
        """Write the file line by line."""

    @property
    def log_json(self) -> bool:
        """JSON lines on standard error and in the file."""

    @property
    def log_detail(self) -> int:
        """0: no debug lines; 1: what scripts print; 2: all."""


def open_log(options: LogOptions) -> Log:
    """The log that the command line asks for. A file that can't be opened is said in the others."""
    log = Log("Keepalived" if options.compatible else "holdfast")
    log.debug = frozenset([(), ("script",), ("all",)][min(options.log_detail, 2)])
    form = json_form if options.log_json else console_form
    if options.log_console:
        journal = not options.log_json and read_by_journal()
        log.sinks.append(StreamSink(2, journal_form if journal else form))
    if options.log_syslog:
        log.sinks.append(SyslogSink(options.log_facility))
    if options.log_file:
        _open_files(log, options, form)
    return log


def _open_files(log: Log, options: LogOptions, form: Form) -> None:
    """The log file; standing in for keepalived, the worker's lines have one of their own: `x.log`, `x_vrrp.log`."""
    head, dot, tail = options.log_file.rpartition(".")
    vrrp = f"{head}_vrrp.{tail}" if dot and "/" not in tail else f"{options.log_file}_vrrp"
    files: list[tuple[str, bool | None]] = [(options.log_file, None)]
    if options.compatible:
        files = [(options.log_file, False), (vrrp, True)]
    for path, of_worker in files:
        try:
            sink = FileSink(path, form, flush_each=options.log_flush)
        except OSError as refused:
            log.say_error(f"cannot open the log file {path}: {(refused.strerror or str(refused)).lower()}; "
                          "name one in a folder that exists and may be written; going on without it")  # fmt: skip
            continue
        if of_worker is not None:
            sink.accepts = _from_worker if of_worker else _not_from_worker
        log.sinks.append(sink)


def _from_worker(record: Record) -> bool:
    return "_vrrp" in record.ident


def _not_from_worker(record: Record) -> bool:
    return not _from_worker(record)


class Limited:
    """Lines that may come at packet rate: a key gets `per_s` lines a second, what exceeds is counted and summed up."""

    KEYS = 1024

    def __init__(self, log: LineLog, per_s: float = 1.0) -> None:
        self._log = log
        self._pause_ns = round(SECOND / per_s)
        self._keys: dict[str, list[int]] = {}  # key → when it may speak again, lines held back, first of them
        self._last: dict[str, tuple[Level, str]] = {}

    def say(self, key: str, level: Level, text: str, now: Nanoseconds) -> None:
        """Log `text`, unless `key` has just been spoken of."""
        known = self._keys.get(key)
        if known is None or (now >= known[0] and not known[1]):
            if known is None and len(self._keys) >= self.KEYS:
                self._forget(next(iter(self._keys)), now)
            self._keys[key] = [now + self._pause_ns, 0, now]
            self._log.say(level, text)
            return
        if not known[1]:
            known[2] = now
        known[1] += 1
        self._last[key] = (level, text)
        if now >= known[0]:
            self._sum_up(key, now)

    def due_at(self) -> Nanoseconds | None:
        """When something held back is to be summed up."""
        return min((self._keys[key][0] for key in self._last), default=None)

    def on_due(self, now: Nanoseconds) -> None:
        """Sum up what was held back."""
        for key in [key for key in self._last if self._keys[key][0] <= now]:
            self._sum_up(key, now)

    def _sum_up(self, key: str, now: Nanoseconds) -> None:
        level, text = self._last.pop(key)
        known = self._keys[key]
        again = f" (the last of {known[1]} like it in {max(1, round((now - known[2]) / SECOND))} s)"
        self._log.say(level, text + (again if known[1] > 1 else ""))
        # A key that never falls silent is spoken of less and less, down to once in 64 pauses.
        pause = min(max(now - known[2], self._pause_ns) * 2, 64 * self._pause_ns) if known[1] > 1 else self._pause_ns
        self._keys[key] = [now + pause, 0, now]

    def _forget(self, key: str, now: Nanoseconds) -> None:
        if key in self._last:
            self._sum_up(key, now)
        del self._keys[key]
