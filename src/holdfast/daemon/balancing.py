"""The supervisor's side of the lvs worker: starts it, starts it again, hands it plans, asks it.

A worker that dies leaves its services in the kernel, and with them every connection; the next one finds them again.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.daemon.roles import EXIT_CONFIG, EXIT_FATAL, EXIT_PERMISSION, fork_lvs_worker
from holdfast.daemon.server_holds import ServerHolds
from holdfast.edge.channel import Ask, Channel, Ready, Reload, Reply, Stop, SyncMaster, ToSupervisor
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.pulse import Pulse
from holdfast.engine.messages import (
    Leaving,
    MailNotice,
    RunScript,
    ScriptFinished,
    StateNotice,
    TrackerNotice,
    TrackerReported,
)
from holdfast.lvs.config import SyncDaemonConfig
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

FINAL = {EXIT_FATAL, EXIT_CONFIG, EXIT_PERMISSION}
STEADY: Nanoseconds = 60 * SECOND
LONGEST_WAIT_S = 60
NO_SERVERS = b"[]"


class _Sync(msgspec.Struct, frozen=True):
    sync_daemon: SyncDaemonConfig | None = None


class _Part(msgspec.Struct, frozen=True):
    """The part of the balancer's plan that the supervisor needs."""

    lvs: _Sync = _Sync()


