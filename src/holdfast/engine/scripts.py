"""Tracking scripts as the engine runs them: what is due, and what a result means."""

from typing import TYPE_CHECKING

from holdfast.base.time import Nanoseconds, span_text
from holdfast.engine import trackers
from holdfast.engine.messages import LogLine, Notice, RunScript, ScriptFinished
from holdfast.engine.slot import ScriptSlot
from holdfast.track import machine
from holdfast.track.messages import StartRun, VerdictChanged
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine


def run_due(engine: "Engine", timed: ScriptSlot, now: Nanoseconds) -> None:
    """A script's time may have come: what is to be run is told, and its next time set."""
    if engine.scripts.get(timed.config.name) is not timed or engine.leaving:
        return
    for notice in due(timed, now):
        engine.tell(notice)
    engine.set_timer(timed, timed.state.next_at)


def run_finished(engine: "Engine", event: ScriptFinished, now: Nanoseconds) -> None:
    """A run ended; the instances that track the script are reconsidered when its verdict is another."""
    timed = engine.scripts.get(event.name)
    line = finished(timed, event, now) if timed is not None else None
    if timed is None or line is None:
        return
    engine.verdicts["script", event.name] = timed.state.up
    engine.tell(line)
    trackers.script_changed(engine, timed)
    for slot in trackers.users(engine, "script", event.name):
        engine.reconsider(slot, now)


def due(timed: ScriptSlot, now: Nanoseconds) -> list[Notice]:
    """Begin a run if its period has come; what the supervisor is to do or to be told."""
    name = timed.config.name
    timed.state, effects = machine.timer_due(timed.config, timed.state, now)
    notices: list[Notice] = []
    for effect in effects:
        if isinstance(effect, StartRun):
            notices.append(RunScript(name, effect.run, timed.config.command))
        else:
            line = f"VRRP_Script({name}) is still running; skipping one run"
            notices.append(LogLine(Level.WARNING, line, "skipped"))
    return notices


def finished(timed: ScriptSlot, event: ScriptFinished, now: Nanoseconds) -> LogLine | None:
    """Take a result in; the line to log when it changed the verdict, else None."""
    ok = event.status == 0 and not event.timed_out
    detail = outcome(event)
    timed.state, effects = machine.finished(timed.config, timed.state, event.run, detail, ok, now)
    for effect in effects:
        if isinstance(effect, VerdictChanged):
            word = "succeeded" if effect.up else f"failed ({effect.detail})"
            level = Level.INFO if effect.up else Level.WARNING
            return LogLine(level, f"VRRP_Script({timed.config.name}) {word}")
    return None


def outcome(event: ScriptFinished) -> str:
    """How a run ended, in words."""
    if event.timed_out:
        detail = f"timed out after {span_text(event.spent_ns)}"
    elif event.status < 0:
        detail = f"ended by signal {-event.status}"
    else:
        detail = f"exited with {event.status}"
    failed = event.timed_out or event.status != 0
    return f"{detail}: {event.output}" if event.output and failed else detail
