"""The recording on its way to a file: after a failure of the worker, on SIGUSR1, and for `holdfast dump --record`."""

import base64
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from holdfast import __version__
from holdfast.control.messages import Request
from holdfast.control.server import Reply
from holdfast.daemon.options import Options
from holdfast.edge.channel import Record
from holdfast.engine.record import RecordedEngine
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

FILE = "holdfast.rec"
"""The recording's name in the run directory; the one before it is kept with `.1` behind."""

MOST_BYTES = 4 * 1024 * 1024


def octets(frames: bytes, reason: str, pid: int) -> bytes:
    """What a recording's file holds: written now, by the worker `pid`, for `reason`."""
    from holdfast.engine.replay import FORMAT, Header, file_octets

    return file_octets(
        Header(
            format=FORMAT,
            version=__version__,
            node=socket.gethostname(),
            pid=pid,
            reason=reason,
            time=datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
            wall_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
        ),
        frames,
    )


def write(run_dir: str, whole: bytes) -> str:
    """Put a recording into the run directory and keep the one before; its path. Raises OSError."""
    from holdfast.export import files

    path = os.path.join(run_dir, FILE)
    if len(whole) > MOST_BYTES:
        raise OSError(f"it has {len(whole)} bytes, at most {MOST_BYTES} may be")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.1")
    with contextlib.suppress(FileNotFoundError):
        os.link(path, f"{path}.1")
    files.replace(path, whole)
    return path


# ---- in the worker --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def recorded_failure(
    engine: RecordedEngine, options: Options, expected: type[Exception] | tuple[()] = ()
) -> Iterator[None]:
    """Write the recording when what is done here fails, unless as `expected`, and let the failure go on."""
    try:
        yield
    except expected:
        raise
    except Exception as failed:
        with contextlib.suppress(Exception):
            _write_aside(engine, options.run_dir, f"the worker failed: {type(failed).__name__}: {failed}")
            failed.add_note(f"what led to it: holdfast replay {os.path.join(options.run_dir, FILE)} --explain")
        raise


def _write_aside(engine: RecordedEngine, run_dir: str, reason: str) -> None:
    """Write in a process of its own: the worker's end, upon which its addresses are released, does not wait for it."""
    worker = os.getpid()
    if os.fork():
        return
    status = 1
    try:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        write(run_dir, octets(b"".join(engine.frames()), reason, worker))
        status = 0
    except BaseException as refused:
        os.write(2, f"holdfast: the recording could not be written: {refused}\n".encode())
    finally:
        os._exit(status)


# ---- in the supervisor ----------------------------------------------------------------------------------------------


def _take(supervisor: "Supervisor", reason: str, then: Callable[[bytes | None], None]) -> None:
    """Ask the worker for its recording; `then` gets the file's octets, or None when no worker runs."""
    pid = supervisor.worker.pid if supervisor.worker is not None else 0
    supervisor.ask_with(Record, lambda frames: then(None if frames is None else octets(frames, reason, pid)))


def on_signal(supervisor: "Supervisor") -> None:
    """SIGUSR1: write the recording into the run directory, and say so."""

    def then(whole: bytes | None) -> None:
        if whole is None:
            supervisor.log.say(Level.WARNING, "No vrrp worker runs: no recording is written")
            return
        try:
            path = write(supervisor.options.run_dir, whole)
        except OSError as refused:
            supervisor.log.say(Level.ERROR, f"The recording could not be written: {refused}")
        else:
            supervisor.log.say(Level.INFO, f"The recording is in {path}: `holdfast replay {path} --explain`")

    _take(supervisor, "SIGUSR1", then)


def commands(supervisor: "Supervisor") -> dict[str, Callable[[Request, Reply], None]]:
    """The commands of this module, by name."""

    def dump(request: Request, reply: Reply) -> None:
        if request.arguments.get("record") is not True:
            reply.send({"dumps": _places(supervisor), "record": os.path.join(supervisor.options.run_dir, FILE)})
            return
        inline = request.arguments.get("inline") is True

        def then(whole: bytes | None) -> None:
            if whole is None:
                reply.fail("no vrrp worker runs at the moment", "look at the log, and try again")
                return
            answer: dict[str, Any] = {"bytes": len(whole)}
            if inline:
                reply.send({**answer, "recording": base64.b64encode(whole).decode()})
                return
            try:
                reply.send({**answer, "record": write(supervisor.options.run_dir, whole)})
            except OSError as refused:
                reply.fail(f"the recording could not be written: {refused}", "name a file: it comes to you then")

        _take(supervisor, "holdfast dump --record", then)

    return {"dump": dump}


def _places(supervisor: "Supervisor") -> dict[str, str]:
    """Where the dumps that signals ask for are written."""
    from holdfast.export import files

    return files.places(supervisor.listeners.settings, os.environ)
