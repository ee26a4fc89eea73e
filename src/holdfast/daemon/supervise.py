"""The supervisor: starts and restarts the workers, reloads, answers on the local socket, does all that takes time.

Rule for a worker that ends by itself: its addresses are released at once (a short-lived process sends priority 0 for
every instance that was MASTER and takes the addresses off), and only then is it started again. The peer takes over
after its skew time; a restarted worker listens before it becomes master. So two hosts never own an address because a
process died.
"""

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from holdfast.base.problem import Grade
from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.control.messages import Request
from holdfast.control.server import ControlServer, Reply
from holdfast.daemon import command_reload, command_server, command_switch, errands, loops, recording
from holdfast.daemon.balancing import Balancing
from holdfast.daemon.building import Build, Built
from holdfast.daemon.companions import Companions
from holdfast.daemon.listeners import Listeners
from holdfast.daemon.options import Options
from holdfast.daemon.roles import EXIT_CONFIG, EXIT_FATAL, EXIT_PERMISSION, fork_vrrp_worker
from holdfast.daemon.saved import Saved
from holdfast.daemon.service import Service
from holdfast.daemon.watchers import Watchers
from holdfast.edge.channel import Ask, Channel, Ready, Reload, Stop, ToSupervisor
from holdfast.edge.channel import Reply as WorkerReply
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.logs import Log
from holdfast.edge.loop import Loop
from holdfast.edge.pulse import Pulse
from holdfast.engine.messages import Leaving, ReannounceAsked, RunScript
from holdfast.vrrp.messages import Level

FINAL = {EXIT_FATAL, EXIT_CONFIG, EXIT_PERMISSION}
"""Exit statuses of a worker after which starting it again would not help."""

STEADY: Nanoseconds = 60 * SECOND
"""A worker that lived longer than this is restarted at once."""

LONGEST_WAIT: Nanoseconds = 60 * SECOND

FROZEN: Nanoseconds = 10 * SECOND
"""A worker whose pulse is older than this while the supervisor runs is taken for stuck, and ended."""


class Worker:
    """The vrrp worker as the supervisor sees it."""

    def __init__(self, pid: int, channel: Channel, started_at: Nanoseconds) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        self.started_at = started_at
        self.ready = False
        self.left = False


