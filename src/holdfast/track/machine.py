"""The tracking script's counter (`vrrp_script`): rise, fall, period, and what counts as success.

One counter runs from 0 to rise + fall - 1; the script is up while it is at least rise. Success adds one and, once rise
is reached, jumps to the top; failure takes one away and, once below rise, drops to 0. It begins at rise - 1: one
success brings it up, the first failure keeps it down.
"""

import msgspec

from holdfast.base.time import Nanoseconds
from holdfast.track.config import ScriptConfig
from holdfast.track.messages import RunSkipped, StartRun, TrackEffect, VerdictChanged


class ScriptState(msgspec.Struct, frozen=True):
    """Where one tracking script stands. `up` is None until its first run has ended."""

    next_at: Nanoseconds
    counter: int
    run: int = 0
    running: bool = False
    up: bool | None = None
    last_detail: str = ""
    last_at: Nanoseconds = 0


TrackStep = tuple[ScriptState, tuple[TrackEffect, ...]]


def start(config: ScriptConfig, now: Nanoseconds) -> ScriptState:
    """A script not run yet; the first run is due at once."""
    return ScriptState(next_at=now, counter=config.rise - 1)


def timer_due(config: ScriptConfig, state: ScriptState, now: Nanoseconds) -> TrackStep:
    """Begin a run when its period has come; skip it when the previous one still goes on."""
    if now < state.next_at:
        return state, ()
    missed = (now - state.next_at) // config.interval_ns
    next_at = state.next_at + (missed + 1) * config.interval_ns
    if state.running:
        return msgspec.structs.replace(state, next_at=next_at), (RunSkipped(),)
    run = state.run + 1
    return msgspec.structs.replace(state, next_at=next_at, run=run, running=True), (StartRun(run),)


def finished(config: ScriptConfig, state: ScriptState, run: int, detail: str, ok: bool, now: Nanoseconds) -> TrackStep:
    """A run ended; an answer to a run that is not the current one (from before a reload) is left aside."""
    if run != state.run or not state.running:
        return state, ()
    top = config.rise + config.fall - 1
    if ok:
        counter = top if state.counter + 1 >= config.rise else state.counter + 1
    else:
        counter = 0 if state.counter - 1 < config.rise else state.counter - 1
    up = counter >= config.rise
    after = msgspec.structs.replace(
        state, counter=counter, running=False, up=up, last_detail=detail, last_at=now
    )
    if state.up is None or up != state.up:
        return after, (VerdictChanged(up, detail, first=state.up is None),)
    return after, ()
