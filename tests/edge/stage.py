"""A stage for scripts: a real runner, a loop just big enough for it, a log that keeps its lines."""

import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.edge.scripts import RunHandle, RunResult, ScriptRunner
from holdfast.vrrp.messages import Level

TEN_SECONDS = 10 * SECOND


class Due(Protocol):
    """A part of the daemon with deadlines."""

    def due_at(self) -> Nanoseconds | None: ...

    def on_due(self, now: Nanoseconds) -> None: ...


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[Level, str]] = []

    def say(self, level: Level, text: str, category: str = "") -> None:
        self.lines.append((level, text))

    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


class Stage:
    """A runner, a loop just big enough for it, and the results as they come."""

    def __init__(self, folder: Path) -> None:
        self.runner = ScriptRunner()
        self.folder = folder
        self.results: list[RunResult] = []
        self.wakes = 0
        self.parts: list[Due] = []  # what else is to be called when it is due

    def script(self, body: str, *, name: str = "script.sh", first: str = "#!/bin/sh\n", mode: int = 0o755) -> str:
        path = self.folder / name
        path.write_text(first + body)
        path.chmod(mode)
        return str(path)

    def start(self, *argv: str, timeout_ns: Nanoseconds = TEN_SECONDS, kill_after_ns: Nanoseconds = 2 * SECOND,
              uid: int | None = None, gid: int | None = None, groups: tuple[int, ...] = (),
              extra: tuple[str, ...] = ()) -> RunHandle:  # fmt: skip
        command = Command(argv=argv, timeout_ns=timeout_ns, uid=uid, gid=gid, groups=groups)
        return self.runner.start(
            command,
            extra_arguments=extra,
            now=time.monotonic_ns(),
            on_finished=lambda result, _: self.results.append(result),
            kill_after_ns=kill_after_ns,
        )

    def turn(self, at_most_ns: Nanoseconds = SECOND) -> None:
        """One turn of the loop."""
        now = time.monotonic_ns()
        moments = [part.due_at() for part in (self.runner, *self.parts)]
        wait = max(0, min([at_most_ns, *(at - now for at in moments if at is not None)]))
        ready, _, _ = select.select([self.runner], [], [], wait / SECOND)
        self.wakes += 1
        if ready:
            self.runner.on_readable(time.monotonic_ns())
        for part in (self.runner, *self.parts):
            part.on_due(time.monotonic_ns())

    def until(self, met: Callable[[], object], within_ns: Nanoseconds = TEN_SECONDS) -> None:
        end = time.monotonic_ns() + within_ns
        while not met():
            assert time.monotonic_ns() < end, f"not met in time; results {self.results}"
            self.turn(20 * MILLISECOND)

    def run(self, *argv: str, timeout_ns: Nanoseconds = TEN_SECONDS, kill_after_ns: Nanoseconds = 2 * SECOND,
            uid: int | None = None, gid: int | None = None, groups: tuple[int, ...] = ()) -> RunResult:  # fmt: skip
        before = len(self.results)
        self.start(*argv, timeout_ns=timeout_ns, kill_after_ns=kill_after_ns, uid=uid, gid=gid, groups=groups)
        self.until(lambda: len(self.results) > before)
        return self.results[-1]
