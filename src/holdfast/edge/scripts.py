"""Running people's programs: start, time limit, output, result; never waiting, never raising.

A run passes through: *begun* (forked) → *ended* (its first process is gone: the result is told) → *drained* (its
output pipe is at its end: nothing is left). A program it left behind in the background keeps the pipe, not the run:
the pipe is read on, and what comes is dropped, so that nobody dies of SIGPIPE.

Everything the kernel has to say (output, ends) comes through one epoll descriptor, `fileno()`; it nests in any loop.
Ends are seen through pidfds: no SIGCHLD, no race with another wait, no wrong process signalled.
"""

import errno
import fcntl
import heapq
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import msgspec

from holdfast.base.command import Command
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.edge.clock import monotonic_ns
from holdfast.engine.messages import ScriptFinished
from holdfast.kernel.process import Surroundings, die_with_parent, surroundings

KEPT_BYTES = 4096
"""How much of a run's output is kept."""

KILL_AFTER_NS = 2 * SECOND
"""From SIGTERM to SIGKILL, as keepalived gives its tracking scripts."""

LINGERING_PIPES = 64
"""How many background programs may hold on to the output pipe of a run that has ended."""

PARTING_NS = 200 * MILLISECOND
"""How long whatever still runs when the daemon ends has to end by itself."""

NEVER_RAN = 127
"""The status of a run whose program could not be started, as a shell gives it."""

