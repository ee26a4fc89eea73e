"""Everyone who cares about a change of state: log, state file, FIFOs, scripts. All of it in the supervisor.

Of the plan only what concerns listeners is decoded here; the workers have the rest.
"""

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from holdfast import __version__
from holdfast.base.problem import Problem
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config.plan import Settings
from holdfast.daemon.loops import LoopView
from holdfast.daemon.options import Options
from holdfast.daemon.witness import Witness
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.fifos import Fifos
from holdfast.edge.journal import Journal
from holdfast.edge.logs import Limited, Log
from holdfast.edge.loop import Loop
from holdfast.edge.notify import NotifyQueues
from holdfast.edge.scripts import RunHandle, RunResult, ScriptRunner, tracking_result
from holdfast.edge.state_file import StateFile
from holdfast.engine.incidents import IncidentView
from holdfast.engine.messages import (
    AnyNotice,
    LogLine,
    LowerPriorityNotice,
    PriorityNotice,
    RunScript,
    ScriptFinished,
    ServiceNotice,
    StateNotice,
    SuspicionNotice,
)
from holdfast.vrrp.config import NotifyCommands
from holdfast.vrrp.messages import Level

STOP_SCRIPTS_NS: Nanoseconds = SECOND
"""How long scripts run for STOP may take."""


DEFAULT_UMASK = 0o177
"""keepalived's umask for the files it makes."""


NEED_RESTART = (
    ("net_namespace", "net_namespace"),
    ("net_namespace_ipvs", "net_namespace_ipvs"),
    ("instance_name", "instance"),
    ("nftables_table", "nftables"),
    ("disable_local_igmp", "disable_local_igmp"),
)
"""Settings that a reload cannot change, and their keywords."""


class WorkerLog:
    """The log, for lines of the vrrp worker."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def say(self, level: Level, text: str, category: str = "") -> None:
        """Log one line of the worker's."""
        self._log.line(LogLine(level, text, category))


class Named(msgspec.Struct, frozen=True):
    """The part of an instance or group that listeners need."""

    name: str
    notify: NotifyCommands = NotifyCommands()


class ListenerPlan(msgspec.Struct, frozen=True):
    """The part of the plan that listeners need."""

    settings: Settings = Settings()
    instances: tuple[Named, ...] = ()
    groups: tuple[Named, ...] = ()
    bfd: tuple[Named, ...] = ()


class NodeHead(msgspec.Struct, frozen=True):
    """How `holdfast status --json` begins."""

    node: str
    pid: int
    worker_pid: int | None
    version: str
    time: str
    reload_returns_in_s: int | None = None  # unless it is confirmed
    incidents: list[IncidentView] = []
    incidents_total: dict[str, int] = {}  # cause → how many there were
    loops: list[LoopView] = []


