"""`RUN_DIR/events.jsonl`: what happened, when and why, a line each, kept across restarts. The supervisor writes it.

Bounded twice: a file that has grown to a megabyte becomes `events.jsonl.1`, in place of the one before; and of one
thing that flaps only so many entries are written, the latest always among them. A disk that refuses hurts nobody:
what cannot be written waits, a bounded lot of it, and the log says so once.
"""

import os
from collections.abc import Callable

import msgspec

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.edge.clock import wall_text
from holdfast.edge.logs import LineLog
from holdfast.engine.journal import FILE, Entry, Narrator
from holdfast.engine.messages import AnyNotice
from holdfast.vrrp.messages import Level

LARGEST_BYTES = 1_000_000
"""A file of this size is put aside before more is written."""

WAITING_BYTES = 512 * 1024
"""What may wait for a disk that refuses; beyond it the oldest goes."""

BURST = 60
PERIOD_NS: Nanoseconds = 10 * SECOND
"""Of one thing (a kind and a name) so many entries may come at once, and one a period in the long run."""

MOST_THINGS = 10_000
_RETRY_NS: Nanoseconds = 5 * SECOND

TAIL_BYTES = 256 * 1024
START, ENDS = "started", ("stopped", "supervisor killed")
"""What the daemon's own entries say when it begins, and when it ends in an orderly way."""


def _says(what: str) -> bytes:
    return b'"kind":"daemon","name":"","what":"%s"' % what.encode()


_START = _says(START)


class Pace:
    """How often one thing is written; what is too much is held back, and the latest of it comes when there is room."""

    def __init__(self) -> None:
        self._full_at: dict[tuple[str, str, str], Nanoseconds] = {}  # when the thing's whole burst is there again
        self._held: dict[tuple[str, str, str], tuple[Entry, int]] = {}

    def pass_on(self, entry: Entry, now: Nanoseconds) -> Entry | None:
        """The entry, when it may be written now; else it is held, in place of one held before."""
        key = (entry.kind, entry.of, entry.name)
        held = self._held.get(key)
        full_at = max(self._full_at.get(key, 0), now)
        if held is None and full_at - now <= (BURST - 1) * PERIOD_NS:
            if len(self._full_at) >= MOST_THINGS:
                self._full_at = {other: at for other, at in self._full_at.items() if at > now}
            self._full_at[key] = full_at + PERIOD_NS
            return entry
        self._held[key] = (entry, held[1] + 1 if held else 0)
        return None

    def due_at(self) -> Nanoseconds | None:
        """When something held may be written."""
        return min((self._full_at[key] - (BURST - 1) * PERIOD_NS for key in self._held), default=None)

    def due(self, now: Nanoseconds) -> list[Entry]:
        """What was held and may be written now, each with the number of those left out before it."""
        ready = [key for key in self._held if self._full_at[key] - (BURST - 1) * PERIOD_NS <= now]
        for key in ready:
            self._full_at[key] += PERIOD_NS
        return [_marked(*self._held.pop(key)) for key in ready]

    def rest(self) -> list[Entry]:
        """Everything held, at the end."""
        held, self._held = self._held, {}
        return [_marked(entry, left_out) for entry, left_out in held.values()]


def _marked(entry: Entry, left_out: int) -> Entry:
    return msgspec.structs.replace(entry, left_out=left_out)


