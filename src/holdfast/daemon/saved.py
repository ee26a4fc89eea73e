"""`config_save_dir`: copies of the configuration as read, and of the state before and after each reload.

Reload N of the daemon with pid P keeps `keepalived.conf.P.N` (all files in one, definitions carried out), and
`keepalived_{parent,vrrp}.P.N.pre` and `.post`, laid out as the data dump is. Nothing is ever removed there.
"""

import os
from typing import TYPE_CHECKING

import msgspec

from holdfast.config.plan import Settings, VrrpPlan
from holdfast.engine.node import NodeView
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

MODE = 0o600
"""Of the copies: they hold passwords."""


def save_text(directory: str, parent: int, number: int, text: str) -> str:
    """Keep the configuration as read, in the builder; what went wrong, or "".

    The directory is made when only its last part is missing.
    """
    from holdfast.export.files import replace

    try:
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass
        replace(f"{directory}/keepalived.conf.{parent}.{number}", text.encode("utf-8", "surrogateescape"), MODE)
    except OSError as refused:
        return f"config_save_dir {directory}: {refused.strerror}; make it, or name another place"
    return ""


class SavedPart(msgspec.Struct, frozen=True):
    """The part of a plan that tells whether anything is kept."""

    settings: Settings = Settings()


class Saved:
    """Keeps what the supervisor knows around a reload; `number` counts the readings of the configuration."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self.number = 0

    def state(self, when: str) -> None:
        """Write the state of the plan that runs now, as `pre` or `post`; the worker is asked first."""
        host, octets, number = self._supervisor, self._supervisor.plan, self.number
        directory = msgspec.msgpack.decode(octets, type=SavedPart).settings.config_save_dir if octets else ""
        if not directory or not number:
            return

        def answer(view: bytes | None) -> None:
            if view is not None:
                failure = _apart(octets, view, f"{directory}/keepalived_%s.{os.getpid()}.{number}.{when}")
                if failure:
                    host.log.say(Level.WARNING, f"config_save_dir {failure}")

        host.ask(answer)


def _apart(octets: bytes, view: bytes, path: str) -> str:
    """Write the state in a process of its own, for it may be large; what went wrong, or ""."""
    pid = os.fork()
    if pid == 0:
        try:
            _write(octets, view, path)
            status = 0
        except OSError as refused:
            status = refused.errno or 1
        except BaseException:
            status = 1
        os._exit(status)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return f"{os.path.dirname(path)}: {os.strerror(code) if code > 0 else f'signal {-code}'}" if code else ""


def _write(octets: bytes, view: bytes, path: str) -> None:
    from holdfast.export.dumps import data_text, parent_text
    from holdfast.export.files import replace

    plan = msgspec.msgpack.decode(octets, type=VrrpPlan)
    replace(path % "parent", parent_text(plan).encode(), MODE)
    replace(path % "vrrp", data_text(plan, msgspec.json.decode(view, type=NodeView)).encode(), MODE)