class Listeners:
    """The supervisor's part of carrying out effects."""

    def __init__(self, options: Options, octets: bytes, loop: Loop, log: Log, keeps_state: bool = True) -> None:
        self._options = options
        self._loop = loop
        self._log = log
        self._limited = Limited(WorkerLog(log))
        self._plan = msgspec.msgpack.decode(octets, type=ListenerPlan)
        self._runner = ScriptRunner()
        loop.watch(self._runner.fileno(), self._runner_readable)
        self._notify = NotifyQueues(self._runner, log)
        self._shutdown: RunHandle | None = None
        self._fifos = Fifos(self._runner, log)
        paths = [os.path.join(options.run_dir, "state")]
        if options.compatible and os.path.realpath(options.run_dir) != "/run/keepalived":
            paths.append("/run/keepalived/state")
        self._state_files: list[StateFile] = []
        for path in paths if keeps_state else ():
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._state_files.append(StateFile(path, log))
            except OSError as refused:
                log.say_error(f"no state file {path}: {refused.strerror}")
        self.journal = Journal(options.run_dir, log)
        self._states: dict[tuple[str, str], StateNotice] = {}
        self._closed = False
        self.witness = Witness(loop, self.take)
        self.state_hooks: list[Callable[[StateNotice], None]] = []

    @property
    def settings(self) -> Settings:
        """The plan's settings."""
        return self._plan.settings

    @property
    def has_instances(self) -> bool:
        """Whether there is anything for a vrrp worker."""
        return bool(self._plan.instances or self._plan.bfd)

    def start(self, now: Nanoseconds) -> None:
        """Open the FIFOs and start their readers."""
        self._load(now, write_states=False)

    def run_startup_script(self, then: Callable[[Nanoseconds], None], now: Nanoseconds) -> None:
        """Run the start-up script, if there is one, and go on when it has ended."""
        command = self.settings.startup_script
        if command is None:
            then(now)
            return

        def ended(result: RunResult, at: Nanoseconds) -> None:
            if not result.succeeded:
                said = f": {result.first_lines()}" if result.first_lines() else ""
                self._log.say(Level.WARNING, f"startup_script {command.text()} {result.outcome()}{said}; going on")
            then(at)

        limit = self.settings.startup_script_timeout_ns
        self._runner.start(command, now=now, on_finished=ended, timeout_ns=limit)

    def run_shutdown_script(self, now: Nanoseconds) -> None:
        """Run the shutdown script, once; `pending` says when it has ended."""
        command, self._plan = self.settings.shutdown_script, self._plan
        if command is None or self._shutdown is not None:
            return

        def ended(result: RunResult, at: Nanoseconds) -> None:
            if not result.succeeded:
                self._log.say(Level.WARNING, f"shutdown_script {command.text()} {result.outcome()}")

        limit = self.settings.shutdown_script_timeout_ns
        self._shutdown = self._runner.start(command, now=now, on_finished=ended, timeout_ns=limit)

    def _load(self, now: Nanoseconds, write_states: bool) -> None:
        settings = self.settings
        before = os.umask(DEFAULT_UMASK if settings.umask is None else settings.umask)
        try:
            self._fifos.load(
                (settings.notify_fifo, settings.vrrp_notify_fifo), now, write_states=write_states,
                balancing=(settings.notify_fifo, settings.lvs_notify_fifo),
            )  # fmt: skip
        finally:
            os.umask(before)
        self._notify.secure = settings.script_security
        self._notify.load(self._plan)

    # ---- notices ----------------------------------------------------------------------------------------------------

    def take(self, notice: AnyNotice, now: Nanoseconds) -> None:
        """Pass a notice on to everyone it concerns."""
        if not isinstance(notice, StateNotice | LogLine):
            self.journal.take(notice, now)
        if isinstance(notice, StateNotice):
            self._state(notice, now)
        elif isinstance(notice, LogLine):
            if notice.category:
                # by what it is about and the instance, not by the whole text: what peers send varies without end
                about = notice.text.partition(" ")[0]
                self._limited.say(f"{notice.category} {about}", notice.level, notice.text, now)
            else:
                self._log.line(notice)
        elif isinstance(notice, ServiceNotice):
            self._service(notice, now)
        elif isinstance(notice, LowerPriorityNotice):
            self._fifos.lower_priority(notice, now)
            self._notify.lower_priority(notice, now)
        elif isinstance(notice, PriorityNotice) and notice.notify:
            self._fifos.priority(notice, now)
        if isinstance(notice, StateNotice | SuspicionNotice):
            self.witness.take(notice, now)

    def _state(self, notice: StateNotice, now: Nanoseconds) -> None:
        self.journal.take(notice, now)
        self._log.line(LogLine(Level.INFO, state_line(notice, self._options.compatible)))
        if notice.cause and self._options.compatible and self._options.log_detail:
            self._log.line(LogLine(Level.INFO, f"({notice.name}) because: {notice.cause}"))
        key = (notice.kind, notice.name)
        if notice.state in ("STOP", "DELETED"):
            self._states.pop(key, None)
        else:
            self._states[key] = notice
        for state_file in self._state_files:
            state = "DELETED" if notice.state == "STOP" else notice.state
            state_file.update(notice.kind, notice.name, state, notice.priority, now)
        for hook in self.state_hooks:
            hook(notice)
        heard = None if notice.quiet else self._notify.submit(notice, now)
        if heard is not None:
            self._fifos.state(heard, now)

    def _service(self, notice: ServiceNotice, now: Nanoseconds) -> None:
        """The script of a balanced service; its failure is said and changes nothing."""
        if notice.fifo_line:
            self._fifos.service(notice.fifo_line, now)
        command = notice.command
        if command is None:
            return

        def ended(result: RunResult, at: Nanoseconds) -> None:
            if not result.succeeded:
                said = f": {result.first_lines()}" if result.first_lines() else ""
                line = f"{notice.server or notice.service}: script {command.text()} {result.outcome()}{said}"
                self._log.say(Level.WARNING, line)

        self._runner.start(command, now=now, on_finished=ended)

    def forget_removed(self, now: Nanoseconds) -> None:
        """The worker runs the plan: what is in it no more (removed, renamed) leaves the state file."""
        known = {("INSTANCE", instance.name) for instance in self._plan.instances}
        known |= {("GROUP", group.name) for group in self._plan.groups}
        for key in self._states.keys() - known:
            del self._states[key]
            for state_file in self._state_files:
                state_file.update(*key, "DELETED", 0, now)

    def masters(self) -> list[str]:
        """The instances that are MASTER, as far as was told."""
        told = self._states.items()
        return [name for (kind, name), notice in told if kind == "INSTANCE" and notice.state == "MASTER"]

    def worker_died(self, now: Nanoseconds) -> None:
        """Its instances are in no state any more: a stale file must not say MASTER, and scripts must hear of it."""
        for key, notice in list(self._states.items()):
            gone = msgspec.structs.replace(notice, state="FAULT", cause="the vrrp worker ended", quiet=False)
            self._state(gone, now)
            self._states.pop(key, None)

    def run_script(
        self, asked: RunScript, on_finished: Callable[[ScriptFinished], None], now: Nanoseconds
    ) -> None:
        """Run a tracking script and pass its result on."""
        began = now

        def finished(result: RunResult, at: Nanoseconds) -> None:
            answer = tracking_result(asked.name, asked.run, result)
            on_finished(msgspec.structs.replace(answer, spent_ns=at - began))

        self._runner.start(asked.command, now=now, on_finished=finished)

    def _runner_readable(self) -> None:
        self._runner.on_readable(monotonic_ns())

    # ---- time -------------------------------------------------------------------------------------------------------

    def due_at(self) -> Nanoseconds | None:
        """When `on_due` has something to do."""
        moments = [self._runner.due_at(), self._notify.due_at(), self._log.due_at(), self._limited.due_at()]
        moments += [self.journal.due_at(), self.witness.due_at()]
        moments += [state_file.due_at() for state_file in self._state_files]
        return min((at for at in moments if at is not None), default=None)

    def on_due(self, now: Nanoseconds) -> None:
        """Time limits, lines held back, files to be written."""
        self._runner.on_due(now)
        self._notify.on_due(now)
        self._limited.on_due(now)
        self._log.on_due(now)
        self.witness.on_due(now)
        for state_file in self._state_files:
            state_file.on_due(now)
        self.journal.on_due(now)

    # ---- reload and end ---------------------------------------------------------------------------------------------

    def refuses(self, octets: bytes, faulty: bool) -> str:
        """Why the running daemon cannot take a plan over, or ""; `faulty`: its text has errors."""
        plan = msgspec.msgpack.decode(octets, type=ListenerPlan)
        if faulty and self._plan.instances and not plan.instances:
            return "it has errors, and leaves no instance to run"
        new, old = plan.settings, self.settings
        for name, word in NEED_RESTART:
            if getattr(new, name) != getattr(old, name):
                return f"`{word}` changed: that needs a restart"
        return ""

    def reload_begins(self) -> None:
        """Say to who watches the marker file that configuration files are being read."""
        self._marker(True)

    def reload_ended(self) -> None:
        """They are read."""
        self._marker(False)

    def _marker(self, there: bool) -> None:
        path = self.settings.reload_file
        if not path:
            return
        try:
            if there:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
            else:
                os.unlink(path)
        except OSError as refused:
            self._log.say(Level.WARNING, f"reload_file {path}: {refused.strerror}")

    def write_check_log(self, problems: list[Problem]) -> None:
        """`reload_check_config FILE`: what a reload found goes there too."""
        path = self.settings.reload_check_log
        if not path or path == "/dev/null":
            return
        try:
            with open(path, "a", encoding="utf-8") as stream:
                stream.writelines(f"{problem.text()}\n" for problem in problems)
        except OSError as refused:
            self._log.say(Level.WARNING, f"reload_check_config {path}: {refused.strerror}")

    def new_plan(self, octets: bytes, now: Nanoseconds) -> None:
        """Listen according to a new plan; the log files are opened anew."""
        self._plan = msgspec.msgpack.decode(octets, type=ListenerPlan)
        self.witness.load(octets)
        self._log.reopen()
        self._load(now, write_states=self.settings.fifo_write_states_on_reload)

    def pending(self) -> bool:
        """Whether scripts still run or wait."""
        return bool(self._notify.pending()) or (self._shutdown is not None and not self._shutdown.ended)

    def close(self, now: Nanoseconds) -> None:
        """Everybody has heard of the end: FIFOs away, state file emptied, scripts that still run ended."""
        if self._closed:
            return
        self._closed = True
        self.witness.close()
        self._fifos.close(now)
        self.leave_state_files()
        self.journal.close(now)
        self._loop.unwatch(self._runner.fileno())
        self._runner.close()

    def leave_state_files(self) -> None:
        """Take our lines out of the state files, and write there no more."""
        for state_file in self._state_files:
            state_file.leave()
        self._state_files = []

    # ---- what operators ask -----------------------------------------------------------------------------------------

    def node_head(self, worker_pid: int | None, trial_left_s: int | None, loops: list[LoopView]) -> bytes:
        """How a status begins, as JSON; `trial_left_s`: how long a reload on trial goes on unconfirmed."""
        now = datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")
        open_ones, totals = self.witness.view(monotonic_ns()), self.witness.incidents.totals
        node = socket.gethostname()
        head = NodeHead(node, os.getpid(), worker_pid, __version__, now, trial_left_s, open_ones, totals, loops)
        return msgspec.json.encode(head)

    def instance_states(self) -> dict[str, str]:
        """The state of each instance, by name, as told last."""
        return {name: notice.state for (kind, name), notice in self._states.items() if kind == "INSTANCE"}

    def write_dump(self, kind: str, plan: bytes, view: bytes | None, balanced: tuple[bytes, bytes] | None) -> None:
        """Write the data, stats or json dump, in a process of its own: it may be large."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                from holdfast.export.files import Balanced, write_dump

                write_dump(kind, plan, view, self._options, balanced=balanced and Balanced(*balanced))
                status = 0
            except BaseException as failed:
                os.write(2, f"holdfast: the {kind} dump failed: {failed}\n".encode())
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        if status:
            self._log.say_error(f"The {kind} dump could not be written")


def state_line(notice: StateNotice, compatible: bool) -> str:
    """The line people's monitoring searches for: `(VI_1) Entering MASTER STATE`."""
    why = f": {notice.cause}" if notice.cause and not compatible else ""
    if notice.kind == "GROUP":
        return f"VRRP_Group({notice.name}) Syncing instances to {notice.state} state{why}"
    if notice.state in ("STOP", "DELETED"):
        return f"({notice.name}) Stopped{why}"
    return f"({notice.name}) Entering {notice.state} STATE{why}"
