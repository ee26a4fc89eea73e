"""What runs when a state changes: `notify_<state>`, the programs of a directory, `notify`; in order, none forgotten.

Theory of operation. Every instance and every group has a queue of its own. A change of state becomes one *occasion*:
the programs to run for it, one after another, each with its time limit. Occasions of one queue never overlap (where
keepalived starts a script while its forerunner still runs, and the older state may win). Occasions wait in order; one
that has waited STALE_NS while a newer one waits too is out of date and is dropped, with a line in the log. The last
state always gets through.

STOP is the last occasion of all: what waits is dropped, what runs gets a moment to end, then STOP's programs run, each
for at most a second.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.edge.logs import LineLog
from holdfast.edge.scripts import RunHandle, RunResult, ScriptRunner
from holdfast.engine.messages import LowerPriorityNotice, StateNotice
from holdfast.vrrp.config import NotifyCommands
from holdfast.vrrp.messages import Level

STALE_NS = 2 * SECOND
"""An occasion that has waited this long is dropped when a newer one waits."""

STOP_LIMIT_NS = SECOND
"""The time limit of each program run for STOP."""

STOP_PATIENCE_NS = 300 * MILLISECOND
"""How long STOP waits for a program that runs already, before it is told to end; and then once more, at most."""

DIRECTORY_LIMIT_NS = 60 * SECOND
"""The time limit of each program of a directory."""

_WAITING = 64
_STOP_KILL_NS = 100 * MILLISECOND


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One program of an occasion; `shown`: its output is worth the log even when all went well."""

    what: str  # notify_master, /etc/holdfast/master.d, notify …
    command: Command
    arguments: tuple[str, ...] = ()
    shown: bool = False


class Occasion(msgspec.Struct, frozen=True, kw_only=True):
    """What one change of state has to run."""

    state: str
    steps: tuple[Step, ...]
    since: Nanoseconds


class _Queue:
    """The occasions of one instance or group."""

    __slots__ = ("label", "run", "running", "stopping", "waiting")

    def __init__(self, label: str) -> None:
        self.label = label  # as log lines begin: `(VI_1)`
        self.waiting: deque[Occasion] = deque()
        self.running: Iterator[Step] | None = None  # what is left of the occasion that runs
        self.run: RunHandle | None = None
        self.stopping = False

    def idle(self) -> bool:
        return self.run is None and self.running is None and not self.waiting


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def notify(self) -> NotifyCommands: ...


class NotifyPlan(Protocol):
    """What is needed of a plan: a VrrpPlan is one."""

    @property
    def instances(self) -> Sequence[_Named]: ...
    @property
    def groups(self) -> Sequence[_Named]: ...


