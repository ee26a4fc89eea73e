"""Named pipes that get a line an event, in keepalived's form, and the programs that read them.

A FIFO is opened for reading and writing: lines wait in it for a reader that comes later, and a reader that goes away
breaks nothing. A full one loses lines (counted, said), it never holds anything up.
"""

import os
import stat
from collections.abc import Iterable

import msgspec

from holdfast.base.command import Command
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config.plan import Fifo
from holdfast.edge.logs import LineLog
from holdfast.edge.scripts import RunHandle, RunResult, ScriptRunner
from holdfast.engine.messages import LowerPriorityNotice, PriorityNotice, StateNotice
from holdfast.vrrp.messages import Level

MODE = 0o644
"""Of a FIFO the daemon makes, less the umask (0600 under keepalived's default umask of 0177)."""

HELD = 4096
"""How many lines may wait, at a reload, for the readers of before to end (2 s at most, then they are killed)."""

VRRP, LVS = "vrrp", "lvs"

_SAY_LOST_NS = 10 * SECOND


class FifoRefused(Exception):
    """A FIFO can't be used; the text says which, why, and what would help."""


def state_line(notice: StateNotice) -> str:
    """`INSTANCE "VI_1" MASTER 100`; for a group the priority is 0."""
    return f'{notice.kind} "{notice.name}" {notice.state} {0 if notice.kind == "GROUP" else notice.priority}\n'


def lower_priority_line(notice: LowerPriorityNotice) -> str:
    """`INSTANCE "VI_1" MASTER_RX_LOWER_PRI 100`."""
    return f'INSTANCE "{notice.name}" MASTER_RX_LOWER_PRI {notice.priority}\n'


def priority_line(notice: PriorityNotice) -> str:
    """`INSTANCE "VI_1" BACKUP_PRIORITY 98`."""
    return f'INSTANCE "{notice.name}" {notice.state}_PRIORITY {notice.priority}\n'


class OpenFifo:
    """One FIFO, made if need be and open."""

    def __init__(self, config: Fifo) -> None:
        """Raises FifoRefused."""
        self.config = config
        self.path = config.path
        self.made_here = False
        self.lost = 0
        self.topics: set[str] = set()  # what it gets: VRRP, LVS
        try:
            self.made_here = self._make()
            self._refuse_stranger(os.lstat(self.path))
            self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            cure = "name a path in a folder that exists and may be written"
            raise FifoRefused(f"FIFO {self.path}: {(error.strerror or str(error)).lower()}; {cure}") from error
        try:
            self._refuse_stranger(os.fstat(self._fd))
        except FifoRefused:
            os.close(self._fd)
            raise

    def _make(self) -> bool:
        try:
            os.mkfifo(self.path, MODE)
        except FileExistsError:
            return False
        if self.config.uid is not None or self.config.gid is not None:
            uid, gid = self.config.uid, self.config.gid
            os.chown(self.path, -1 if uid is None else uid, -1 if gid is None else gid, follow_symlinks=False)
        return True

    def _refuse_stranger(self, found: os.stat_result) -> None:
        if not stat.S_ISFIFO(found.st_mode):
            raise FifoRefused(f"FIFO {self.path}: there is something else of that name; remove it, or choose another")
        allowed = {os.geteuid(), self.config.uid}
        if found.st_uid not in allowed:
            raise FifoRefused(f"FIFO {self.path}: it belongs to user {found.st_uid}; remove it, or chown it to "
                              f"{self.config.uid if self.config.uid is not None else os.geteuid()}")  # fmt: skip

    def write(self, line: str) -> bool:
        """Pass a line on; False when it was lost. A line is never cut (it is below PIPE_BUF)."""
        try:
            os.write(self._fd, line.encode("utf-8", "replace")[:4096])
        except OSError:
            self.lost += 1
            return False
        return True

    def close(self, *, remove: bool) -> None:
        """Close it; `remove` takes a FIFO that we made away."""
        os.close(self._fd)
        if remove and self.made_here:
            try:
                os.unlink(self.path)
            except OSError:
                return


