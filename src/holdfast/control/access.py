"""The control socket as a file: making it, replacing a dead daemon's, and asking who is at the other end."""

import errno
import os
import socket
import stat
import struct

_LONGEST_PATH_BYTES = 107  # sun_path of unix(7), less its end


class AlreadyRunningError(OSError):
    """A living daemon holds the socket; `pid` is 0 when the kernel doesn't say."""

    def __init__(self, path: str, pid: int) -> None:
        holder = f"process {pid}" if pid else "a daemon"
        super().__init__(
            f"{holder} already answers at {path}: stop it first, or give this one its own directory with --run-dir"
        )
        self.path = path
        self.pid = pid


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Pid and uid of the process at the other end (SO_PEERCRED, unix(7))."""
    octets = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _gid = struct.unpack("=iII", octets)
    return pid, uid


class _Reach:
    """A path short enough for sun_path: a long one is reached through its directory's descriptor."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            self._fd = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.path = f"/proc/self/fd/{self._fd}/{os.path.basename(path)}"

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def connect(path: str, timeout_s: float | None) -> socket.socket:
    """A connection to the socket at `path`; OSError as connect(2) gives it. `timeout_s` 0: don't wait."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if timeout_s:  # a connect that must not block fails at once when the queue is full: this one waits
            span = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1_000_000))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
        else:
            connection.settimeout(timeout_s)
        with _Reach(path) as reachable:
            connection.connect(reachable)
        connection.settimeout(timeout_s)
    except BaseException:
        connection.close()
        raise
    return connection


def listen(path: str, backlog: int) -> socket.socket:
    """A listening socket at `path`, mode 0660, from its first moment; raises AlreadyRunningError or OSError.

    It is made beside `path` and moved there, so that a client sees the old one or the new one, never none.
    """
    _refuse_living(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    beside = f"{path}.{os.getpid()}"
    before = os.umask(0o117)
    try:
        with _Reach(beside) as reachable:
            try:
                os.unlink(beside)
            except FileNotFoundError:
                pass
            listener.bind(reachable)
        listener.listen(backlog)
        os.rename(beside, path)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _refuse_living(path: str) -> None:
    """Return when no daemon listens at `path`; anything that is not a socket is left alone with an error."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            what = "is there already and is not a socket; remove it or choose another --run-dir"
            raise FileExistsError(errno.EEXIST, what, path)
    except FileNotFoundError:
        return
    try:
        living = connect(path, 0)
    except BlockingIOError:  # so many wait that the queue is full: it lives
        raise AlreadyRunningError(path, 0) from None
    except (ConnectionRefusedError, FileNotFoundError):
        return
    with living:
        raise AlreadyRunningError(path, peer_of(living)[0])