_DROP_PACE_NS = 10 * MILLISECOND
_DROP_BYTES = 1 << 20  # also the pipe's size once its output is dropped
_UNWANTED = (b"IFS", b"LD_PRELOAD", b"LD_LIBRARY_PATH")
_REPORT_FD = 3
_SIGNALS = tuple(int(number) for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP))


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. `error` says why it never began; `note` is worth a line in the log."""

    status: int  # exit status, -signal, or NEVER_RAN with `error`
    timed_out: bool = False
    output: str = ""  # at most KEPT_BYTES of it
    more_output: bool = False
    error: str = ""
    note: str = ""
    spent_ns: Nanoseconds = 0

    @property
    def succeeded(self) -> bool:
        """Exit status 0, in time."""
        return self.status == 0 and not self.timed_out and not self.error

    def outcome(self) -> str:
        """The end in a few words: `exited with status 3`, `timed out`, `was ended by SIGSEGV`."""
        if self.error:
            return self.error
        if self.timed_out:
            return "timed out and was ended"
        if self.status < 0:
            try:
                return f"was ended by {signal.Signals(-self.status).name}"
            except ValueError:
                return f"was ended by signal {-self.status}"
        return f"exited with status {self.status}"

    def first_lines(self, count: int = 2) -> str:
        """The first lines of output that are not empty, joined by ` | `."""
        return " | ".join([line.strip() for line in self.output.splitlines() if line.strip()][:count])


def tracking_result(name: str, run: int, result: RunResult) -> ScriptFinished:
    """The answer to a RunScript notice."""
    return ScriptFinished(
        name=name,
        run=run,
        status=result.status,
        timed_out=result.timed_out,
        output=result.error or result.first_lines(),
        spent_ns=result.spent_ns,
    )


class RunHandle:
    """One run of one command. `ended` once its result was told."""

    __slots__ = ("_kept", "_kill_after_ns", "_kill_at", "_more", "_on_finished", "_pidfd", "_pipe", "_signalled",
                 "_started_at", "_timed_out", "command", "ended", "number", "pid")  # fmt: skip

    def __init__(self, number: int, command: Command, now: Nanoseconds, kill_after_ns: Nanoseconds,
                 on_finished: Callable[[RunResult, Nanoseconds], None]) -> None:  # fmt: skip
        self.number = number
        self.command = command
        self.pid = 0
        self.ended = False
        self._pidfd = -1
        self._pipe = -1
        self._kept = bytearray()
        self._more = False
        self._started_at = now
        self._kill_after_ns = kill_after_ns
        self._kill_at: Nanoseconds | None = None
        self._signalled = False
        self._timed_out = False
        self._on_finished = on_finished


class ScriptRunner:
    """Starts commands and tells how they ended. Watch `fileno()` for reading; call `on_due` at `due_at()`."""

    def __init__(self, home: Surroundings | None = None, environment: Mapping[bytes, bytes] | None = None) -> None:
        """`home`: the limits and scheduling scripts get back; `environment`: theirs, less what could mislead them."""
        self._home = home or surroundings()
        environment = os.environb if environment is None else environment
        self._environment = {key: value for key, value in environment.items() if key not in _UNWANTED}
        self._epoll = select.epoll()
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._reports, self._report_to = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pidfds: dict[int, RunHandle] = {}
        self._pipes: dict[int, RunHandle] = {}
        self._timers: list[tuple[Nanoseconds, int, Callable[[Nanoseconds], None]]] = []
        self._count = 0
        self._timer_count = 0
        self._said: dict[int, tuple[str, str]] = {}  # run → what its child said: kind, text
        self._unreaped: set[RunHandle] = set()

    # ---- for the loop -----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when a run printed something or ended."""
        return self._epoll.fileno()

    def on_readable(self, now: Nanoseconds) -> None:
        """Read what was printed, tell what ended."""
        for fd, _ in self._epoll.poll(0, 256):
            if fd in self._pipes:
                self._drain(self._pipes[fd], now)
            elif fd in self._pidfds:
                self._has_ended(self._pidfds[fd], now)

    def due_at(self) -> Nanoseconds | None:
        """When `on_due` has something to do."""
        return self._timers[0][0] if self._timers else None

    def on_due(self, now: Nanoseconds) -> None:
        """Enforce time limits."""
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2](now)

    def running(self) -> int:
        """How many runs have not ended."""
        return len(self._pidfds)

    def close(self) -> None:
        """End whatever runs: SIGTERM, and SIGKILL to what is left after PARTING_NS; no results are told.

        The one place that waits, at the daemon's very end.
        """
        for run in self._pidfds.values():
            if not run._signalled:
                self._signal(run, signal.SIGTERM)
        end = monotonic_ns() + PARTING_NS
        for run in list(self._pidfds.values()):
            poll = select.poll()
            poll.register(run._pidfd, select.POLLIN)
            poll.poll(max(0, end - monotonic_ns()) / MILLISECOND)
            self._signal(run, signal.SIGKILL)
            poll.poll(10)  # no longer: it may be stuck in the kernel, and is then init's
            os.waitid(os.P_PIDFD, run._pidfd, os.WEXITED | os.WNOHANG)
            os.close(run._pidfd)
        for run in list(self._unreaped):
            self._bury(run)
        for fd in (*self._pipes, self._null, self._reports, self._report_to):
            os.close(fd)
        self._pidfds.clear()
        self._pipes.clear()
        self._timers.clear()
        self._epoll.close()

    # ---- starting ---------------------------------------------------------------------------------------------------

    def start(
        self,
        command: Command,
        *,
        extra_arguments: Sequence[str] = (),
        now: Nanoseconds,
        on_finished: Callable[[RunResult, Nanoseconds], None],
        timeout_ns: Nanoseconds | None = None,
        kill_after_ns: Nanoseconds = KILL_AFTER_NS,
    ) -> RunHandle:
        """Start `command`; `on_finished(result, now)` is called once, later, out of `on_readable` or `on_due`.

        `timeout_ns` stands in for the command's own limit; 0 means none. `</path` as the first word only asks
        whether the file can be read. Whatever goes wrong is told as a result, never raised.
        """
        self._count += 1
        run = RunHandle(self._count, command, now, kill_after_ns, on_finished)
        try:
            pipe, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            return self._never_began(run, now, f"cannot be started: no pipe for its output: {error.strerror}")
        try:
            os.set_blocking(write_end, True)  # the program's side is an ordinary pipe
            run.pid, run._pidfd = self._fork((*command.argv, *extra_arguments), run, write_end)
        except OSError as error:
            os.close(pipe)
            return self._never_began(run, now, f"cannot be started: {_fork_refusal(error)}")
        finally:
            os.close(write_end)
        run._pipe = pipe
        self._pidfds[run._pidfd] = run
        self._pipes[pipe] = run
        self._epoll.register(run._pidfd, select.EPOLLIN)
        self._epoll.register(pipe, select.EPOLLIN)
        limit_ns = command.timeout_ns if timeout_ns is None else timeout_ns
        if limit_ns:
            self._at(now + limit_ns, lambda at: self._out_of_time(run, at))
        return run

    def cancel(self, run: RunHandle, now: Nanoseconds) -> None:
        """End a run: SIGTERM to its group, SIGKILL later. Its result is told as usual; no harm if it has ended."""
        if not run.ended and not run._signalled:
            self._terminate(run, now)

    def _never_began(self, run: RunHandle, now: Nanoseconds, error: str) -> RunHandle:
        self._at(now, lambda at: self._tell(run, RunResult(status=NEVER_RAN, error=error), at))
        return run

    def _fork(self, argv: tuple[str, ...], run: RunHandle, output: int) -> tuple[int, int]:
        """The new process and its pidfd; raises OSError."""
        parent = os.getpid()
        # No signal may reach a handler of ours in the child: it would speak for the daemon.
        mask = signal.pthread_sigmask(signal.SIG_SETMASK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(argv, run, output, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    # ---- in the child -----------------------------------------------------------------------------------------------

    def _become(self, argv: tuple[str, ...], run: RunHandle, output: int, parent: int) -> NoReturn:
        """From fork to exec. Whatever fails is said on the report pipe, which exec closes."""
        doing, report_to = "be prepared", self._report_to
        try:
            os.setsid()
            self._home.restore()
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (self._null, output, output, self._report_to)]
            for fd, moved in enumerate(high):  # by way of high numbers: they may be among 0 to 3 themselves
                os.dup2(moved, fd, inheritable=fd != _REPORT_FD)
            report_to = _REPORT_FD
            os.closerange(_REPORT_FD + 1, max(os.sysconf("SC_OPEN_MAX"), 65536))
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.chdir("/")
            command = run.command
            doing = f"run as user {command.uid}, group {command.gid}"
            _become_user(command)
            doing = "be run"
            if not die_with_parent(parent):
                os._exit(NEVER_RAN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if argv[0].startswith("<"):
                os.close(os.open(argv[0][1:].strip(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
                os._exit(0)
            self._execute(argv, run.number)
        except BaseException as error:  # nothing of the parent may run on in the child
            _report(report_to, run.number, "error", f"cannot {doing}: {_exec_refusal(argv[0], error)}")
        finally:
            os._exit(NEVER_RAN)

    def _execute(self, argv: tuple[str, ...], number: int) -> None:
        try:
            os.execve(argv[0], argv, self._environment)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
        _report(_REPORT_FD, number, "note", "neither begins with #! nor is a program: given to /bin/sh")
        os.execve("/bin/sh", ("/bin/sh", *argv), self._environment)

    # ---- output -----------------------------------------------------------------------------------------------------

    def _drain(self, run: RunHandle, now: Nanoseconds) -> None:
        """Read what the pipe holds: the first KEPT_BYTES are kept, the rest goes to /dev/null uncopied."""
        fd = run._pipe
        room = KEPT_BYTES - len(run._kept)
        try:
            if room > 0 and not run.ended:
                chunk = os.read(fd, room)
                run._kept += chunk
                if not chunk:
                    self._close_pipe(run)
                elif len(run._kept) >= KEPT_BYTES:
                    _enlarge(fd)
            elif os.splice(fd, self._null, _DROP_BYTES) == 0:
                self._close_pipe(run)
            else:
                # Whoever prints without end costs us a wake-up each pace, not one a line.
                run._more = True
                self._epoll.modify(fd, 0)
                self._at(now + _DROP_PACE_NS, lambda _: self._listen_again(run, fd))
        except BlockingIOError:
            return
        except OSError:
            self._close_pipe(run)

    def _listen_again(self, run: RunHandle, fd: int) -> None:
        if run._pipe == fd:
            self._epoll.modify(fd, select.EPOLLIN)

    def _close_pipe(self, run: RunHandle) -> None:
        del self._pipes[run._pipe]
        self._epoll.unregister(run._pipe)  # a child between fork and exec may still have it open
        os.close(run._pipe)
        run._pipe = -1

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _out_of_time(self, run: RunHandle, now: Nanoseconds) -> None:
        if not run.ended and not run._signalled:
            run._timed_out = True
            self._terminate(run, now)

    def _terminate(self, run: RunHandle, now: Nanoseconds) -> None:
        if run._pidfd < 0:
            return
        run._signalled = True
        self._signal(run, signal.SIGTERM)
        self._at(now + run._kill_after_ns, lambda _: self._kill(run))

    def _kill(self, run: RunHandle) -> None:
        if run in self._unreaped:
            self._bury(run)
        elif not run.ended:
            self._signal(run, signal.SIGKILL)

    def _signal(self, run: RunHandle, number: signal.Signals) -> None:
        try:
            os.killpg(run.pid, number)  # not reaped yet, so the group's number is still its own
        except OSError:  # it has not made its group yet, or only others' processes are left in it
            try:
                signal.pidfd_send_signal(run._pidfd, number)
            except OSError:
                return

    def _has_ended(self, run: RunHandle, now: Nanoseconds) -> None:
        """The first process of a run is gone. One that was told to end stays a zombie until its group is killed."""
        self._epoll.unregister(run._pidfd)
        del self._pidfds[run._pidfd]
        while run._pipe >= 0 and len(run._kept) < KEPT_BYTES:
            before = len(run._kept)
            self._drain(run, now)
            if len(run._kept) == before:
                break
        keep = os.WNOWAIT if run._signalled else 0
        try:
            end = os.waitid(os.P_PIDFD, run._pidfd, os.WEXITED | keep)
        except ChildProcessError:
            end = None
        self._read_reports()
        kind, text = self._said.pop(run.number, ("", ""))
        if end is None:
            kind, text, status = "error", "ended, but somebody else took its exit status", NEVER_RAN
        else:
            status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
        if keep and end is not None:
            self._unreaped.add(run)
        else:
            os.close(run._pidfd)
            run._pidfd = -1
        output = bytes(run._kept[:KEPT_BYTES]).decode("utf-8", "replace")
        result = RunResult(
            status=status,
            timed_out=run._timed_out,
            output=output,
            more_output=run._more or len(run._kept) >= KEPT_BYTES,
            error=text if kind == "error" else "",
            note=text if kind == "note" else "",
            spent_ns=now - run._started_at,
        )
        run._kept = bytearray()
        self._tell(run, result, now)
        self._limit_lingering()

    def _bury(self, run: RunHandle) -> None:
        self._signal(run, signal.SIGKILL)  # whatever of its group outlived SIGTERM
        os.waitid(os.P_PIDFD, run._pidfd, os.WEXITED)
        os.close(run._pidfd)
        run._pidfd = -1
        self._unreaped.discard(run)

    def _limit_lingering(self) -> None:
        lingering = [run for run in self._pipes.values() if run.ended]
        for run in lingering[:-LINGERING_PIPES]:
            self._close_pipe(run)

    def _read_reports(self) -> None:
        """Take in what children said before they ended: `number TAB kind TAB text NEWLINE`."""
        try:
            said = os.read(self._reports, 65536)
        except BlockingIOError:
            return
        for line in said.decode("utf-8", "replace").split("\n")[:-1]:
            number, kind, text = line.split("\t", 2)
            self._said[int(number)] = (kind, text)

    def _tell(self, run: RunHandle, result: RunResult, now: Nanoseconds) -> None:
        run.ended = True
        run._on_finished(result, now)

    def _at(self, when: Nanoseconds, act: Callable[[Nanoseconds], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, act))


# ---- in the child ---------------------------------------------------------------------------------------------------


def _become_user(command: Command) -> None:
    """Take on the command's groups, group and user; nothing to do when they are ours already."""
    uid = os.geteuid() if command.uid is None else command.uid
    gid = os.getegid() if command.gid is None else command.gid
    if command.uid is None and command.gid is None:
        return
    if (uid, gid) == (os.geteuid(), os.getegid()) and os.geteuid() != 0:
        return
    os.setgroups(command.groups or (gid,))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _report(fd: int, number: int, kind: str, text: str) -> None:
    line = text.replace("\n", " ")[:400]
    try:
        os.write(fd, f"{number}\t{kind}\t{line}\n".encode("utf-8", "replace"))
    except OSError:
        return


def _exec_refusal(path: str, error: BaseException) -> str:
    """Why a program could not be run, with the cure."""
    number = getattr(error, "errno", None)
    if path.startswith("<"):
        return f"{path[1:].strip()} cannot be read: {getattr(error, 'strerror', error)}"
    if number == errno.ENOENT and os.path.exists(path):
        with open(path, "rb") as script:
            first = script.readline(256)
        if first.startswith(b"#!") and first.rstrip(b"\n").endswith(b"\r"):
            return f"{path} has DOS line ends: convert it with dos2unix"
        words = first[2:].split() if first.startswith(b"#!") else []
        return f"the interpreter of {path}, {words[0].decode(errors='replace') if words else 'its loader'}, is missing"
    if number == errno.ENOENT:
        return f"{path} does not exist"
    if number == errno.EACCES and os.path.isdir(path):
        return f"{path} is a directory"
    if number == errno.EACCES:
        return f"{path} is not executable for user {os.geteuid()}: chmod +x it, and see its folders and mount options"
    if number == errno.EPERM:
        return "operation not permitted; grant CAP_SETUID and CAP_SETGID"
    return f"{getattr(error, 'strerror', None) or error}".lower()


# ---- small things ---------------------------------------------------------------------------------------------------


def _fork_refusal(error: OSError) -> str:
    cures = {
        errno.EAGAIN: "too many processes: raise TasksMax= or the nproc limit",
        errno.ENOMEM: "out of memory",
        errno.EMFILE: "too many open files: raise the nofile limit",
    }
    return cures.get(error.errno or 0, (error.strerror or str(error)).lower())


def _enlarge(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _DROP_BYTES)
    except OSError:
        return  # beyond what this user may have: the pipe stays small