class Fifos:
    """All FIFOs of the daemon, and their readers."""

    def __init__(self, runner: ScriptRunner, log: LineLog) -> None:
        self._runner = runner
        self._log = log
        self._open: list[OpenFifo] = []
        self._made: set[str] = set()
        self._readers: list[RunHandle] = []
        self._leaving: set[RunHandle] = set()  # readers told to end: till they have, they could take a line away
        self._to_start: list[tuple[str, Command]] = []
        self._held: list[tuple[str, str]] = []  # topic, line
        self._states: dict[tuple[str, str], str] = {}
        self._say_lost_at: Nanoseconds = 0

    def load(
        self, fifos: Iterable[Fifo | None], now: Nanoseconds, *, write_states: bool = False,
        balancing: Iterable[Fifo | None] = (),
    ) -> None:  # fmt: skip
        """Use these FIFOs from now on (at start and at each reload): all are opened anew, readers started anew.

        `balancing` are those that get the lines of real servers and quorums, `fifos` those of VRRP; one may be both.
        `write_states` repeats every state on them (`fifo_write_vrrp_states_on_reload`).
        """
        wanted: list[Fifo] = []
        topics: dict[str, set[str]] = {}
        for topic, group in ((VRRP, fifos), (LVS, balancing)):
            for fifo in group:
                if fifo is None:
                    continue
                there = next((other for other in wanted if other.path == fifo.path), None)
                if there is None:
                    wanted.append(fifo)
                elif there is not fifo:
                    self._log.say(Level.WARNING, f"FIFO {fifo.path} is named twice: each line goes there once")
                topics.setdefault(fifo.path, set()).add(topic)
        self._close(now, keep={fifo.path for fifo in wanted})
        for config in wanted:
            try:
                opened = OpenFifo(config)
            except FifoRefused as refused:
                self._log.say(Level.ERROR, f"{refused}; nothing is written to it meanwhile")
                continue
            if opened.made_here:
                self._made.add(opened.path)
            opened.made_here = opened.path in self._made
            opened.topics = topics[opened.path]
            self._open.append(opened)
            if config.script is not None:
                self._to_start.append((config.path, config.script))
        if write_states:
            for line in list(self._states.values()):
                self._write(line, now)
        if not self._leaving:
            self._go_on(now)

    def _go_on(self, now: Nanoseconds) -> None:
        """The readers of before are gone: start those of now, and write what was held back for them."""
        to_start, self._to_start = self._to_start, []
        for path, script in to_start:
            self._start_reader(path, script, now)
        held, self._held = self._held, []
        for topic, line in held:
            self._write(line, now, topic)

    def _start_reader(self, path: str, script: Command, now: Nanoseconds) -> None:
        command = msgspec.structs.replace(script, timeout_ns=0)

        def ended(result: RunResult, at: Nanoseconds) -> None:
            if reader in self._leaving:
                self._leaving.discard(reader)
                if not self._leaving:
                    self._go_on(at)
            elif reader in self._readers:
                self._readers.remove(reader)
                said = f": {result.first_lines()}" if result.first_lines() else ""
                text = f"the reader of FIFO {path}, {command.text()}, {result.outcome()}{said}; a reload starts it anew"
                self._log.say(Level.WARNING, text)

        reader = self._runner.start(command, extra_arguments=(path,), now=now, on_finished=ended)
        self._readers.append(reader)

    def state(self, notice: StateNotice, now: Nanoseconds) -> None:
        """Tell a change of state."""
        line = state_line(notice)
        if notice.state == "DELETED":
            self._states.pop((notice.kind, notice.name), None)
        else:
            self._states[notice.kind, notice.name] = line
        if not notice.quiet:
            self._write(line, now)

    def lower_priority(self, notice: LowerPriorityNotice, now: Nanoseconds) -> None:
        """Tell that a master heard an advert of lower rank."""
        self._write(lower_priority_line(notice), now)

    def priority(self, notice: PriorityNotice, now: Nanoseconds) -> None:
        """Tell a change of priority."""
        self._write(priority_line(notice), now)

    def service(self, line: str, now: Nanoseconds) -> None:
        """Tell of a real server or a quorum."""
        self._write(line, now, LVS)

    def close(self, now: Nanoseconds) -> None:
        """SIGTERM to the readers, then close; those we made go away."""
        self._close(now, keep=set())

    def _write(self, line: str, now: Nanoseconds, topic: str = VRRP) -> None:
        if self._leaving and len(self._held) < HELD:
            self._held.append((topic, line))
            return
        for fifo in self._open:
            if topic in fifo.topics and not fifo.write(line) and now >= self._say_lost_at:
                self._say_lost_at = now + _SAY_LOST_NS
                text = f"FIFO {fifo.path} is full: {fifo.lost} lines lost so far; is its reader running?"
                self._log.say(Level.WARNING, text)

    def _close(self, now: Nanoseconds, keep: set[str]) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            self._runner.cancel(reader, now)
        self._leaving |= set(readers)
        self._to_start = []
        for fifo in self._open:
            fifo.close(remove=fifo.path not in keep)
            if fifo.path not in keep:
                self._made.discard(fifo.path)
        self._open = []
