"""What a worker does when its supervisor is gone: it has resigned already; now the scripts and files are told."""

import contextlib
import os

import msgspec

from holdfast.config.plan import VrrpPlan
from holdfast.daemon.listeners import STOP_SCRIPTS_NS, Listeners
from holdfast.daemon.options import Options
from holdfast.daemon.service import AlreadyRunning, PidFile
from holdfast.edge.clock import monotonic_ns
from holdfast.edge.logs import open_log
from holdfast.edge.loop import Loop
from holdfast.engine.messages import StateNotice
from holdfast.vrrp.messages import Level


def last_duties(plan: VrrpPlan, options: Options) -> None:
    """Run the stop scripts, clear the state file, and say why the daemon ended."""
    log = open_log(options)
    log.say(Level.ERROR, "The supervisor was killed: the vrrp worker has resigned and removed its addresses")
    loop = Loop()
    lock = _lock(options)
    listeners = Listeners(options, msgspec.msgpack.encode(plan), loop, log, keeps_state=lock is not None)
    if lock is not None:
        _remove_files(options)
        listeners.leave_state_files()
        lock.release()
    now = monotonic_ns()
    resigned = "the vrrp worker has resigned and removed its addresses"
    listeners.journal.say("daemon", "", "supervisor killed", resigned, now)
    listeners.start(now)
    told = [("INSTANCE", config.name, config.priority) for config in plan.instances]
    told += [("GROUP", group.name, 0) for group in plan.groups]
    for kind, name, priority in told:
        cause = "the supervisor was killed"
        listeners.take(StateNotice(kind=kind, name=name, state="STOP", priority=priority, cause=cause), now)
    until = now + STOP_SCRIPTS_NS
    while listeners.pending() and (now := monotonic_ns()) < until:
        loop.wait(min(until, listeners.due_at() or until))
        listeners.on_due(monotonic_ns())
    listeners.close(monotonic_ns())
    log.close()


def _lock(options: Options) -> PidFile | None:
    """The daemon's pid file, taken so that no other starts while its files go; None when another runs already."""
    try:
        return PidFile.acquire(options.parent_pid_file or os.path.join(options.run_dir, "holdfast.pid"))
    except (AlreadyRunning, OSError):
        return None


def _remove_files(options: Options) -> None:
    names = [options.vrrp_pid_file or os.path.join(options.run_dir, "vrrp.pid")]
    for path in (*names, os.path.join(options.run_dir, "control.sock")):
        with contextlib.suppress(OSError):
            os.unlink(path)
