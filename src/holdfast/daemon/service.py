"""What the daemon owes its service manager: readiness, reload, stop, a watchdog, and pid files that are locks."""

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import MutableMapping
from typing import Protocol

from holdfast.base.time import Nanoseconds
from holdfast.edge.clock import monotonic_ns

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid


class AlreadyRunning(Exception):
    """Another daemon holds the pid file; `pid` is its number."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(f"another daemon is running already with pid {pid} ({path} is locked): "
                         "stop it, or give this one a --run-dir of its own")  # fmt: skip
        self.path = path
        self.pid = pid


class PidFile:
    """A pid file that this process holds locked (fcntl(2) record lock: it goes with the process, however it ends)."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def acquire(cls, path: str) -> "PidFile":
        """Take `path` and write our pid there, mode 0644. Raises AlreadyRunning, or OSError when it can't be."""
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                holder = _lock_holder(fd) or _written_pid(fd)
                os.close(fd)
                raise AlreadyRunning(path, holder) from None
            if _is_at(fd, path):
                break
            os.close(fd)  # its last holder removed it between our opening and our locking
        os.fchmod(fd, 0o644)
        with contextlib.suppress(OSError):  # a full disk: the lock is what counts, and it tells our pid
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        return cls(path, fd)

    def release(self) -> None:
        """Remove the file, then let go of the lock."""
        if _is_at(self._fd, self.path):
            os.unlink(self.path)
        os.close(self._fd)


def _is_at(fd: int, path: str) -> bool:
    ours = os.fstat(fd)
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _lock_holder(fd: int) -> int:
    """Who holds the lock, as the kernel knows it; 0 when nobody does (any more) or it is in another pid namespace."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return int(pid) if kind != fcntl.F_UNLCK and pid > 0 else 0


def _written_pid(fd: int) -> int:
    text = os.pread(fd, 32, 0).split()
    return int(text[0]) if text and text[0].isdigit() else 0


class Notifier:
    """sd_notify(3) and the watchdog: datagrams to NOTIFY_SOCKET. Without a service manager every call does nothing."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Takes its variables out of `environment`: the programs we start must not speak for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval_us = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid()))
        self._socket: socket.socket | None = None
        self.watchdog_ns: Nanoseconds = 0
        if address[:1] not in ("/", "@"):
            return
        self._address = "\0" + address[1:] if address[0] == "@" else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        if interval_us.isdigit() and watched == str(os.getpid()):
            self.watchdog_ns = int(interval_us) * 1000

    def send(self, *assignments: str) -> None:
        """Pass on `NAME=value` lines; a service manager that doesn't listen is left alone."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode("utf-8", "replace"), self._address)
        except OSError:
            return

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class ServiceOptions(Protocol):
    """What the command line says about pid files."""

    @property
    def run_dir(self) -> str:
        """Where they are by default."""

    @property
    def parent_pid_file(self) -> str:
        """The supervisor's; empty: `holdfast.pid` in the run directory."""

    @property
    def vrrp_pid_file(self) -> str:
        """The vrrp worker's; empty: `vrrp.pid` in the run directory."""


class Service:
    """The daemon as its service manager, and a second daemon, see it."""

    def __init__(self, options: ServiceOptions, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes the supervisor's pid file: raises AlreadyRunning, or OSError. Call it in the process that stays."""
        self._notifier = Notifier(environment)
        self._pid_file = PidFile.acquire(options.parent_pid_file or os.path.join(options.run_dir, "holdfast.pid"))
        self._vrrp_path = options.vrrp_pid_file or os.path.join(options.run_dir, "vrrp.pid")
        self._vrrp_pid = 0
        self._status = ""
        self._feed_at: Nanoseconds | None = monotonic_ns() if self._notifier.watchdog_ns else None

    def worker_started(self, pid: int) -> None:
        """Write the vrrp worker's pid file; it is a note, the supervisor's is the lock."""
        self._vrrp_pid = pid
        beside = f"{self._vrrp_path}.new"
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                os.fchmod(fd, 0o644)
                os.write(fd, b"%d\n" % pid)
            finally:
                os.close(fd)
            os.replace(beside, self._vrrp_path)
        except OSError as refused:
            self.say_status(f"cannot write {self._vrrp_path}: {refused.strerror}")

    def ready(self, status: str = "") -> None:
        """Started, or done with a reload."""
        self._status = status
        self._notifier.send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={_one_line(status)}")

    def say_status(self, status: str) -> None:
        """The line that `systemctl status` shows."""
        if status != self._status:
            self._status = status
            self._notifier.send(f"STATUS={_one_line(status)}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self) -> None:
        """The daemon leaves."""
        self._notifier.send("STOPPING=1", "STATUS=leaving")

    def due_at(self) -> Nanoseconds | None:
        """When the watchdog wants to hear from us."""
        return self._feed_at

    def on_due(self, now: Nanoseconds, alive: bool = True) -> None:
        """Feed the watchdog, at half its interval, as long as the daemon's parts are `alive`."""
        if self._feed_at is None or now < self._feed_at:
            return
        self._feed_at = now + self._notifier.watchdog_ns // 2
        if alive:
            self._notifier.send("WATCHDOG=1")

    def close(self) -> None:
        """Remove the pid files."""
        if self._vrrp_pid:
            try:
                with open(self._vrrp_path, "rb") as written:
                    ours = written.read(32).strip() == b"%d" % self._vrrp_pid
                if ours:
                    os.unlink(self._vrrp_path)
            except OSError:
                pass
        self._pid_file.release()
        self._notifier.close()


def _one_line(text: str) -> str:
    return " ".join(text.split())
