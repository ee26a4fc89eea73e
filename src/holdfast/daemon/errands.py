"""Errands: questions that take time, each answered by a short-lived process with the daemon's rights.

`who` asks the wire and `changes` reads the configuration; the supervisor waits for neither. Several that ask the same
while it is on its way get one answer.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.base.problem import problem_rows
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.control.messages import Request
from holdfast.control.server import Reply
from holdfast.kernel import process

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

LONGEST: Nanoseconds = 20 * SECOND
"""An errand that takes longer is ended."""

Work = Callable[[], dict[str, Any]]
"""Gives the answer; done in the process of its own."""


class Errands:
    """What is on its way, by the name of the command."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._here = supervisor
        self._waiting: dict[str, list[Reply]] = {}

    def run(self, name: str, work: Work, reply: Reply) -> None:
        """Answer `reply` with what `work` gives."""
        if name in self._waiting:
            self._waiting[name].append(reply)
            return
        try:
            pid, reader = _forked(work)
        except OSError as refused:
            reply.fail(f"no process can be started: {refused.strerror}", "free memory or processes (TasksMax=)")
            return
        self._waiting[name] = [reply]
        octets = bytearray()

        def readable() -> None:
            piece = os.read(reader, 1 << 20)
            if piece:
                octets.extend(piece)
                return
            self._here.loop.unwatch(reader)
            os.close(reader)
            os.waitpid(pid, 0)
            for one in self._waiting.pop(name):
                if octets:
                    one.send(bytes(octets))
                else:
                    one.fail(f"{name} failed, or took more than {LONGEST // SECOND} s", "look at the log")

        def late(now: Nanoseconds) -> None:
            if self._waiting.get(name) is waited:
                os.kill(pid, signal.SIGKILL)

        waited = self._waiting[name]
        self._here.loop.watch(reader, readable)
        self._here.after(LONGEST, late)


def _forked(work: Work) -> tuple[int, int]:
    """Fork: the pid, and the descriptor the answer's JSON can be read from."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.closerange(3, writer)
        os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
        if process.die_with_parent(parent, signal.SIGKILL):
            process.set_ordinary()
            octets = msgspec.json.encode(work())
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(octets)
            status = 0
    except BaseException as failed:  # nothing of the parent's may run on in this process
        sys.stderr.write(f"holdfast: an errand failed: {failed!r}\n")
    finally:
        os._exit(status)


def commands(here: "Supervisor") -> dict[str, Callable[[Request, Reply], None]]:
    """The commands of this module, by name."""
    errands, run_dir = Errands(here), here.options.run_dir

    def who_has_it() -> dict[str, Any]:
        from holdfast.control.client import AskError, ask
        from holdfast.who.look import UnusableError, look

        try:
            return {"vips": look((), None, False, None, lambda: (ask(run_dir, {"command": "status"}), ""))}
        except (AskError, UnusableError) as failed:
            return {"error": str(failed)}

    def planned() -> dict[str, Any]:
        from holdfast.control.client import AskError
        from holdfast.control.planned import UnfitError, look

        try:
            return look(run_dir, None)
        except UnfitError as unfit:
            checked = unfit.checked
            cure = "mend what `problems` names; what runs goes on"
            return {"error": f"{checked.file} can't be used: a reload would be refused", "cure": cure,
                    "problems": problem_rows(checked.problems)}  # fmt: skip
        except AskError as failed:
            return {"error": str(failed)}

    return {
        "who": lambda request, reply: errands.run("who", who_has_it, reply),
        "changes": lambda request, reply: errands.run("changes", planned, reply),
    }