class NotifyQueues:
    """Runs notify scripts. Call `on_due` at `due_at()`, beside the runner's own."""

    def __init__(self, runner: ScriptRunner, log: LineLog, *, secure: bool = False) -> None:
        """`secure` (`enable_script_security`): programs of a directory that others could have written aren't run."""
        self._runner = runner
        self._log = log
        self.secure = secure
        self._commands: dict[tuple[str, str], NotifyCommands] = {}
        self._departed: dict[tuple[str, str], NotifyCommands] = {}
        self._queues: dict[tuple[str, str], _Queue] = {}
        self._states: dict[tuple[str, str], str] = {}
        self._patience: list[tuple[Nanoseconds, _Queue, RunHandle, bool]] = []
        self._absent: set[str] = set()

    def load(self, plan: NotifyPlan) -> None:
        """Use this plan's commands from now on. Those of what is gone serve its last notice."""
        before = self._commands
        self._commands = {("INSTANCE", instance.name): instance.notify for instance in plan.instances}
        self._commands |= {("GROUP", group.name): group.notify for group in plan.groups}
        self._departed = {key: commands for key, commands in before.items() if key not in self._commands}
        self._absent.clear()

    # ---- notices ----------------------------------------------------------------------------------------------------

    def submit(self, notice: StateNotice, now: Nanoseconds) -> StateNotice | None:
        """Queue what a change of state has to run; the notice as everybody else is to hear it, None when nobody is.

        Without `notify_deleted` a removed instance is reported as FAULT, and not at all if it was in FAULT already.
        """
        key = (notice.kind, notice.name)
        commands = self._commands.get(key)
        if commands is None or notice.state == "DELETED":
            commands = self._departed.get(key, commands)
        commands = commands or NotifyCommands()
        told: StateNotice | None = notice
        if notice.state == "DELETED":
            if not commands.notify_deleted:
                told = msgspec.structs.replace(notice, state="FAULT")
                if self._states.get(key) == "FAULT":
                    told = None
            self._states.pop(key, None)
        else:
            self._states[key] = notice.state
        if told is None or told.quiet:
            return told
        if told.kind == "GROUP" and told.priority:
            told = msgspec.structs.replace(told, priority=0)
        steps = tuple(self._steps(told, commands))
        if steps or told.state == "STOP":
            self._add(key, Occasion(state=told.state, steps=steps, since=now), now)
        return told

    def lower_priority(self, notice: LowerPriorityNotice, now: Nanoseconds) -> None:
        """Run `notify_master_rx_lower_pri`; at most one run waits, however many adverts come."""
        commands = self._commands.get(("INSTANCE", notice.name))
        if commands is None or commands.master_rx_lower_pri is None:
            return
        key = ("LOWER", notice.name)
        queue = self._queues.get(key)
        if queue is not None and queue.waiting:
            return
        step = Step(what="notify_master_rx_lower_pri", command=commands.master_rx_lower_pri)
        self._add(key, Occasion(state="MASTER_RX_LOWER_PRI", steps=(step,), since=now), now)

    def _steps(self, notice: StateNotice, commands: NotifyCommands) -> Iterable[Step]:
        arguments = (notice.kind, notice.name, notice.state, str(notice.priority))
        word = notice.state.lower()
        own: Command | None = getattr(commands, word, None) if notice.state in _STATES else None
        if own is not None:
            yield Step(what=f"notify_{word}", command=own)
        folder = commands.directories.get(notice.state)
        if folder:
            uid, gid = commands.directory_user
            for path in self._programs(folder, uid):
                command = Command(argv=(path,), uid=uid, gid=gid, timeout_ns=DIRECTORY_LIMIT_NS)
                yield Step(what=f"{word} directory", command=command, arguments=arguments, shown=True)
        if commands.any is not None:
            yield Step(what="notify", command=commands.any, arguments=arguments)

    def _programs(self, folder: str, uid: int | None) -> list[str]:
        """Every executable regular file of `folder` (or a link to one), by name."""
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as refused:
            if folder not in self._absent:
                self._absent.add(folder)
                why = (refused.strerror or str(refused)).lower()
                text = f"{folder}: {why}; make it, or take the line away; nothing is run from it meanwhile"
                self._log.say(Level.WARNING, text)
            return []
        found = []
        as_root = (os.geteuid() if uid is None else uid) == 0
        for name in names:
            path = os.path.join(folder, name)
            try:
                file = os.stat(path)
            except OSError:
                continue
            if not stat.S_ISREG(file.st_mode) or not file.st_mode & 0o111:
                continue
            if as_root and (file.st_uid != 0 or file.st_mode & 0o002):
                cure = f"chown root {path}; chmod o-w {path}"
                done = "it is not run" if self.secure else "it runs all the same (enable_script_security forbids it)"
                self._log.say(Level.WARNING, f"{path} would run as root, but others can write it: {cure}; {done}")
                if self.secure:
                    continue
            found.append(path)
        return found

    # ---- queues -----------------------------------------------------------------------------------------------------

    def _add(self, key: tuple[str, str], occasion: Occasion, now: Nanoseconds) -> None:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(f"({key[1]})")
        if occasion.state == "STOP":
            self._drop(queue, len(queue.waiting), "the daemon leaves", now)
            queue.stopping = True
        elif queue.stopping:
            return
        elif len(queue.waiting) >= _WAITING:
            self._drop(queue, 1, "too many wait", now)
        queue.waiting.append(occasion)
        if queue.run is None:
            self._next(queue, now)
        elif queue.stopping:
            self._patience.append((now + STOP_PATIENCE_NS, queue, queue.run, False))

    def _drop(self, queue: _Queue, count: int, why: str, now: Nanoseconds) -> None:
        for _ in range(count):
            dropped = queue.waiting.popleft()
            if not dropped.steps:
                continue
            waited = span_text(now - dropped.since)
            text = f"{queue.label} scripts for {dropped.state} are left out after waiting {waited}: {why}"
            self._log.say(Level.WARNING, text)

    def _next(self, queue: _Queue, now: Nanoseconds) -> None:
        """Start what is next in a queue that runs nothing."""
        while queue.run is None:
            if queue.stopping and queue.waiting and queue.waiting[0].state == "STOP":
                queue.running = None  # what the occasion before would still run is for a state that is over
            step = next(queue.running, None) if queue.running is not None else None
            if step is not None:
                self._start(queue, step, now)
                return
            queue.running = None
            if not queue.waiting:
                return
            stale = 0
            while len(queue.waiting) - stale > 1 and now - queue.waiting[stale].since >= STALE_NS:
                stale += 1
            self._drop(queue, stale, f"{queue.waiting[-1].state} has come since", now)
            queue.running = iter(queue.waiting.popleft().steps)

    def _start(self, queue: _Queue, step: Step, now: Nanoseconds) -> None:
        def ended(result: RunResult, at: Nanoseconds) -> None:
            self._report(queue.label, step, result)
            if queue.run is handle:
                queue.run = None
                self._next(queue, at)

        handle = self._runner.start(
            step.command,
            extra_arguments=step.arguments,
            now=now,
            on_finished=ended,
            timeout_ns=min(step.command.timeout_ns or STOP_LIMIT_NS, STOP_LIMIT_NS) if queue.stopping else None,
            **({"kill_after_ns": _STOP_KILL_NS} if queue.stopping else {}),
        )
        queue.run = handle

    def _report(self, label: str, step: Step, result: RunResult) -> None:
        head = f"{label} {step.what}: {step.command.text()}"
        if result.note:
            self._log.say(Level.WARNING, f"{head} {result.note}")
        if not result.succeeded:
            said = result.first_lines(3)
            self._log.say(Level.WARNING, f"{head} {result.outcome()}" + (f": {said}" if said else ""))
            return
        took = f"succeeded in {span_text(result.spent_ns)}"
        if step.shown:
            self._log.say(Level.INFO, f"{head} {took}")
            for line in result.output.splitlines():
                if line.strip():
                    self._log.say(Level.INFO, f"{label} {os.path.basename(step.command.argv[0])}: {line.rstrip()}")
            return
        said = result.first_lines(3)
        self._log.say(Level.DEBUG, f"{head} {took}" + (f": {said}" if said else ""), "script")

    # ---- for the loop -----------------------------------------------------------------------------------------------

    def pending(self) -> bool:
        """Whether anything still runs or waits: at the end, wait until it is False."""
        return not all(queue.idle() for queue in self._queues.values())

    def due_at(self) -> Nanoseconds | None:
        """When STOP's patience with what runs is over."""
        return min((at for at, *_ in self._patience), default=None)

    def on_due(self, now: Nanoseconds) -> None:
        """End what STOP has waited for long enough; then run STOP's programs beside it if it won't go."""
        for entry in [entry for entry in self._patience if entry[0] <= now]:
            self._patience.remove(entry)
            _, queue, run, told = entry
            if queue.run is not run:
                continue
            if not told:
                self._runner.cancel(run, now)
                self._patience.append((now + STOP_PATIENCE_NS, queue, run, True))
            else:
                queue.run = None
                self._next(queue, now)


_STATES = {"MASTER", "BACKUP", "FAULT", "STOP", "DELETED"}