class Journal:
    """The file of events. Call `on_due` at `due_at()`; nothing here raises over what a disk does."""

    def __init__(self, run_dir: str, log: LineLog, wall: Callable[[Nanoseconds], str] = wall_text) -> None:
        self.path = os.path.join(run_dir, FILE)
        self._log = log
        self._wall = wall
        self._narrator = Narrator()
        self.on_entry: Callable[[], None] = lambda: None  # something was noted
        self._pace = Pace()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._fd = -1
        self._due_at: Nanoseconds | None = None
        self._failed = ""

    def unfinished(self) -> bool:
        """Whether the last run that the file knows of began, and did not say that it ended."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            octets = os.pread(fd, TAIL_BYTES, max(os.fstat(fd).st_size - TAIL_BYTES, 0))
        except OSError:
            return False
        finally:
            os.close(fd)
        return octets.rfind(_START) > max(octets.rfind(_says(end)) for end in ENDS)

    # ---- in -----------------------------------------------------------------------------------------------------

    def take(self, notice: AnyNotice, now: Nanoseconds) -> None:
        """Note what a notice of the worker's comes to."""
        entry = self._narrator.entry(notice, self._wall(now))
        if entry is not None:
            self._note(entry, now)

    def say(
        self, kind: str, name: str, what: str, cause: str, now: Nanoseconds, *, by: str = "", uid: int | None = None,
        changes: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Note an event that the supervisor knows of; `kind` is reload, command or daemon."""
        self._note(
            Entry(time=self._wall(now), kind=kind, name=name, what=what, cause=cause, by=by, uid=uid, changes=changes),
            now,
        )

    def _note(self, entry: Entry, now: Nanoseconds) -> None:
        passed = self._pace.pass_on(entry, now)
        if passed is not None:
            self._queue(passed, now)
        self.on_entry()

    def _queue(self, entry: Entry, now: Nanoseconds) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        while self._waiting_bytes > WAITING_BYTES:
            self._waiting_bytes -= len(self._waiting.pop(0))
            self._lost += 1
        if self._due_at is None:
            self._due_at = now

    # ---- out ----------------------------------------------------------------------------------------------------

    def due_at(self) -> Nanoseconds | None:
        """When there is something to write."""
        held_at = self._pace.due_at()
        if self._due_at is None or held_at is None:
            return held_at if self._due_at is None else self._due_at
        return min(self._due_at, held_at)

    def on_due(self, now: Nanoseconds) -> None:
        """Write what waits."""
        for entry in self._pace.due(now):
            self._queue(entry, now)
        if self._due_at is None or now < self._due_at:
            return
        self._due_at = None
        try:
            self._write()
        except OSError as refused:
            self._close()
            why = f"cannot write {self.path}: {(refused.strerror or str(refused)).lower()}"
            if why != self._failed:
                cure = "make room there, or choose another --run-dir; trying again each 5 s, all else goes on"
                self._log.say(Level.WARNING, f"{why}; {cure}")
            self._failed = why
            self._due_at = now + _RETRY_NS
            return
        if self._failed:
            self._failed = ""
            self._log.say(Level.INFO, f"{self.path} can be written again")
        if self._lost:
            lost, self._lost = self._lost, 0
            self.say("daemon", "", "events lost", f"{lost} could not be written in time", now)

    def _write(self) -> None:
        """Write what waits, in pieces that end where a line ends; raises OSError, and keeps what it could not."""
        while self._waiting:
            size = self._open()
            if size >= LARGEST_BYTES:
                self._put_aside()
                continue
            count = octets = 0
            for line in self._waiting:
                octets += len(line)
                count += 1
                if size + octets >= LARGEST_BYTES:
                    break
            piece = b"".join(self._waiting[:count])
            written = os.write(self._fd, piece)
            if written != len(piece):
                os.ftruncate(self._fd, size)  # half a line is worse than none
                raise OSError(28, os.strerror(28))
            del self._waiting[:count]
            self._waiting_bytes -= octets

    def _put_aside(self) -> None:
        """The full file becomes the one before; where that can't be, it begins anew."""
        try:
            os.replace(self.path, f"{self.path}.1")
        except OSError:
            os.ftruncate(self._fd, 0)
        self._close()

    def _open(self) -> int:
        """Have the file that the path names now open; its size."""
        if self._fd >= 0:
            seen = os.fstat(self._fd)
            if self._is_named(seen):
                return seen.st_size
            self._close()  # somebody removed or renamed it: begin another
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o640)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            size += os.write(self._fd, b"\n")  # what a dead run left half done
        return size

    def _is_named(self, seen: os.stat_result) -> bool:
        try:
            named = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (seen.st_dev, seen.st_ino)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def close(self, now: Nanoseconds) -> None:
        """Write the rest and let the file go."""
        for entry in self._pace.rest():
            self._queue(entry, now)
        if self._due_at is not None:
            self._due_at = now
        self.on_due(now)
        self._close()
        self._due_at = None
