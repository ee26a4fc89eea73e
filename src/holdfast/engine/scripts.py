"""Tracking scripts as the engine runs them: what is due, and what a result means."""

from holdfast.base.time import Nanoseconds, span_text
from holdfast.engine.messages import LogLine, Notice, RunScript, ScriptFinished
from holdfast.engine.slot import ScriptSlot
from holdfast.track import machine
from holdfast.track.messages import StartRun, VerdictChanged
from holdfast.vrrp.messages import Level


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
