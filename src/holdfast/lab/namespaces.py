"""Linux namespaces by direct system calls: what a lab needs, with nothing else installed.

As root everything happens directly. An ordinary user first calls `become_root_inside`, which makes a user namespace
in which the process is root; the networks made afterwards belong to it and vanish with it.
"""

import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

from holdfast.kernel.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    enter,
    private_mounts,
    unshare,
)

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class NamespacesRefusedError(Exception):
    """This machine does not let us make namespaces; the text names the cure."""


def set_host_name(name: str) -> None:
    """sethostname(2)."""
    socket.sethostname(name)


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends, however that ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def become_root_inside() -> None:
    """Make a user namespace in which this (single-threaded) process is root; NamespacesRefusedError when not allowed.

    Does nothing for root: it may make namespaces as it is.
    """
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
        private_mounts()
    except OSError as refusal:
        raise NamespacesRefusedError(_cure(refusal)) from refusal


def check_allowed() -> None:
    """NamespacesRefusedError unless networks can be made here; asks in a child, so this process stays where it is."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = b""
        try:
            become_root_inside()
            unshare(CLONE_NEWNET | CLONE_NEWNS)
        except NamespacesRefusedError as refusal:
            text = str(refusal).encode()
        except OSError as refusal:
            text = _cure(refusal).encode()
        os.write(writer, text)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        refusal_text = answer.read().decode()
    os.waitpid(child, 0)
    if refusal_text:
        raise NamespacesRefusedError(refusal_text)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _cure(refusal: OSError) -> str:
    if os.geteuid() == 0:
        return (
            f"cannot make network namespaces ({refusal.strerror}): this root lacks CAP_SYS_ADMIN, as in most "
            "containers; run on the machine itself, or give the container --privileged"
        )
    if refusal.errno == errno.ENOSPC:
        return "cannot make user namespaces: user.max_user_namespaces is used up or 0; raise it, or run as root"
    return (
        f"an ordinary user cannot make user namespaces here ({refusal.strerror}): run as root, or allow it with "
        "`sysctl kernel.unprivileged_userns_clone=1` (Debian) or `kernel.apparmor_restrict_unprivileged_userns=0` "
        "(Ubuntu)"
    )


class Namespaces:
    """A network namespace, and with it a mount and a UTS namespace, kept alive by a small holder process.

    The holder ends when `close` is called or when the process that made it ends.
    """

    def __init__(self, name: str, prepare: Callable[[], None] | None = None) -> None:
        """`prepare` runs inside, once, in the holder: private mounts and the like."""
        ready, told = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.holder = os.fork()
        if self.holder == 0:
            self._hold(name, prepare, told, parent)
        os.close(told)
        with os.fdopen(ready, "rb") as answer:
            refusal = answer.read().decode()
        if refusal:
            os.waitpid(self.holder, 0)
            raise NamespacesRefusedError(refusal)
        root = f"/proc/{self.holder}/ns"
        self.net = os.open(f"{root}/net", os.O_RDONLY | os.O_CLOEXEC)
        self.mnt = os.open(f"{root}/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self.uts = os.open(f"{root}/uts", os.O_RDONLY | os.O_CLOEXEC)
        self.net_inode = os.fstat(self.net).st_ino

    @staticmethod
    def _hold(name: str, prepare: Callable[[], None] | None, told: int, parent: int) -> None:
        try:
            die_with_parent()
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS)
            private_mounts()
            set_host_name(name)
            if prepare is not None:
                prepare()
        except OSError as refusal:
            os.write(told, _cure(refusal).encode())
            os._exit(1)
        os.close(told)
        while os.getppid() == parent:
            signal.pause()
        os._exit(0)

    def enter_all(self) -> None:
        """This process joins all three; for a child between fork and exec (its directory becomes `/`)."""
        enter(self.net, CLONE_NEWNET)
        enter(self.uts, CLONE_NEWUTS)
        enter(self.mnt, CLONE_NEWNS)

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """This thread sees this network inside the block: sockets made there stay in it."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(self.net, CLONE_NEWNET)
            try:
                yield
            finally:
                enter(home, CLONE_NEWNET)
        finally:
            os.close(home)

    def processes(self) -> list[int]:
        """The ids of all processes living in this network, the holder left out."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) in (self.holder, os.getpid()):
                continue
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino == self.net_inode:
                    found.append(int(entry))
            except OSError:
                continue  # ended meanwhile, or not ours to see
        return found

    def close(self) -> None:
        """End the holder and let go; with the last process inside, the namespaces vanish."""
        for descriptor in (self.net, self.mnt, self.uts):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.holder, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.holder, 0)
