"""Reading the journal of events: works beside a running daemon and when there is none.

An entry is what one line of JSON holds (`engine/journal.py: Entry`); a line that is no entry is left aside.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from holdfast.control.client import AskError, run_dirs
from holdfast.engine.journal import FILE

Row = dict[str, Any]
"""An entry as it stands in the file."""

LINE_BYTES = 1 << 20
"""A line longer than this is none of ours."""

POLL_S = 0.2


def find(run_dir: str | None) -> str:
    """The journal to read: of the directories where a daemon may be, the one written last. Raises AskError."""
    paths = [os.path.join(directory, FILE) for directory in run_dirs(run_dir)]
    written: list[tuple[float, str]] = []
    for path in paths:
        try:
            written.append((os.stat(path).st_mtime, path))
        except PermissionError:
            raise AskError(f"may not read {path}: only root may; run the command with sudo") from None
        except OSError:
            continue
    if not written:
        where = "" if run_dir else ", or say where it runs with --run-dir"
        raise AskError(f"no events at {' nor at '.join(paths)}: has holdfast run here? start it{where}")
    return max(written)[1]


def read(path: str) -> list[Row]:
    """All entries there are, as they were written: what was held back comes later than it happened. Raises AskError."""
    return [row for octets in (_octets(f"{path}.1", False), _octets(path, True)) for row in parse(octets)]


def _octets(path: str, needed: bool) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(64 << 20)
    except FileNotFoundError:
        return b""
    except OSError as refused:
        if not needed:
            return b""
        cure = "; run the command with sudo" if isinstance(refused, PermissionError) else ""
        raise AskError(f"cannot read {path}: {(refused.strerror or str(refused)).lower()}{cure}") from None


def parse(octets: bytes) -> Iterator[Row]:
    """The entries in some lines; what is no entry is left aside."""
    for line in octets.split(b"\n"):
        if not line or len(line) > LINE_BYTES:
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("time", "kind", "name", "what")):
            yield row


class Follower:
    """What is written from now on, through rotations and restarts."""

    def __init__(self, path: str) -> None:
        """Begins at the end of the file at `path`, which need not be there yet."""
        self._path = path
        self._fd = -1
        self._rest = b""
        if self._open():
            os.lseek(self._fd, 0, os.SEEK_END)

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def fresh(self) -> list[Row]:
        """The entries that came since it was last asked."""
        if self._fd >= 0 and os.fstat(self._fd).st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            os.lseek(self._fd, 0, os.SEEK_SET)  # emptied in place
            self._rest = b""
        rows = self._more()
        if self._replaced():
            rows += self._more()  # what was still written before it was put aside
            os.close(self._fd)
            self._fd, self._rest = -1, b""
        if self._fd < 0 and self._open():
            rows += self._more()
        return rows

    def _replaced(self) -> bool:
        if self._fd < 0:
            return False
        mine = os.fstat(self._fd)
        try:
            named = os.stat(self._path)
        except OSError:
            return False
        return (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino)

    def _more(self) -> list[Row]:
        if self._fd < 0:
            return []
        pieces = [self._rest]
        try:
            while piece := os.read(self._fd, 1 << 18):
                pieces.append(piece)
        except OSError:
            pass
        whole, _, self._rest = b"".join(pieces).rpartition(b"\n")
        if len(self._rest) > LINE_BYTES:
            self._rest = b""
        return list(parse(whole))

    def follow(self, sleep: Callable[[float], object] = time.sleep) -> Iterator[Row]:
        """Every entry from now on, for ever."""
        while True:
            yield from self.fresh()
            sleep(POLL_S)

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def concerns(row: Row, name: str) -> bool:
    """Whether an entry concerns the instance, group or tracker `name`; what concerns the daemon concerns everyone."""
    if row["name"] == name or row["kind"] in ("daemon", "reload"):
        return True
    if row["kind"] != "tracker":
        return False
    instances = row.get("instances")
    return not instances or name in instances


def names(rows: list[Row]) -> set[str]:
    """Every instance, group and tracker that the entries name."""
    found = {str(row["name"]) for row in rows} | {str(one) for row in rows for one in row.get("instances") or ()}
    return found - {""}
