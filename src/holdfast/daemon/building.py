"""The builder: a short-lived process that reads the configuration and hands the plan over as bytes.

It is forked from the supervisor, so that the parser, its tables and whatever it imports never stay in a process that
lives on; and so that reading 100,000 lines stalls nobody's loop.
"""

import os
import stat
import sys
import time
from collections.abc import Callable

import msgspec

from holdfast.base.problem import Problem
from holdfast.daemon.options import Options
from holdfast.edge.loop import Loop

EXIT_STATUSES = {"refused": 2, "absent": 6}
"""How the daemon ends when its configuration cannot run, as keepalived does."""

UNSETTLED_READS = 5
UNSETTLED_S = 0.02
"""A file that changes while it is read, or is empty, is read again, so often and after this pause."""

CHANGES_TOLD = 30
CHANGE_LETTERS = 300
"""Of a reload's changes so many are told, and so much of each."""


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What a builder handed over. `plan` is empty when the configuration cannot run: `exit_status` says how to end."""

    plan: bytes = b""
    balancer: bytes = b""  # the load balancer's plan; empty without virtual servers
    problems: list[Problem] = []
    exit_status: int = 0
    failure: str = ""  # the builder itself failed: a mistake of ours
    empty: bool = False  # the file holds nothing at all
    unsaved: str = ""  # why no copy could be kept
    changes: tuple[str, ...] = ()  # what is other than in the running plan, in an operator's words


class Build:
    """One builder at work; `on_built` gets its outcome, once."""

    def __init__(
        self, options: Options, loop: Loop, on_built: Callable[[Built], None], running: bytes, number: int
    ) -> None:
        """`running`: the plan that runs now; `number` counts the readings."""
        self._loop = loop
        self._on_built = on_built
        self._octets = bytearray()
        self._fd, self.pid = start_builder(options, running, number)
        loop.watch(self._fd, self._readable)

    def _readable(self) -> None:
        piece = os.read(self._fd, 1 << 20)
        if piece:
            self._octets += piece
            return
        self._loop.unwatch(self._fd)
        os.close(self._fd)
        os.waitpid(self.pid, 0)
        self._on_built(decode(bytes(self._octets)))


def decode(octets: bytes) -> Built:
    """What the builder wrote; a builder that died is a failure told as such."""
    try:
        return msgspec.msgpack.decode(octets, type=Built)
    except msgspec.DecodeError:
        return Built(exit_status=1, failure="the configuration's reader ended before it was done")


def build_now(options: Options, meanwhile: Callable[[], object] = bool) -> Built:
    """Read the configuration and wait for it, as at start; `meanwhile` is done here while the builder works."""
    fd, pid = start_builder(options)
    meanwhile()
    octets = bytearray()
    while piece := os.read(fd, 1 << 20):
        octets += piece
    os.close(fd)
    os.waitpid(pid, 0)
    return decode(bytes(octets))


def start_builder(options: Options, running: bytes = b"", number: int = 0) -> tuple[int, int]:
    """Fork a builder: the descriptor its outcome can be read from, and its pid."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    status = 1
    try:
        os.close(reader)
        outcome = msgspec.msgpack.encode(_compared(_build(options, number), running))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(outcome)
        status = 0
    except BaseException as failed:  # nothing of the parent's may run on in this process
        sys.stderr.write(f"holdfast: the configuration's reader failed: {failed!r}\n")
    finally:
        os._exit(status)


def _stamp(path: str) -> tuple[int, int, int]:
    """What tells that a file was written: its inode, size and time; -1 for a pattern or a file that is not there."""
    try:
        seen = os.stat(path)
    except OSError:
        return -1, -1, -1
    if not stat.S_ISREG(seen.st_mode):
        return -1, -1, -1  # a pipe can be read only once
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def _compared(built: Built, running: bytes) -> Built:
    """`built` with what it changes in the `running` plan."""
    if not running or not built.plan or built.plan == running:
        return built
    from holdfast.config.builder import decode_plan
    from holdfast.config.changes import changes

    found = changes(decode_plan(running), decode_plan(built.plan))
    lines = [f"{one.subject}: {one.what}"[:CHANGE_LETTERS] for one in found]
    more = (f"and {len(lines) - CHANGES_TOLD} more",) if len(lines) > CHANGES_TOLD else ()
    return msgspec.structs.replace(built, changes=(*lines[:CHANGES_TOLD], *more))


def _build(options: Options, number: int = 0) -> Built:
    try:
        from holdfast.config.builder import build_plan

        for _ in range(UNSETTLED_READS):
            before = _stamp(options.config_file)
            result = build_plan(
                options.config_file, config_id=options.config_id, all_include_checks=options.all_includes_checked
            )
            after = _stamp(options.config_file)
            if before == after and after[1]:
                break  # else it is just being written: empty or half of it
            time.sleep(UNSETTLED_S)
        failure = ""
        if result.save_dir:
            from holdfast.daemon.saved import save_text

            failure = save_text(result.save_dir, os.getppid(), number, result.text)
        status = EXIT_STATUSES.get(result.exit_class, 0)
        plan = result.plan_bytes or b""
        problems = list(result.problems)
        balancer = result.balancer_bytes
        return Built(
            plan=plan, balancer=balancer, problems=problems, exit_status=status, empty=after[1] == 0, unsaved=failure
        )
    except Exception as failed:
        import traceback

        return Built(exit_status=1, failure="".join(traceback.format_exception(failed)))
