"""The one place that waits: file descriptors, and one deadline to the microsecond."""

import select
from collections.abc import Callable

from holdfast.base.time import Nanoseconds
from holdfast.kernel.timer import Timer

Callback = Callable[[], None]


class Loop:
    """Calls back for descriptors that can be read or written; wakes at the armed deadline."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._timer = Timer()
        self._timer_fd = self._timer.fileno()
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._epoll.register(self._timer_fd, select.EPOLLIN)

    def watch(self, fd: int, callback: Callback, writable: bool = False) -> None:
        """Call `callback` whenever `fd` can be read (or written); replaces an earlier callback of that kind."""
        known = fd in self._readers or fd in self._writers
        (self._writers if writable else self._readers)[fd] = callback
        self._set(fd, known)

    def unwatch(self, fd: int, writable: bool | None = None) -> None:
        """Stop watching `fd` for reading, for writing or (None) both; unknown descriptors are left aside."""
        known = fd in self._readers or fd in self._writers
        if writable is not True:
            self._readers.pop(fd, None)
        if writable is not False:
            self._writers.pop(fd, None)
        if known:
            self._set(fd, known)

    def _set(self, fd: int, known: bool) -> None:
        mask = (select.EPOLLIN if fd in self._readers else 0) | (select.EPOLLOUT if fd in self._writers else 0)
        try:
            if not mask:
                self._epoll.unregister(fd)
            elif known:
                self._epoll.modify(fd, mask)
            else:
                self._epoll.register(fd, mask)
        except (FileNotFoundError, OSError):
            if mask:
                raise

    def wait(self, deadline: Nanoseconds | None, idle: bool = True) -> None:
        """Wait until something can be done or `deadline` has come, then call back; `idle` False: don't wait at all."""
        self._timer.arm(deadline)
        for fd, events in self._epoll.poll(-1 if idle else 0):
            if fd == self._timer_fd:
                self._timer.clear()
                continue
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                reader = self._readers.get(fd)
                if reader is not None:
                    reader()
                elif not events & select.EPOLLOUT and fd not in self._writers:
                    self.unwatch(fd)
            if events & (select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR):
                writer = self._writers.get(fd)
                if writer is not None:
                    writer()

    def close(self) -> None:
        """Give the descriptors back; what was watched stays open."""
        self._timer.close()
        self._epoll.close()