class Supervisor:
    """One daemon's parent process."""

    def __init__(self, options: Options, loop: Loop, log: Log, service: Service, listeners: Listeners) -> None:
        self.options = options
        self.loop = loop
        self.log = log
        self.service = service
        self.listeners = listeners
        self.plan = b""
        self.worker: Worker | None = None
        self.pid = os.getpid()
        self.exit_status = 0
        self.stopping_at: Nanoseconds | None = None  # when the patience for a clean end runs out
        self.finished = False
        self._shutdown_begun = False
        self.pulse, self.worker_pulse = Pulse(), Pulse()  # our own loop's, and the vrrp worker's
        self._timers: list[tuple[Nanoseconds, Callable[[Nanoseconds], None]]] = []
        self._wait = 0
        self._asks: dict[int, tuple[list[bytes], Callable[[bytes | None], None]]] = {}
        self._ask_number = 0
        self._build: Build | None = None
        self._reload_again = False
        self._reload_cause = ""
        self._reload_replies: list[tuple[Reply, Callable[[], None]]] = []  # and what else a refusal calls
        self.control: ControlServer | None = None
        self.trial = command_reload.Trial(self)
        self.balancing = Balancing(self)
        self.commands: dict[str, Callable[[Request, Reply], None]] = {
            "status": self._status,
            **command_reload.commands(self),
            **command_switch.commands(self),
            **command_server.commands(self),
            **recording.commands(self),
            **loops.commands(self),
            **errands.commands(self),
        }
        self.watchers = Watchers(self)
        self.saved = Saved(self)
        self.companions = Companions(self)
        listeners.state_hooks.append(self.balancing.state)
        self._signal_reader = self._take_signals()
        listeners.witness.reannounce = self.reannounce

    # ---- running ----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until the end; the daemon's exit status."""
        while not self.finished:
            deadline = self._deadline()
            self.loop.wait(deadline)
            now = monotonic_ns()
            self.pulse.turned(deadline, now)
            due = [timer for timer in self._timers if timer[0] <= now]
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for _, call in due:
                call(now)
            self.listeners.on_due(now)
            self.service.on_due(now, self._alive(now))
            if self.control is not None:
                self.control.on_due(now)
            self._watch_pulse(now)
            self._maybe_finish(now)
        return self.exit_status

    def _deadline(self) -> Nanoseconds | None:
        control_at = self.control.due_at() if self.control is not None else None
        moments = [at for at, _ in self._timers]
        moments += [at for at in (self.listeners.due_at(), self.service.due_at(), control_at) if at is not None]
        if self.stopping_at is not None:
            moments.append(self.stopping_at)
        elif self.worker is not None:
            moments.append(monotonic_ns() + FROZEN // 2)
        return min(moments, default=None)

    def after(self, span_ns: Nanoseconds, call: Callable[[Nanoseconds], None]) -> None:
        """Call back once, `span_ns` from now."""
        self._timers.append((monotonic_ns() + span_ns, call))

    def _take_signals(self) -> socket.socket:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._signal_writer = writer
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN if self.options.ignore_sigint else lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self.loop.watch(reader.fileno(), self._signalled)
        return reader

    def _signalled(self) -> None:
        for number in self._signal_reader.recv(256):
            if number in (signal.SIGTERM, signal.SIGINT):
                self.stop(signal.Signals(number).name)
            elif self.stopping_at is not None:
                continue
            elif number == signal.SIGHUP:
                self.reload("SIGHUP")
            elif number == signal.SIGUSR1:
                self.dump("data")
                recording.on_signal(self)
            elif number in (signal.SIGUSR2, STATS_CLEAR):
                self.dump("stats", clear=number == STATS_CLEAR)
            elif number == JSON:
                self.dump("json")
            elif number == TDUMP:
                self.log.say(Level.INFO, "Internal timers are not dumped: ask `holdfast status --json`")

    # ---- the worker -------------------------------------------------------------------------------------------------

    def start_worker(self, now: Nanoseconds) -> None:
        """Fork the vrrp worker with the plan as it is now."""
        self.worker_pulse.beat(0, self.worker_pulse.ah_number)
        self.log.flush()
        try:
            pid, end = fork_vrrp_worker(self.plan, self.options, self.worker_pulse)
        except OSError as refused:
            cure = "free memory, processes (TasksMax=) or descriptors (LimitNOFILE=); trying again in 1 s"
            self.log.say(Level.ERROR, f"No vrrp worker can be started: {refused.strerror}; {cure}")
            self.note("no vrrp worker can be started", f"{refused.strerror}; {cure}")
            self.after(SECOND, self._start_again)
            return
        channel = Channel(end, ToSupervisor, self.loop, self._from_worker, lambda: None)
        self.worker = Worker(pid, channel, now)
        self.listeners.witness.begin(now)
        self.service.worker_started(pid)
        self.loop.watch(self.worker.pidfd, self._worker_ended)
        self.log.say(Level.INFO, f"Starting VRRP child process, pid={pid}")
        self.note("vrrp worker started", f"pid {pid}")

    def _from_worker(self, message: Any, fd: int | None) -> None:
        worker = self.worker
        if isinstance(message, RunScript):
            self.listeners.run_script(message, self._script_finished, monotonic_ns())
        elif isinstance(message, WorkerReply):
            self._answered(message)
        elif isinstance(message, Ready):
            self._worker_ready(message)
        elif isinstance(message, Leaving):
            if worker is not None:
                worker.left = True
        else:
            self.balancing.heard(message)
            self.listeners.take(message, monotonic_ns())

    def _worker_ready(self, message: Ready) -> None:
        if self.worker is not None:
            self.worker.ready = True
            self.watchers.tell_all()
        self.listeners.forget_removed(monotonic_ns())
        self.reloaded(message.instances)

    def reloaded(self, instances: int) -> None:
        """The plan runs, with so many instances: tell who waits for that."""
        self.saved.state("post")
        self.service.ready(f"{instances} VRRP instances" if instances else "virtual servers")
        replies, self._reload_replies = self._reload_replies, []
        for reply, _ in replies:
            reply.send({"reloaded": True, "instances": instances})

    def reannounce(self, instance: str) -> None:
        """Tell the neighbours again where an instance's addresses are, if it is MASTER."""
        if self.worker is not None:
            self.worker.channel.send(ReannounceAsked(instance))

    def _script_finished(self, finished: Any) -> None:
        if self.worker is not None:
            self.worker.channel.send(finished)

    def _worker_ended(self) -> None:
        worker = self.worker
        if worker is None:
            return
        self.loop.unwatch(worker.pidfd)
        os.close(worker.pidfd)
        _, status = os.waitpid(worker.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        worker.channel.drain()
        worker.channel.close()
        self.worker = None
        for _, answer in self._asks.values():
            answer(None)
        self._asks.clear()
        if self.stopping_at is not None:
            if not worker.left:
                self._release(worker)
            return
        how = f"exited with status {code}" if code >= 0 else f"was ended by signal {-code}"
        self.log.say(Level.ERROR, f"The vrrp worker (pid {worker.pid}) {how}")
        self.note("vrrp worker ended", f"pid {worker.pid} {how}")
        if not worker.left:
            self._release(worker)
        if code in FINAL or not self.options.respawn:
            if code in FINAL:
                self.log.say(Level.ERROR, f"pid {worker.pid} exited with permanent error {code}. Terminating")
            self.exit_status = code if code in FINAL else EXIT_FATAL
            self.stop("starting the vrrp worker again would not help")
            return
        self._restart_later(worker)

    def _release(self, worker: Worker) -> None:
        """Resign for a worker that could not do it itself, so that a peer takes over after its skew time."""
        from holdfast.daemon.last_will import release

        masters = self.listeners.masters()
        failure = release(self.plan, masters, self.worker_pulse.ah_number)
        if failure:
            self.log.say(Level.ERROR, failure)
        elif masters:
            self.log.say(Level.WARNING, f"Released the addresses of {', '.join(masters)}: a peer may take over")
        self.listeners.worker_died(monotonic_ns())

    def _restart_later(self, worker: Worker) -> None:
        now = monotonic_ns()
        lived = now - worker.started_at
        if lived >= STEADY:
            self._wait = 0
        wait, self._wait = self._wait, min(max(self._wait * 2, 1), LONGEST_WAIT // SECOND)
        self.log.say(Level.WARNING, f"Starting it again in {wait} s (it lived {span_text(lived)})")
        self.after(wait * SECOND, self._start_again)

    def _start_again(self, now: Nanoseconds) -> None:
        """The wait is over; unless the daemon leaves, or a reload has started a worker meanwhile."""
        if self.stopping_at is None and self.worker is None:
            self.start_worker(now)

    def _alive(self, now: Nanoseconds) -> bool:
        """Whether the worker's loop turns: the service manager's watchdog is fed only then."""
        if self.worker is None:
            return True
        pulse = self.worker_pulse.at
        return not pulse or now - pulse < FROZEN

    def _watch_pulse(self, now: Nanoseconds) -> None:
        worker = self.worker
        if worker is None or self._alive(now) or self.stopping_at is not None:
            return
        self.worker_pulse.beat(now, self.worker_pulse.ah_number)
        if loops.stopped(worker.pid):
            return  # somebody stopped it on purpose (SIGSTOP, a debugger): it will listen first when it goes on
        self.log.say(Level.ERROR, f"The vrrp worker (pid {worker.pid}) is stuck for {span_text(FROZEN)}; ending it")
        self.note("vrrp worker stuck", f"pid {worker.pid} gave no sign of life for {span_text(FROZEN)}: ended")
        os.kill(worker.pid, signal.SIGKILL)

    # ---- leaving ----------------------------------------------------------------------------------------------------

    def note(self, what: str, cause: str) -> None:
        """Write an event of the daemon's own into the journal."""
        self.listeners.journal.say("daemon", "", what, cause, monotonic_ns())

    def stop(self, cause: str) -> None:
        """Leave cleanly: the worker resigns, the stop scripts run, the files are cleared."""
        if self.stopping_at is not None:
            return
        self.service.stopping()
        self.companions.leave()
        self.log.say(Level.INFO, "Stopping")
        self.note("stopping", cause)
        self.stopping_at = monotonic_ns() + self.listeners.settings.child_wait_time_ns
        if self.worker is not None:
            self.worker.channel.send(Stop(self.options.keep_vrrp_addresses))
        self.balancing.stop(leave=self.options.keep_services)

    def _maybe_finish(self, now: Nanoseconds) -> None:
        if self.stopping_at is None:
            return
        if self.worker is not None:
            if now < self.stopping_at:
                return
            self.log.say(Level.ERROR, f"The vrrp worker (pid {self.worker.pid}) does not leave; ending it")
            os.kill(self.worker.pid, signal.SIGKILL)
            self.stopping_at = now + SECOND
            return
        busy = self.listeners.pending() or self.balancing.running or self.companions.pending()
        if busy and now < self.stopping_at:
            return
        if not self._shutdown_begun:
            self._shutdown_begun = True
            self.stopping_at = now + self.listeners.settings.shutdown_script_timeout_ns + SECOND
            self.listeners.run_shutdown_script(now)
            if self.listeners.pending():
                return
        self.note("stopped", f"exit status {self.exit_status}")
        self.companions.stop()
        self.listeners.close(now)
        self.finished = True

    # ---- reload -----------------------------------------------------------------------------------------------------

    def reload(self, cause: str) -> None:
        """Read the configuration again, in a process of its own; what runs goes on meanwhile."""
        self._reload_cause = cause
        if self._build is not None:
            self._reload_again = True
            return
        self.service.reloading()
        self.listeners.reload_begins()
        self.log.say(Level.INFO, "Reloading")
        self.saved.number += 1
        self._build = Build(self.options, self.loop, self._built, self.plan, self.saved.number)

    def _built(self, built: Built) -> None:
        self._build = None
        if self.stopping_at is not None:
            return
        for problem in built.problems:
            self.log.problem(problem)
        if built.unsaved:
            self.log.say(Level.WARNING, built.unsaved)
        self.listeners.write_check_log(built.problems)
        faulty = built.empty or bool(refused_lines(built))
        refusal = built.failure or ("" if built.plan else "it cannot run") or self.listeners.refuses(built.plan, faulty)
        if refusal:
            self.log.say(Level.ERROR, f"The new configuration is refused, the old one goes on: {refusal}")
            command_reload.note_refused(self, self._reload_cause, refusal, built)
            self.service.ready("reload refused")
            replies = [] if self._reload_again else self._reload_replies  # else the next reading answers them
            for reply, on_refusal in replies:
                reply.send(command_reload.refusal_document(refusal, built))
                on_refusal()
            if replies:
                self._reload_replies = []
        else:
            command_reload.note_reloaded(self, self._reload_cause, built.changes)
            self.take_plan(built.plan, built.balancer)
        self.listeners.reload_ended()
        if self._reload_again:
            self._reload_again = False
            self.reload(self._reload_cause)

    @property
    def building(self) -> bool:
        """Whether the configuration is being read."""
        return self._build is not None

    def take_plan(self, octets: bytes, balancer: bytes) -> None:
        """Run these plans from now on."""
        self.saved.state("pre")
        if self.options.run_checkers:
            self.balancing.take_plan(balancer)
        self.plan = octets
        now = monotonic_ns()
        self.listeners.new_plan(octets, now)
        self.watchers.load(octets)
        self.companions.load(octets, reloaded=True)
        if self.worker is None:
            if self.options.run_vrrp and self.listeners.has_instances:
                self.start_worker(now)
            else:
                self.reloaded(0)
            return
        fd = os.memfd_create("plan", os.MFD_CLOEXEC)
        os.write(fd, octets)
        self.worker.channel.send(Reload(len(octets)), fd)

    # ---- asking the worker ------------------------------------------------------------------------------------------

    def ask(self, answer: Callable[[bytes | None], None], clear: bool = False, hints: bool = False) -> None:
        """Ask the worker for its view; `answer` gets the JSON, or None when there is no worker."""
        self.ask_with(lambda number: Ask(number, clear, hints), answer)

    def ask_with(self, message: Callable[[int], Any], answer: Callable[[bytes | None], None]) -> None:
        """Send the worker a message that it answers under the number given; `answer` gets that, or None."""
        if self.worker is None or not self.worker.ready:
            answer(None)
            return
        self._ask_number += 1
        self._asks[self._ask_number] = ([], answer)
        self.worker.channel.send(message(self._ask_number))

    def _answered(self, reply: WorkerReply) -> None:
        pieces, answer = self._asks[reply.ask]
        pieces.append(reply.piece)
        if reply.last:
            del self._asks[reply.ask]
            answer(b"".join(pieces))

    def on_request(self, request: Request, reply: Reply) -> None:
        """A request on the local socket."""
        command = self.commands.get(request.command)
        if command is None:
            known = ", ".join(sorted(self.commands))
            reply.fail(f"there is no command {request.command!r}", f"this daemon knows {known}")
        else:
            command(request, reply)

    def _status(self, request: Request, reply: Reply) -> None:
        def answer(view: bytes | None) -> None:
            head = self.head(loops.loops(self))
            body = b"," + view[1:-1] if view else b',"instances":[],"sync_groups":[],"trackers":[],"bfd":[]'
            self.balancing.ask(
                lambda services: reply.send(head[:-1] + body + b',"virtual_servers":' + (services or b"[]") + b"}")
            )

        self.ask(answer, hints=request.arguments.get("hints") is True)

    def head(self, turning: list[loops.LoopView]) -> bytes:
        """How a status begins, as JSON."""
        return self.listeners.node_head(self.worker.pid if self.worker else None, self.trial.left_s(), turning)

    def reload_for(self, reply: Reply, on_refusal: Callable[[], None], cause: str) -> None:
        """Reload, and answer when the new configuration runs or is refused."""
        self._reload_replies.append((reply, on_refusal))
        self.reload(cause)

    def dump(self, kind: str, clear: bool = False, cause: str = "a signal") -> None:
        """Write the dump `kind` (export/files.py KINDS); `clear` zeroes the counters afterwards."""
        self.note("statistics cleared" if clear else f"dump of {kind}", cause)

        def answer(view: bytes | None) -> None:
            if view is None and not (kind == "data" and self.balancing.plan):
                self.log.say(Level.WARNING, f"No vrrp worker runs: nothing to write for {kind}")
            else:
                self.balancing.with_rows(kind, lambda more: self.listeners.write_dump(kind, self.plan, view, more))

        self.ask(answer, clear)


JSON = signal.SIGRTMIN + 2
STATS_CLEAR = signal.SIGRTMAX - 1
TDUMP = signal.SIGRTMAX

SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, JSON, STATS_CLEAR, TDUMP)


def refused_lines(built: Built) -> list[str]:
    """The problems that keep a configuration from running whole, as text."""
    return [problem.text() for problem in built.problems if problem.grade is Grade.ERROR]