class Balancing:
    """The lvs worker as the supervisor keeps it; `plan` empty: nothing is balanced."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._here = supervisor
        self.plan = b""
        self.pid = 0
        self.pulse = Pulse()
        self.started_at: Nanoseconds = 0
        self._pidfd = -1
        self._channel: Channel | None = None
        self._ready = False
        self._wait_s = 0
        self._asks: dict[int, tuple[list[bytes], Callable[[bytes | None], None]]] = {}
        self._number = 0
        self._stopping = False
        self._tied = ""  # the instance of lvs_sync_daemon
        self._masters: set[str] = set()
        self._sessions: dict[str, TrackerReported] = {}  # of BFD: what was told last
        self.holds = ServerHolds(supervisor.options.run_dir)
        self._say(self.holds.read())

    @property
    def running(self) -> bool:
        """Whether a worker lives."""
        return self._channel is not None

    def take_plan(self, octets: bytes) -> None:
        """Balance by this plan from now on; empty: no more."""
        self.plan = octets
        part = msgspec.msgpack.decode(octets, type=_Part) if octets else _Part()
        self._tied = part.lvs.sync_daemon.instance if part.lvs.sync_daemon is not None else ""
        self._tell_role()
        if not octets:
            self.stop(leave=False)
        elif self._channel is None:
            self.start(monotonic_ns())
        else:
            self._stopping = False
            fd = os.memfd_create("plan", os.MFD_CLOEXEC)
            os.write(fd, octets)
            self._channel.send(Reload(len(octets)), fd)

    def state(self, notice: StateNotice) -> None:
        """An instance has another state: connections are synchronised by its master."""
        if notice.kind == "INSTANCE":
            (self._masters.add if notice.state == "MASTER" else self._masters.discard)(notice.name)
            if notice.name == self._tied:
                self._tell_role()

    def _tell_role(self) -> None:
        if self._channel is not None and self._tied:
            self._channel.send(SyncMaster(self._tied in self._masters))

    def start(self, now: Nanoseconds) -> None:
        """Fork the worker with the plan as it is now."""
        here = self._here
        if not self.plan or self._channel is not None or here.stopping_at is not None:
            return
        here.log.flush()
        try:
            master, holds = self._tied in self._masters, self.holds.weights
            self.pid, end = fork_lvs_worker(self.plan, here.options, holds, master, self.pulse)
        except OSError as refused:
            cure = "free memory, processes (TasksMax=) or descriptors (LimitNOFILE=); trying again in 1 s"
            here.log.say(Level.ERROR, f"No lvs worker can be started: {refused.strerror}; {cure}")
            here.after(SECOND, self.start)
            return
        self._pidfd = os.pidfd_open(self.pid)
        self._channel = Channel(end, ToSupervisor, here.loop, self._from_worker, lambda: None)
        self.started_at, self._ready, self._stopping = now, False, False
        here.loop.watch(self._pidfd, self._ended)
        here.log.say(Level.INFO, f"Starting Healthchecker child process, pid={self.pid}")

    def stop(self, *, leave: bool) -> None:
        """Ask the worker to leave; `leave`: its services stay in the kernel (`-I`)."""
        if self._channel is not None and not self._stopping:
            self._stopping = True  # what its plan holds is taken out of the kernel
            self._channel.send(Stop(leave))

    def ask(self, answer: Callable[[bytes | None], None]) -> None:
        """The worker's virtual servers as JSON; None when there is no worker."""
        self.ask_with(Ask, answer)

    def with_rows(self, kind: str, then: Callable[[tuple[bytes, bytes] | None], None]) -> None:
        """The plan and the virtual servers, where a dump of that kind has them; None where nothing is balanced."""
        plan = self.plan
        if kind != "data" or not plan:
            then(None)
        else:
            self.ask(lambda rows: then((plan, rows or NO_SERVERS)))

    def ask_with(self, message: Callable[[int], Any], answer: Callable[[bytes | None], None]) -> None:
        """Send the worker a message that it answers under the number given."""
        if self._channel is None or not self._ready:
            answer(None)
            return
        self._number += 1
        self._asks[self._number] = ([], answer)
        self._channel.send(message(self._number))

    def _from_worker(self, message: Any, fd: int | None) -> None:
        now = monotonic_ns()
        if isinstance(message, RunScript):
            self._here.listeners.run_script(message, self._script_finished, now)
        elif isinstance(message, Reply):
            pieces, answer = self._asks[message.ask]
            pieces.append(message.piece)
            if message.last:
                del self._asks[message.ask]
                answer(b"".join(pieces))
        elif isinstance(message, Ready):
            self._ready = True
            for told in self._sessions.values():
                self._send(told)
            if self.holds.weights:
                self.ask(self._forget_holds)
        elif isinstance(message, MailNotice):
            self._here.companions.take_mail(message)
        elif not isinstance(message, Leaving):
            self._here.listeners.take(message, now)

    def heard(self, notice: Any) -> None:
        """The vrrp worker says something: how a BFD session stands is for the checks, too."""
        if isinstance(notice, TrackerNotice) and notice.kind == "bfd":
            told = TrackerReported("bfd", notice.name, notice.up, notice.detail)
            self._sessions[notice.name] = told
            if self._ready:
                self._send(told)

    def _send(self, message: Any) -> None:
        if self._channel is not None:
            self._channel.send(message)

    def _forget_holds(self, rows: bytes | None) -> None:
        """Operators' weights of servers that are configured no more are given up."""
        if rows is not None:
            services = msgspec.json.decode(rows)
            self._say(
                self.holds.keep_only(
                    (service["name"], server["label"]) for service in services for server in service["real_servers"]
                )
            )

    def _say(self, failure: str) -> None:
        if failure:
            self._here.log.say(Level.WARNING, failure)

    def held(self, answer: bytes) -> None:
        """The worker has taken an operator's weight: remember it for the next one."""
        told = msgspec.json.decode(answer)
        self._say(self.holds.hold(told["service"], told["server"], told["held"]))

    def _script_finished(self, finished: ScriptFinished) -> None:
        self._send(finished)

    def _ended(self) -> None:
        here, channel = self._here, self._channel
        assert channel is not None
        here.loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        channel.drain()
        channel.close()
        self._channel = None
        for _, answer in self._asks.values():
            answer(None)
        self._asks.clear()
        if self._stopping or here.stopping_at is not None:
            return
        how = f"exited with status {code}" if code >= 0 else f"was ended by signal {-code}"
        here.log.say(Level.ERROR, f"The lvs worker (pid {self.pid}) {how}; its services stay in the kernel")
        if code in FINAL:
            here.log.say(Level.ERROR, "Nothing is balanced until the next reload: starting it again would not help")
            return
        now = monotonic_ns()
        lived = now - self.started_at
        if lived >= STEADY:
            self._wait_s = 0
        wait_s, self._wait_s = self._wait_s, min(max(self._wait_s * 2, 1), LONGEST_WAIT_S)
        here.log.say(Level.WARNING, f"Starting it again in {wait_s} s (it lived {span_text(lived)})")
        here.after(wait_s * SECOND, self.start)
