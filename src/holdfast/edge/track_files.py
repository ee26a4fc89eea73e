"""Watches tracked files: their directories, by inotify. What a file says is read when it may have changed, never asked.

A directory that is not there (any more) is waited for by watching the nearest one above it that is.
"""

import os
import stat
from collections.abc import Callable, Iterable

from holdfast.edge.loop import Loop
from holdfast.engine.messages import TrackerReported
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.inotify import GONE, IN_CREATE, IN_Q_OVERFLOW, Inotify
from holdfast.track.config import FileConfig
from holdfast.track.file import MISSING, MOST_BYTES, number_of
from holdfast.vrrp.messages import Level

Say = Callable[[Level, str], None]


class Watched:
    """One tracked file, and what is known of it."""

    def __init__(self, config: FileConfig) -> None:
        self.config = config
        self.path = os.path.realpath(config.path)
        self.directory, self.name = os.path.split(self.path)
        self.watch = -1
        self.above = ""  # the entry to wait for in a directory above, while its own is missing
        self.value: int | None = None
        self.detail = ""

    def read(self) -> int:
        """The number in the file, or what it counts as; the number from before when the new one is too large."""
        self.detail = ""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as refused:
            self.detail = f"{self.config.path}: {os.strerror(refused.errno or 0).lower()}, which counts as 0"
            return MISSING
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                self.detail = f"{self.config.path} is no regular file, which counts as 0"
                return MISSING
            octets = os.read(fd, MOST_BYTES)
        except OSError as refused:
            self.detail = f"{self.config.path}: {os.strerror(refused.errno or 0).lower()}, which counts as 0"
            return MISSING
        finally:
            os.close(fd)
        number = number_of(octets)
        if number is None:
            kept = MISSING if self.value is None else self.value
            self.detail = f"the number in {self.config.path} does not fit 32 bits: {kept} goes on"
            return kept
        if number == MISSING and not octets.lstrip(b" \t\n\v\f\r+-")[:1].isdigit():
            self.detail = f"{self.config.path} holds no number, which counts as 0"
        return number


class FileWatch:
    """All tracked files. `tell` gets each number once it is another, and all of them by `tell_all`."""

    def __init__(self, loop: Loop, tell: Callable[[TrackerReported], None], say: Say) -> None:
        self._loop = loop
        self._tell = tell
        self._say = say
        self._inotify: Inotify | None = None
        self._files: dict[str, Watched] = {}

    def load(self, configs: Iterable[FileConfig], first: bool) -> None:
        """Watch these files; at the `first` time those that ask for it are made."""
        before, self._files = self._files, {config.name: Watched(config) for config in configs}
        if first:
            for file in self._files.values():
                self._make(file.config)
        for name, file in self._files.items():
            if name in before and before[name].path == file.path:
                file.value = before[name].value  # what goes on when the number is too large
        if self._inotify is not None:
            self._loop.unwatch(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None
        if self._files:
            try:
                self._inotify = Inotify()
            except KernelRefused as refused:
                self._say(Level.ERROR, f"{refused}; tracked files are read once")
            else:
                self._loop.watch(self._inotify.fileno(), self._readable)
        for file in self._files.values():
            self._place(file)
            self._look(file)

    def tell_all(self) -> None:
        """Tell what every file says."""
        for file in self._files.values():
            if file.value is not None:
                self._tell(TrackerReported("file", file.config.name, file.value, file.detail))

    def _make(self, config: FileConfig) -> None:
        """`init_file`."""
        if config.init_value is None:
            return
        mode = os.O_TRUNC if config.init_overwrite else os.O_EXCL
        path = os.path.realpath(config.path)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | mode, 0o644)
            try:
                os.write(fd, b"%d\n" % config.init_value)
            finally:
                os.close(fd)
        except FileExistsError:
            return
        except OSError as refused:
            why = os.strerror(refused.errno or 0).lower()
            self._say(Level.ERROR, f"Track file {config.name}: cannot write {config.path}: {why}")

    def _place(self, file: Watched) -> None:
        """Watch the directory of a file, or the nearest above it that is there."""
        file.watch, file.above = -1, ""
        directory, missing = file.directory, ""
        while self._inotify is not None:
            try:
                file.watch, file.above = self._inotify.watch(directory), missing
                if not missing or not os.path.isdir(os.path.join(directory, missing)):
                    return  # else it came in between
                directory, missing = file.directory, ""
            except KernelRefused as refused:
                if directory == "/" or os.path.isdir(directory):
                    self._say(Level.ERROR, f"Track file {file.config.name}: {refused}")
                    return
                directory, missing = os.path.split(directory)

    def _readable(self) -> None:
        assert self._inotify is not None
        touched: dict[str, Watched] = {}
        astray: dict[str, Watched] = {}
        for watch, mask, name in self._inotify.read():
            for file in self._files.values():
                mine = watch == file.watch
                if mask & IN_Q_OVERFLOW or (mine and (mask & GONE or (file.above and name == file.above))):
                    astray[file.config.name] = file
                elif mine and name == file.name and not file.above and mask != IN_CREATE:
                    touched[file.config.name] = file
        for file in astray.values():
            self._place(file)
        for file in (touched | astray).values():
            self._look(file)

    def _look(self, file: Watched) -> None:
        was, said = file.value, file.detail
        file.value = file.read()
        if (file.value, file.detail) != (was, said):
            self._tell(TrackerReported("file", file.config.name, file.value, file.detail))
