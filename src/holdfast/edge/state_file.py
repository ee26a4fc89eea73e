"""`RUN_DIR/state`: a line an instance and group, as a notify script gets it: `INSTANCE cluster MASTER 102`.

Replaced as a whole, so that no reader sees half of it; changes that come together are written together. A file that a
dead run left says MASTER about nobody: it is emptied at start. Lines that somebody else wrote (a notify script with
the same file in mind) are left in it when the daemon goes.
"""

import os

from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.edge.logs import LineLog
from holdfast.vrrp.messages import Level

PACE_NS = 100 * MILLISECOND
"""The file is written at once after a quiet time, and at most this often."""

_RETRY_NS = 5 * SECOND
_READ_BYTES = 1 << 20


class StateFile:
    """The states of all instances and groups, on disk. Call `on_due` at `due_at()`."""

    def __init__(self, path: str, log: LineLog) -> None:
        """Empties what a dead run left at `path`; its directory must exist."""
        self.path = path
        self._log = log
        self._lines: dict[tuple[str, str], str] = {}
        self._known: set[tuple[str, str]] = set()
        self._due_at: Nanoseconds | None = None
        self._quiet_until: Nanoseconds = 0
        self._failed = ""
        if os.path.lexists(path):
            self._replace("")

    def update(self, kind: str, name: str, state: str, priority: int, now: Nanoseconds) -> None:
        """An instance or group is in `state` now; DELETED takes its line away."""
        key = (kind, name)
        line = f"{kind} {name} {state} {priority}\n"
        self._known.add(key)
        if state == "DELETED":
            if self._lines.pop(key, None) is None:
                return
        elif self._lines.get(key) == line:
            return
        else:
            self._lines[key] = line
        if self._due_at is None:
            self._due_at = max(now, self._quiet_until)

    def due_at(self) -> Nanoseconds | None:
        """When the file is to be written."""
        return self._due_at

    def on_due(self, now: Nanoseconds) -> None:
        """Write the file."""
        if self._due_at is None or now < self._due_at:
            return
        done = self._replace("".join(self._lines.values()))
        self._quiet_until = now + PACE_NS
        self._due_at = None if done else now + _RETRY_NS

    def leave(self) -> None:
        """Take the daemon's lines out of the file; somebody else's stay."""
        self._lines.clear()
        self._due_at = None
        heads = {f"{kind} {name}" for kind, name in self._known}
        others = [line for line in self._read().splitlines(keepends=True) if line.rsplit(None, 2)[0:1] != []
                  and not any(line.startswith(head + " ") for head in heads)]  # fmt: skip
        self._replace("".join(others))

    def _read(self) -> str:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            return os.read(fd, _READ_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""
        finally:
            os.close(fd)

    def _replace(self, text: str) -> bool:
        """Put `text` in the file's place, readable by all; says once why it can't, and once that it can again."""
        beside = f"{self.path}.{os.getpid()}"
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                os.fchmod(fd, 0o644)
                whole = text.encode("utf-8", "replace")
                if os.write(fd, whole) != len(whole):
                    raise OSError(28, os.strerror(28))
            finally:
                os.close(fd)
            os.replace(beside, self.path)
        except OSError as error:
            why = f"cannot write {self.path}: {(error.strerror or str(error)).lower()}"
            if why != self._failed:
                cure = "make room there, or choose another --run-dir; trying again each 5 s, the states are unaffected"
                self._log.say(Level.ERROR, f"{why}; {cure}")
            self._failed = why
            try:
                os.unlink(beside)
            except OSError:
                return False
            return False
        if self._failed:
            self._failed = ""
            self._log.say(Level.INFO, f"{self.path} can be written again")
        return True
