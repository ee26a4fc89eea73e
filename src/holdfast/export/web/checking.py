"""`/api/check`: a configuration that somebody sent, read in a short-lived process whose time and memory are bounded.

Only what was sent is read: an `include` of a file of this host finds nothing, nor does `${_ENV …}`. Scripts, users and
hosts are those of this host, as far as a process without privileges sees them.
"""

import fnmatch
import os
import resource
import signal
import stat
import sys
from collections.abc import Mapping
from errno import ENOENT

import msgspec

from holdfast.config.check import check_file, document
from holdfast.config.disk import Disk
from holdfast.export.web.commands import Check

NAMES = ("/etc/iproute2/", "/usr/share/iproute2/", "/usr/lib/iproute2/")
"""Where tables of routes have their names."""


class SentDisk(Disk):
    """The files that were sent in place of this host's; of those only iproute2's lists of names are read."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, path: str) -> bytes:
        """The octets of a file that was sent."""
        found = self._files.get(os.path.normpath(path))
        if found is not None:
            return found
        if os.path.realpath(path).startswith(NAMES):
            return super().read(path)
        raise FileNotFoundError(ENOENT, "it was not sent", path)

    def secret(self, path: str) -> bytes:
        """What stands for a key: it stays where it is."""
        return b"stands for a key" * 2

    def mode(self, path: str) -> int:
        """What was sent are files."""
        return stat.S_IFREG | 0o600 if os.path.normpath(path) in self._files else super().mode(path)

    def match(self, pattern: str, directory: str) -> list[str]:
        """Files that were sent and match."""
        full = os.path.normpath(os.path.join(directory, pattern))
        if full.startswith(NAMES):
            return super().match(pattern, directory)
        return sorted(name for name in self._files if name == full or fnmatch.fnmatchcase(name, full))

    def real_path(self, path: str) -> str:
        """There are no links among the files that were sent."""
        whole = os.path.normpath(path)
        return whole if whole in self._files else super().real_path(path)

    def here(self) -> str:
        """Where relative paths begin."""
        return "/"

    def variables(self) -> dict[str, str]:
        """None: those of the daemon are its own."""
        return {}


def checked(sent: Check) -> bytes:
    """What `holdfast check --json` would print, less its line end."""
    path = os.path.normpath(os.path.join("/", sent.file))
    files = {os.path.normpath(os.path.join("/", name)): text.encode() for name, text in sent.included.items()}
    outcome = check_file(path, disk=SentDisk({**files, path: sent.text.encode()}))
    return msgspec.json.encode(document(outcome))


def main(cpu_s: int, memory_bytes: int, wall_s: int) -> None:
    """A body on standard input, its outcome on standard output."""
    signal.alarm(wall_s)  # whoever started us may be gone
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.buffer.write(checked(msgspec.json.decode(sys.stdin.buffer.read(), type=Check)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
