"""Counts tracked processes: the process table is read once, from then on the kernel tells.

A process counts from its fork on if its parent does, until it executes something else. Events that were lost make the
table be read again a second later. Where the kernel tells nothing (no CONFIG_PROC_EVENTS, a container), that is said,
and the table is read every second: late is better than never.
"""

import os
from collections.abc import Callable, Iterable

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.edge.loop import Loop
from holdfast.engine.messages import ProcessesCounted
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.process_events import Happening, ProcessEvents, What
from holdfast.track.config import ProcessConfig
from holdfast.track.process import matches
from holdfast.vrrp.messages import Level

Say = Callable[[Level, str], None]
After = Callable[[Nanoseconds, Callable[[Nanoseconds], None]], None]

RESCAN: Nanoseconds = SECOND
AT_ONCE = 256
"""So many messages are read before others have their turn."""


class ProcessWatch:
    """All tracked processes. `tell` gets each count that is another, and all of them by `tell_all`."""

    def __init__(
        self, loop: Loop, tell: Callable[[ProcessesCounted], None], say: Say, after: After, table: str = "/proc"
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._say = say
        self._after = after
        self._table = table
        self._events: ProcessEvents | None = None
        self._configs: dict[str, ProcessConfig] = {}
        self._found: dict[str, set[int]] = {}
        self._told: dict[str, int] = {}
        self._rescan_waits = False
        self._by_clock = False

    def load(self, configs: Iterable[ProcessConfig], buffer_bytes: int = 0, force: bool = True) -> None:
        """Count these processes from now on."""
        self._configs = {config.name: config for config in configs}
        self._found, self._told = {}, {}
        if not self._configs:
            self._close()
            return
        if self._events is None and not self._by_clock:
            try:
                self._events = ProcessEvents(buffer_bytes, force)
            except KernelRefused as refused:
                self._poll_instead(str(refused))
            else:
                self._loop.watch(self._events.fileno(), self._readable)
                self._after(SECOND, self._confirmed_by_now)
        self._scan()

    def tell_all(self) -> None:
        """Tell every count."""
        for name, count in self._told.items():
            self._tell(ProcessesCounted(name, count))

    @property
    def by_events(self) -> bool:
        """Whether the kernel tells."""
        return self._events is not None and self._events.confirmed

    def _close(self) -> None:
        if self._events is not None:
            self._loop.unwatch(self._events.fileno())
            self._events.close()
            self._events = None

    def _confirmed_by_now(self, _now: Nanoseconds) -> None:
        if self._events is not None and not self._events.confirmed:
            self._close()
            self._poll_instead("the kernel tells nothing of processes: this is not its first process namespace")

    def _poll_instead(self, why: str) -> None:
        self._by_clock = True
        self._say(Level.WARNING, f"Tracked processes: {why}; the process table is read every second instead")
        self._later()

    def _later(self) -> None:
        if not self._rescan_waits:
            self._rescan_waits = True
            self._after(RESCAN, self._rescan)

    def _rescan(self, _now: Nanoseconds) -> None:
        self._rescan_waits = False
        if self._configs:
            self._scan()
            if self._by_clock:
                self._later()
        else:
            self._by_clock = False

    # ---- the table --------------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        found: dict[str, set[int]] = {name: set() for name in self._configs}
        for entry in os.listdir(self._table):
            if entry.isdigit():
                pid = int(entry)
                for name in self._matching(pid):
                    found[name].add(pid)
        self._found = found
        self._tell_changes()

    def _matching(self, pid: int) -> list[str]:
        """The trackers that a process counts for; none when it is gone, or a zombie."""
        short, argv = self._name(pid), None
        if short is None:
            return []
        names = []
        for name, config in self._configs.items():
            if config.by_command_line and argv is None:
                argv = self._command_line(pid)
            if matches(config, short, argv or ()):
                names.append(name)
        return names

    def _name(self, pid: int) -> str | None:
        try:
            with open(f"{self._table}/{pid}/stat", "rb") as stat:
                before, _, after = stat.read().rpartition(b")")
        except OSError:
            return None
        return None if after.split()[:1] in ([b"Z"], [b"X"]) else os.fsdecode(before.partition(b"(")[2])

    def _command_line(self, pid: int) -> tuple[str, ...]:
        try:
            with open(f"{self._table}/{pid}/cmdline", "rb") as line:
                octets = line.read()
        except OSError:
            return ()
        return tuple(map(os.fsdecode, octets.removesuffix(b"\0").split(b"\0"))) if octets else ()

    # ---- events -----------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        events = self._events
        assert events is not None
        try:
            happened, lost = events.read(AT_ONCE)
        except KernelRefused as refused:
            self._close()
            self._poll_instead(str(refused))
            return
        for one in happened:
            if one.what is What.NONE:
                self._answered(events, one.error)
            else:
                self._take(one)
        if lost:
            line = f"Tracked processes: events were lost; the buffer is {events.buffer_bytes} bytes now, reading again"
            self._say(Level.WARNING, line)
            self._later()
        self._tell_changes()

    def _answered(self, events: ProcessEvents, error: int) -> None:
        if not error:
            events.confirmed = True
        elif self._events is events:
            self._close()
            self._poll_instead(str(KernelRefused("be told of processes", "", error)))

    def _take(self, one: Happening) -> None:
        if one.what is What.FORK:
            for pids in self._found.values():
                if one.parent in pids:
                    pids.add(one.pid)
        elif one.what is What.EXIT:
            for pids in self._found.values():
                pids.discard(one.pid)
        else:
            matching = self._matching(one.pid)
            for name, pids in self._found.items():
                if name in matching:
                    pids.add(one.pid)
                else:
                    pids.discard(one.pid)

    def _tell_changes(self) -> None:
        for name, pids in self._found.items():
            if self._told.get(name) != len(pids):
                self._told[name] = len(pids)
                self._tell(ProcessesCounted(name, len(pids)))
