"""The only place where reading a configuration touches the file system."""

import os
import stat
from collections.abc import Iterator

Status = os.stat_result
"""What the file system says of a file."""


class Disk:
    """Reads files as the daemon would find them. Tests put a fake in its place."""

    def read(self, path: str) -> bytes:
        """The octets of a file; OSError."""
        with open(path, "rb") as stream:
            return stream.read()

    def secret(self, path: str) -> bytes:
        """The octets of a key's file, of which no more than a key can have and a little; OSError."""
        with open(path, "rb") as stream:
            return stream.read(1024)

    def mode(self, path: str) -> int:
        """`st_mode` of what `path` leads to; OSError."""
        return os.stat(path).st_mode

    def status(self, path: str, *, follow: bool = True) -> os.stat_result:
        """What the kernel says of `path`; OSError."""
        return os.stat(path, follow_symlinks=follow)

    def real_path(self, path: str) -> str:
        """`path` without symbolic links."""
        return os.path.realpath(path)

    def here(self) -> str:
        """The current directory."""
        return os.getcwd()

    def is_directory(self, path: str) -> bool:
        """Whether `path` leads to a directory."""
        return os.path.isdir(path)

    def silent_mount(self, path: str) -> str:
        """The kind of file system `path` is on, when inotify(7) tells nothing of it (nfs, proc …); else ""."""
        best, kind = "", ""
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
                for line in table:
                    left, _, right = line.partition(" - ")
                    point = left.split()[4].replace("\\040", " ")
                    inside = point == "/" or path == point or path.startswith(point + "/")
                    if inside and len(point) >= len(best):
                        best, kind = point, right.split()[0]
        except (OSError, IndexError):
            return ""
        return kind if kind in _SILENT else ""

    def match(self, pattern: str, directory: str) -> list[str]:
        """Files that match a glob pattern (without braces), sorted; relative patterns begin at `directory`."""
        full = os.path.join(directory, pattern)
        if not any(character in pattern for character in "*?["):
            return [full] if os.path.lexists(full) else []
        import glob

        return sorted(glob.glob(full))

    def search_path(self) -> list[str]:
        """The directories commands are looked up in."""
        default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return os.environ.get("PATH", default).split(":")

    def user(self, name: str) -> tuple[int, int, tuple[int, ...]] | None:
        """uid, gid and all groups of a user, by name or number; None when there is none."""
        import pwd

        try:
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except (KeyError, OverflowError):
            return None
        return entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))

    def group(self, name: str) -> int | None:
        """gid of a group, by name or number; None when there is none."""
        import grp

        try:
            return (grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)).gr_gid
        except (KeyError, OverflowError):
            return None

    def own_user(self) -> tuple[int, int]:
        """uid and gid we run as."""
        return os.geteuid(), os.getegid()

    def interfaces(self) -> set[str]:
        """Names of the interfaces there are now."""
        import socket

        return {name for _index, name in socket.if_nameindex()}

    def resolves(self, host: str) -> bool:
        """Whether a host's name or address can be turned into an address."""
        import socket

        try:
            return bool(socket.getaddrinfo(host, None))
        except OSError:
            return False

    def host_name(self) -> str:
        """This host's name up to its first dot."""
        return os.uname().nodename.split(".")[0]

    def variables(self) -> dict[str, str]:
        """The environment, for `${_ENV NAME}`."""
        return dict(os.environ)

    def random(self, low: int, high: int) -> int:
        """A number from `low` to `high`, for `${_RANDOM}`."""
        return low + int.from_bytes(os.urandom(6), "big") % (high - low + 1)


_EXECUTABLE = os.stat_result((stat.S_IFREG | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0))
_SOMEBODY = 65534


_SILENT = frozenset(
    {
        "proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "devpts", "nfs", "nfs4", "cifs", "smb3", "smbfs",
        "ceph", "afs", "9p", "coda", "gfs2", "ocfs2", "fuse.sshfs", "fuse.glusterfs",
    }
)  # fmt: skip


class ElsewhereDisk(Disk):
    """Reads the configuration's files here, and takes every script, user and host they name to be in order."""

    def status(self, path: str, *, follow: bool = True) -> os.stat_result:
        """Whatever a script line names is an executable of root's."""
        return _EXECUTABLE

    def secret(self, path: str) -> bytes:
        """What stands for a key that only the other host has: the same for the same file."""
        return b"stands for the key in " + path.encode("utf-8", "surrogateescape")[-32:].rjust(32)

    def mode(self, path: str) -> int:
        """Nobody else can read a key."""
        return super().mode(path) if os.path.exists(path) else stat.S_IFREG | 0o600

    def variables(self) -> dict[str, str]:
        """The environment, and a place for credentials."""
        return {"CREDENTIALS_DIRECTORY": "/run/credentials", **super().variables()}

    def silent_mount(self, path: str) -> str:
        """Every file system tells of changes."""
        return ""

    def user(self, name: str) -> tuple[int, int, tuple[int, ...]] | None:
        """Every user is there."""
        return _SOMEBODY, _SOMEBODY, ()

    def group(self, name: str) -> int | None:
        """Every group is there."""
        return _SOMEBODY

    def own_user(self) -> tuple[int, int]:
        """The daemon runs as root."""
        return 0, 0

    def resolves(self, host: str) -> bool:
        """Every host has an address."""
        return True

    def random(self, low: int, high: int) -> int:
        """Always the lowest: a simulation repeats itself."""
        return low


def alternatives(pattern: str) -> Iterator[str]:
    """`pattern` for each alternative of its braces: `{a,b}/c` gives `a/c` and `b/c`."""
    start = pattern.find("{")
    depth = 0
    for index in range(start, len(pattern)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(pattern[index], 0)
        if depth == 0:
            for piece in _split_commas(pattern[start + 1 : index]):
                yield from alternatives(pattern[:start] + piece + pattern[index + 1 :])
            return
    yield pattern


def _split_commas(text: str) -> Iterator[str]:
    depth = start = 0
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield text[start:index]
            start = index + 1
    yield text[start:]


def unfit(mode: int) -> str:
    """Why a file of this mode can't be a configuration file, "" when it can."""
    if stat.S_ISDIR(mode):
        return "is a directory"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    if mode & 0o111:
        return "is executable"
    return ""
