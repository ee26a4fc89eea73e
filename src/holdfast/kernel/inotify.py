"""Changes of files, told by the kernel: inotify(7)."""

import ctypes
import errno as errno_numbers
import os
import struct
from collections.abc import Iterator

from holdfast.kernel.errors import KernelRefused

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF = 0x400, 0x800
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
_IN_ONLYDIR = 0x1000000

FILES = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
PLACE = IN_DELETE_SELF | IN_MOVE_SELF
GONE = IN_UNMOUNT | IN_IGNORED | PLACE
"""The directory that was watched is no longer there, or no longer under its name."""

_EVENT = struct.Struct("=iIII")  # watch, mask, cookie, length of the name
_READ_BYTES = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One inotify instance that watches directories."""

    def __init__(self) -> None:
        self._fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            cure = "raise fs.inotify.max_user_instances" if ctypes.get_errno() == errno_numbers.EMFILE else ""
            raise KernelRefused("watch files", "", ctypes.get_errno(), cure)

    def fileno(self) -> int:
        """What to wait on."""
        return self._fd

    def watch(self, directory: str) -> int:
        """Watch what happens in a directory; the number of the watch. Raises KernelRefused."""
        number = int(_libc.inotify_add_watch(self._fd, os.fsencode(directory), FILES | PLACE | _IN_ONLYDIR))
        if number < 0:
            errno = ctypes.get_errno()
            cure = "raise fs.inotify.max_user_watches" if errno == errno_numbers.ENOSPC else ""
            raise KernelRefused("watch files in", directory, errno, cure)
        return number

    def unwatch(self, number: int) -> None:
        """Watch it no more."""
        _libc.inotify_rm_watch(self._fd, number)

    def read(self) -> Iterator[tuple[int, int, str]]:
        """What happened: watch (-1: the kernel lost events, IN_Q_OVERFLOW), mask, name within the directory."""
        try:
            octets = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(octets):
            number, mask, _, length = _EVENT.unpack_from(octets, at)
            at += _EVENT.size
            yield number, mask, os.fsdecode(octets[at : at + length].rstrip(b"\0"))
            at += length

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
