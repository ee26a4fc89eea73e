"""`reload_time_file`: a file that says when the configuration is to be read again.

Its first line is `HH:MM:SS`, `YY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS`, in local time, or with a `Z` behind it in
UTC. Written, changed or removed, it sets, moves or cancels the reload. It is removed once its hour has come, unless
`reload_repeat` keeps it: a time without a date then comes every day.
"""

import os
import re
import time
from typing import TYPE_CHECKING

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config.plan import Settings
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.inotify import GONE, IN_CREATE, Inotify
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

DAY_S = 86400

LOOK_AGAIN: Nanoseconds = 60 * SECOND
"""The wall clock may be set meanwhile: the hour is looked at again at least so often."""

_LINE = re.compile(r"(?:(\d{2}|\d{4})-(\d\d)-(\d\d) )?(\d\d):(\d\d):(\d\d)(Z?)", re.ASCII)
_FORM = "write HH:MM:SS, or YYYY-MM-DD HH:MM:SS, and a Z right behind it for UTC"


class BadTimeError(ValueError):
    """The file says no moment that is still to come; the text says why, and the cure."""


def moment(line: str, now_s: float) -> float:
    """When a reload is asked for, in seconds since 1970; `now_s` is the time now. Raises BadTimeError.

    A time without a date is today's, or tomorrow's once today's has passed; a date that has passed never comes.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadTimeError(f"{line[:60]!r} is not a time: {_FORM}")
    year, month, day, hour, minute, second, utc = found.groups()
    clock = (int(hour), int(minute), int(second))
    if clock > (23, 59, 59) or clock[1] > 59 or clock[2] > 59:
        raise BadTimeError(f"{line[:60]!r} is no time of a day: {_FORM}")
    if year is None:
        today = (time.gmtime if utc else time.localtime)(now_s)
        at = _seconds((today.tm_year, today.tm_mon, today.tm_mday), clock, bool(utc))
        if at <= now_s:
            at = _seconds((today.tm_year, today.tm_mon, today.tm_mday + 1), clock, bool(utc))
        return at
    date = (int(year) + (2000 if len(year) == 2 else 0), int(month), int(day))
    if not (1 <= date[1] <= 12 and 1 <= date[2] <= _days(date[0], date[1])):
        raise BadTimeError(f"{line[:60]!r} is no date: {_FORM}")
    at = _seconds(date, clock, bool(utc))
    if at <= now_s:
        raise BadTimeError(f"{line[:60]!r} has passed: write a moment to come")
    return at


def _days(year: int, month: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def _seconds(date: tuple[int, int, int], clock: tuple[int, int, int], utc: bool) -> float:
    parts = time.struct_time((*date, *clock, 0, 0, -1))
    if not utc:
        return time.mktime(parts)
    import calendar  # only who asks for UTC pays for it

    return float(calendar.timegm(parts))


class ReloadTime:
    """Watches the file, and reloads when its moment comes."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._inotify: Inotify | None = None
        self._path = ""
        self._repeat = False
        self._at_s: float | None = None
        self._round = 0  # timers of earlier rounds are void

    def load(self, settings: Settings) -> None:
        """Watch what these settings ask for, from now on."""
        host = self._supervisor
        self._close()
        self._path, self._repeat = settings.reload_time_file, settings.reload_repeat
        if not self._path:
            self._schedule(None)
            return
        try:
            self._inotify = Inotify()
            self._inotify.watch(os.path.dirname(self._path))
        except KernelRefused as refused:
            self._say(Level.WARNING, f"{refused}; it is not watched until the next reload")
            self._close()
        else:
            host.loop.watch(self._inotify.fileno(), self._readable)
        self._look()

    def _close(self) -> None:
        if self._inotify is not None:
            self._supervisor.loop.unwatch(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _readable(self) -> None:
        assert self._inotify is not None
        name, touched = os.path.basename(self._path), False
        for _, mask, about in self._inotify.read():
            if mask & GONE and not about:
                self._say(Level.WARNING, "its directory is gone: it is not watched until the next reload")
                self._close()
                self._schedule(None)
                return
            touched = touched or (about == name and mask != IN_CREATE)
        if touched:
            self._look()

    def _look(self) -> None:
        """Read the file, and schedule what it says."""
        at: float | None = None
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                line = file.readline(200).rstrip("\n")
            at = moment(line, time.time())
        except FileNotFoundError:
            pass
        except OSError as refused:
            self._say(Level.WARNING, f"cannot be read: {refused.strerror}")
        except BadTimeError as wrong:
            self._say(Level.WARNING, f"{wrong}; no reload is set")
        if at != self._at_s:
            when = "no reload is set any more" if at is None else f"a reload is set for {_shown(at)}"
            self._say(Level.INFO, when)
        self._schedule(at)

    def _schedule(self, at_s: float | None) -> None:
        self._at_s = at_s
        self._round += 1
        if at_s is not None:
            self._wait(self._round)

    def _wait(self, number: int) -> None:
        def due(now: Nanoseconds) -> None:
            if number == self._round and self._supervisor.stopping_at is None:
                self._wait(number)

        assert self._at_s is not None
        left_ns = round((self._at_s - time.time()) * SECOND)
        if left_ns > 0:
            self._supervisor.after(min(left_ns, LOOK_AGAIN), due)
        else:
            self._come()

    def _come(self) -> None:
        """The moment is here. The file goes first: what reads it again must not find the same moment."""
        self._schedule(None)
        if self._repeat:
            self._look()
        else:
            try:
                os.unlink(self._path)
            except OSError as refused:
                self._say(Level.WARNING, f"cannot be removed: {refused.strerror}")
        self._supervisor.reload(f"reload_time_file {self._path}")

    def _say(self, level: Level, text: str) -> None:
        self._supervisor.log.say(level, f"reload_time_file {self._path}: {text}")


def _shown(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(at_s))
