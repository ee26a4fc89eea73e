"""The command line's side of the local socket: find the daemon, ask, and say plainly why nobody answers."""

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from holdfast.control.access import connect
from holdfast.control.messages import RUN_DIR_VARIABLE, RUN_DIRS, SOCKET_NAME, encode, failure_in

_VERSIONS = "are command and daemon of the same version?"


class AskError(Exception):
    """There is no answer; the text says why and what helps."""


class NoDaemonError(AskError):
    """No daemon was found where one was looked for."""


class RefusedError(AskError):
    """The daemon answered that it won't, or can't; `answer` is what it said, as it came."""

    def __init__(self, text: str, answer: bytes = b"") -> None:
        super().__init__(text)
        self.answer = answer


def run_dirs(run_dir: str | None) -> tuple[str, ...]:
    """Where to look: `--run-dir`, else HOLDFAST_RUN_DIR, else /run/holdfast and /run/keepalived."""
    chosen = run_dir or os.environ.get(RUN_DIR_VARIABLE)
    return (chosen,) if chosen else RUN_DIRS


def ask_bytes(run_dir: str | None, request: dict[str, Any], timeout_s: float = 20.0) -> bytes:
    """The daemon's answer as it came, one JSON document without line end; raises AskError."""
    link, path = _find(run_dir, timeout_s)
    with link:
        try:
            link.sendall(encode(request))
        except OSError:
            pass  # it may have turned us away with a reason: read it
        line = _read_line(link, path, timeout_s)
    failure = failure_in(line)
    if failure is not None:
        raise RefusedError(f"{failure.error}: {failure.cure}" if failure.cure else failure.error, line)
    return line


def ask(run_dir: str | None, request: dict[str, Any], timeout_s: float = 20.0) -> dict[str, Any]:
    """The daemon's answer to `request` (`{"command": …}`), decoded; raises AskError."""
    line = ask_bytes(run_dir, request, timeout_s)
    try:
        answer = msgspec.json.decode(line)
    except msgspec.DecodeError as wrong:
        raise AskError(f"the daemon's answer is not JSON ({wrong}): {_VERSIONS}") from None
    if not isinstance(answer, dict):
        raise AskError(f"the daemon's answer is not a JSON object: {_VERSIONS}")
    return answer


def _find(run_dir: str | None, timeout_s: float) -> tuple[socket.socket, str]:
    reasons: list[tuple[str, OSError]] = []
    for directory in run_dirs(run_dir):
        path = os.path.join(directory, SOCKET_NAME)
        try:
            return connect(path, timeout_s), path
        except OSError as failed:
            reasons.append((path, failed))
    raise NoDaemonError(_nobody(reasons, bool(run_dir)))


def _nobody(reasons: list[tuple[str, OSError]], told: bool) -> str:
    for path, reason in reasons:
        if reason.errno in (errno.EACCES, errno.EPERM):
            return f"may not talk to the daemon at {path}: only root may; run the command with sudo"
    for path, reason in reasons:
        if isinstance(reason, TimeoutError) or reason.errno == errno.EAGAIN:
            return f"the daemon at {path} does not take the question: it is overloaded or stopped; look at its log"
    places = " nor at ".join(path for path, _ in reasons)
    first = reasons[0][1]
    dead = any(reason.errno == errno.ECONNREFUSED for _, reason in reasons)
    what = f"no daemon answers at {places}"
    if dead:
        what += " (one was there and ended without cleaning up)"
    elif first.errno != errno.ENOENT:
        what += f" ({first.strerror or first})"
    where = "" if told else ", or say where it runs with --run-dir"
    deeper = list(_namespaced(os.path.dirname(path) for path, _ in reasons))
    if deeper:
        return f"{what}; one runs in a namespace: say --run-dir {' or --run-dir '.join(deeper)}"
    return f"{what}: is holdfast running? start it with `holdfast run -f FILE`{where}"


def _namespaced(directories: Iterable[str]) -> Iterator[str]:
    """The run directories of daemons in network namespaces, which lie in the others'."""
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if os.path.exists(os.path.join(directory, name, SOCKET_NAME)):
                yield os.path.join(directory, name)


def _read_line(link: socket.socket, path: str, timeout_s: float) -> bytes:
    pieces: list[bytes] = []
    try:
        while True:
            piece = link.recv(1 << 18)
            if not piece:
                raise AskError(f"the daemon at {path} ended the conversation before it had answered: look at its log")
            end = piece.find(b"\n")
            if end >= 0:
                pieces.append(piece[:end])
                return b"".join(pieces)
            pieces.append(piece)
    except TimeoutError:
        raise AskError(
            f"the daemon at {path} has not answered for {timeout_s:g} s: it is overloaded or stopped; look at its log"
        ) from None
    except OSError as failed:
        raise AskError(f"the conversation with the daemon at {path} broke: {failed.strerror or failed}") from None
